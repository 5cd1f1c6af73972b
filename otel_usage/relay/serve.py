"""``otel-usage relay``: read the command line, serve until told to stop, finish what was taken.

Ring 2 (extra ``[relay]``).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import os
import signal
import socket
import ssl
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from otel_usage.schema import SettingError, is_loopback

from .settings import MIB, Settings, read_schema, read_tokens, why

GRACE_S = 2.0  # beyond the deadline of requests, when told to stop: by then each has been answered
MAX_DEADLINE_S = 3_600

log = logging.getLogger("otel_usage.relay")


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``otel-usage relay``."""
    default = Settings()
    made = argparse.ArgumentParser(
        prog="otel-usage relay",
        description="Receive usage data over OTLP/HTTP and deliver it to GA4, Segment and other exporters. Each is "
        "configured by its own variables, such as OTEL_EXPORTER_GA4_MEASUREMENT_ID; see docs/relay.md.",
    )
    made.add_argument(
        "destinations", nargs="+", metavar="DESTINATION", help="an exporter: ga4, segment; POST /DESTINATION/v1/traces"
    )
    made.add_argument("--listen", default="127.0.0.1:4319", metavar="HOST:PORT", help="default: %(default)s")
    made.add_argument(
        "--token-file", metavar="FILE", help="bearer tokens, one a line; also OTEL_USAGE_RELAY_TOKEN in the environment"
    )
    made.add_argument("--tls-cert", metavar="FILE", help="certificate chain, PEM")
    made.add_argument("--tls-key", metavar="FILE", help="its private key, PEM")
    made.add_argument(
        "--schema", action="append", default=[], metavar="APP=FILE", help="pass only what this app declares; repeatable"
    )
    made.add_argument(
        "--state", default="", metavar="FOLDER", help="keep there what GA4 was sent, so that a restart repeats nothing"
    )
    limits = made.add_argument_group("limits")
    limits.add_argument("--body-mib", type=float, default=default.body_bytes / MIB, help="of a request, as it comes")
    limits.add_argument("--decoded-mib", type=float, default=default.decoded_bytes / MIB, help="and decompressed")
    limits.add_argument("--held-mib", type=float, default=default.held_bytes / MIB, help="of all requests together")
    limits.add_argument("--items", type=int, default=default.items, help="spans or data points of a request")
    limits.add_argument("--waiting", type=int, default=default.waiting, help="requests waiting, per destination")
    limits.add_argument("--workers", type=int, default=default.workers, help="deliveries at a time, per destination")
    limits.add_argument("--deadline-s", type=float, default=default.deadline_s, help="until a request is answered")
    limits.add_argument("--window", type=int, default=default.window, help="event ids remembered, per destination")
    for action in limits._group_actions:
        action.help = f"{action.help}; default: %(default)g"
        action.metavar = "N"
    return made


def read_settings(given: argparse.Namespace) -> Settings:
    """Return what the command line and the environment say. Raises SettingError."""
    for name in ("body_mib", "decoded_mib", "held_mib", "items", "waiting", "workers", "deadline_s", "window"):
        if not 0 < getattr(given, name) < math.inf:
            raise SettingError(f"--{name.replace('_', '-')} {getattr(given, name)!r} is not a number above 0")
    if given.deadline_s > MAX_DEADLINE_S:
        raise SettingError(f"--deadline-s {given.deadline_s:g} is more than {MAX_DEADLINE_S}: no client waits as long")
    if bool(given.tls_cert) != bool(given.tls_key):
        raise SettingError("--tls-cert and --tls-key go together: give both, or neither")
    told = os.environ.get("OTEL_USAGE_RELAY_TOKEN", "")
    if given.token_file:
        try:
            told += "\n" + Path(given.token_file).read_text(encoding="utf-8")
        except (OSError, ValueError) as exc:
            raise SettingError(f"--token-file {given.token_file!r} can't be read: {why(exc)}") from exc
    settings = Settings(
        tokens=read_tokens(told, given.token_file or "") if told or given.token_file else (),
        schemas=dict(map(read_schema, given.schema)),
        body_bytes=int(given.body_mib * MIB),
        decoded_bytes=int(given.decoded_mib * MIB),
        held_bytes=int(given.held_mib * MIB),
        items=given.items,
        waiting=given.waiting,
        workers=given.workers,
        deadline_s=given.deadline_s,
        window=given.window,
    )
    return replace(settings, held_bytes=max(settings.held_bytes, settings.decoded_bytes, settings.body_bytes))


