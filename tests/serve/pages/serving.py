"""A server of the pages alone, in a thread, on a store of its own."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from otel_usage.serve.access import Access
from otel_usage.serve.pages import routes
from otel_usage.serve.questions.sample_year import COLUMNS, rows
from otel_usage.serve.store.rollup import roll_up
from otel_usage.serve.store.store import Store
from tests.collector.harness import DEADLINE_S, free_port
from tests.serve.questions.databases import event

MOST_AT_ONCE = 5_000  # rows of one commit


def fill(store: Store, events: Sequence[Sequence[Any]]) -> None:
    """Store *events*, and roll them up."""
    for first in range(0, len(events), MOST_AT_ONCE):
        store.write(events[first : first + MOST_AT_ONCE])
    with store.reader() as cursor:
        while roll_up(cursor):
            pass


def year(app: str = "digest", installations: int = 120, days: int = 365) -> list[tuple[object, ...]]:
    """Return a generated year that ends today."""
    return list(rows(app, installations, days, 7))


def run_now(**columns: Any) -> tuple[Any, ...]:
    """Return an event of this moment."""
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    return tuple(
        now if name == "at" else value
        for name, value in zip(
            COLUMNS, event("2026-01-01", **{"event": random.getrandbits(60), **columns}), strict=True
        )
    )


@contextmanager
def serving(folder: Path, events: Sequence[Sequence[Any]] = (), **options: Any) -> Iterator[tuple[str, Store]]:
    """Yield the address of a server of the pages, and its store. options: those of `routes`; viewers: their tokens."""
    schemas: Mapping[str, Mapping[str, object]] = options.pop("schemas", {})
    if "viewers" in options:
        options["access"] = Access(viewers=options.pop("viewers"))
    with Store(folder / "usage.duckdb") as store:
        fill(store, events)
        server: uvicorn.Server
        app = Starlette(routes=routes(store, schemas, closing=lambda: server.should_exit, **options))
        port = free_port()
        config = uvicorn.Config(app, port=port, log_level="error", lifespan="off", timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        started = threading.Event()

        async def serve() -> None:
            task = asyncio.ensure_future(server.serve())
            while not server.started and not task.done():
                await asyncio.sleep(0.01)
            started.set()
            await task

        thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
        thread.start()
        assert started.wait(DEADLINE_S)
        try:
            yield f"http://127.0.0.1:{port}", store
        finally:
            server.should_exit = True
            thread.join(DEADLINE_S)
