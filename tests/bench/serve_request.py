"""What one request costs `otel-usage serve`, without the network: ``python -m tests.bench.serve_request ROUNDS [SIZE PER]``.

The application answers so many rounds of requests at a time, of SIZE runs (default 1), each installation with PER of them in a
row (default 1), from the token to the commit. It prints CPU seconds, which other work on the machine makes larger. Instructions
it does not, so they are what is compared: those of more rounds less those of fewer, by the requests between them::

    for rounds in 6 18; do
        PYTHONHASHSEED=0 valgrind --tool=callgrind --callgrind-out-file=/dev/null .venv/bin/python -m tests.bench.serve_request $rounds
    done
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from otel_usage.serve.access import Access
from otel_usage.serve.app import Serve, build_app
from otel_usage.serve.command import DEFAULTS
from otel_usage.serve.store.store import Store
from tests.bench.serve import make_bodies

AT_ONCE = {1: 64}  # requests of one round, by their size
SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "POST",
    "scheme": "http",
    "path": "/v1/traces",
    "query_string": b"",
    "root_path": "",
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 2),
}


# Any: an ASGI application and its messages.
async def post(app: Any, body: bytes) -> None:
    """Have *app* answer one request."""
    headers = [(b"content-type", b"application/x-protobuf"), (b"content-length", str(len(body)).encode())]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        assert message.get("status", 200) == 200, message

    await app({**SCOPE, "headers": headers, "state": {}}, receive, send)


async def work(app: Any, bodies: Sequence[bytes], at_once: int) -> None:
    """Have *app* answer all, so many at a time."""
    for first in range(0, len(bodies), at_once):
        await asyncio.gather(*(post(app, body) for body in bodies[first : first + at_once]))


def main(words: Sequence[str]) -> None:
    """Measure, and print."""
    rounds, size, per_installation = (int(word) for word in [*words, "1", "1"][:3])
    at_once = AT_ONCE.get(size, 8)
    bodies = make_bodies(1, size, per_installation, rounds * at_once)
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "s", threads=1) as store:
        app = build_app(Serve(store, DEFAULTS, Access()))
        began = time.process_time()
        asyncio.run(work(app, bodies, at_once))
        print(f"{len(bodies)} requests: {(time.process_time() - began) / len(bodies) * 1e6:,.0f} µs of CPU each")


if __name__ == "__main__":
    main(sys.argv[1:] or ["18"])