def read_address(text: str) -> tuple[str, int]:
    """Return (host, port) of ``HOST:PORT``. Raises SettingError."""
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65_536):
        raise SettingError(f"--listen {text!r} is not HOST:PORT, such as 127.0.0.1:4319 or 0.0.0.0:4319")
    return host.strip("[]"), int(port)


def read_names(words: Sequence[str]) -> list[str]:
    """Return the destinations that *words* name. Raises SettingError if there is none, or one comes twice."""
    names = [name.strip() for word in words for name in word.split(",") if name.strip()]
    if not names:
        raise SettingError("no destination is named: give one or more, such as ga4 segment")
    for name in names:
        if names.count(name) > 1:
            raise SettingError(f"destination {name!r} is named twice: a relay has one of each, on a path of that name")
    return names


def check_tls(cert: str | None, key: str | None) -> None:
    """Raise SettingError unless both files can be used, or neither is given."""
    if not cert or not key:
        return
    for option, name in (("--tls-cert", cert), ("--tls-key", key)):
        try:
            Path(name).read_bytes()
        except OSError as exc:
            raise SettingError(f"{option} {name!r} can't be read: {why(exc)}") from exc

    def ask() -> str:  # asked for when the key is encrypted; nobody may be there to answer
        raise SettingError(f"--tls-key {key!r} is encrypted: decrypt it, such as with openssl pkey")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, ask)
    except ssl.SSLError as exc:
        told = f"--tls-cert {cert!r} and --tls-key {key!r} are not a certificate chain and its key"
        raise SettingError(f"{told}, both PEM: {exc.reason or exc}") from exc


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return 0 then, 2 if a setting is wrong, 1 if the server can't start."""
    given = parser().parse_args(argv)
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    log.setLevel(logging.INFO)
    try:
        import uvicorn

        from .app import make_app
        from .connections import bounded
        from .destination import load
    except ImportError as exc:
        print(f"otel-usage relay: {exc.name} is missing: pip install 'otel-usage[relay]'", file=sys.stderr)
        return 2
    try:
        settings = read_settings(given)
        host, port = read_address(given.listen)
        names = read_names(given.destinations)
        check_tls(given.tls_cert, given.tls_key)
        destinations = [
            load(name, window=settings.window, workers=settings.workers, state=given.state) for name in names
        ]
    except SettingError as exc:
        print(f"otel-usage relay: {exc}", file=sys.stderr)
        return 2
    if not is_loopback(host) and not (settings.tokens and given.tls_cert):
        log.warning("listening beyond this machine without %s", "TLS" if settings.tokens else "a token")

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            self.loop = asyncio.get_running_loop()
            await super().startup(sockets)
            if self.started:
                bound = [s.getsockname()[:2] for server in self.servers for s in server.sockets]
                shown = ", ".join(f"{address}:{number}" for address, number in bound)
                log.info("listening on %s for %s", shown, ", ".join(names))

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
            # uvicorn's own stops in the middle when it is told twice: clients would hear a 500, which they do not retry.
            if self.should_exit and self.started:
                self.loop.call_soon_threadsafe(self.hurry)
            self.should_exit = True

        def hurry(self) -> None:
            """Have what is under way answered at once, with 503."""
            for task in self.server_state.tasks:
                task.cancel()

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            # uvicorn's own ends the process by the signal afterwards; a service that was stopped is not a failure.
            before = {s: signal.signal(s, self.handle_exit) for s in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    config = uvicorn.Config(
        make_app(destinations, settings),
        host=host,
        port=port,
        http=bounded(),
        log_config=None,
        log_level=logging.ERROR,  # a warning for each request that is not HTTP would be everybody's to write
        access_log=False,  # who sends is nobody's business
        proxy_headers=False,
        server_header=False,
        ws="none",
        timeout_keep_alive=75,  # longer than a Collector keeps an idle connection in mind
        timeout_graceful_shutdown=math.ceil(settings.deadline_s + GRACE_S),
        ssl_certfile=given.tls_cert,
        ssl_keyfile=given.tls_key,
    )
    server = Server(config)
    try:
        server.run()
    except SystemExit:  # uvicorn's way of saying that it can't listen; it has logged why
        return 1
    log.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
