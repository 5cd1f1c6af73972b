"""The HTTP server of the relay: uvicorn, with its ways of starting and stopping made those of a service."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import uvicorn

from .app import make_app
from .connections import find_connection_limit, make_protocol
from .options import Options
from .tls import make_tls_protocol
from .workers import DestinationWorkers

log = logging.getLogger("otel_usage.relay")

GRACE_S = 2.0  # beyond the deadline of requests, when the relay is to stop: by then each has been answered
AT_A_TIME = (
    64  # connections that are accepted at once; it takes some turns of the loop until the oldest are closed for them
)
QUEUE = 2_048  # connections that wait in the system until they are accepted
KEEP_ALIVE_S = 75  # longer than a Collector remembers an idle connection


class HttpServer(uvicorn.Server):
    """Serves until SIGTERM or SIGINT, answers what it has taken, and returns from `run`.

    A second signal has what is under way answered with 503 at once. destinations: their names, for the log.
    """

    def __init__(self, config: uvicorn.Config, destinations: Sequence[str]) -> None:
        super().__init__(config)
        self._destinations = destinations

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and log where."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            for listening in [listening for server in self.servers for listening in server.sockets]:
                # asyncio knows one number for both. As many as may wait, accepted at once, would be more than the process
                # may have descriptors; and asyncio then stops accepting for a second, and writes a line for each.
                with socket.fromfd(listening.fileno(), listening.family, listening.type) as same:
                    same.listen(QUEUE)
            bound = [s.getsockname()[:2] for server in self.servers for s in server.sockets]
            addresses = ", ".join(f"{address}:{number}" for address, number in bound)
            log.info("listening on %s for %s", addresses, ", ".join(self._destinations))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Stop; called again, hurry."""
        # uvicorn's own gives up in the middle at the second signal: clients would hear a 500, which they do not retry.
        if self.should_exit and self.started:
            self._loop.call_soon_threadsafe(self._hurry)
        self.should_exit = True

    def _hurry(self) -> None:
        """Have what is under way answered at once, with 503."""
        for task in self.server_state.tasks:
            task.cancel()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGINT and SIGTERM meanwhile."""
        # uvicorn's own ends the process by the signal afterwards; a service that was stopped is not a failure.
        before = {s: signal.signal(s, self.handle_exit) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def build_http_server(
    destinations: Sequence[DestinationWorkers],
    options: Options,
    *,
    host: str,
    port: int,
    tls: ssl.SSLContext | None = None,
) -> HttpServer:
    """Return a server for *destinations*, not started. tls: None for plain HTTP."""
    limit = find_connection_limit()
    protocol = make_protocol(limit)
    app = make_app(destinations, options)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol if tls is None else make_tls_protocol(protocol, tls, app.state.relay.count_handshake),
        backlog=max(1, min(AT_A_TIME, limit // 8)),
        log_config=None,
        log_level=logging.ERROR,  # anybody could write a warning by sending what is not HTTP
        access_log=False,  # who sends is nobody's business
        proxy_headers=False,
        server_header=False,
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(options.deadline_s + GRACE_S),
    )
    return HttpServer(config, [destination.name for destination in destinations])
