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

from otel_usage.serve.pages import routes
from otel_usage.serve.questions.sample_year import COLUMNS, rows
from otel_usage.serve.store.store import Store
from tests.collector.harness import DEADLINE_S, free_port
from tests.serve.questions.databases import ROLL_UP, event, type_of


def fill(store: Store, events: Sequence[Sequence[Any]]) -> None:
    """Store *events*, and what a day has of them."""
    with store.reader() as cursor:
        _insert(cursor, events)
        for table in ("installation_days", "run_days"):
            cursor.execute(f"DELETE FROM {table}")
        for statement in ROLL_UP:
            cursor.execute(statement)


def _insert(cursor: Any, events: Sequence[Sequence[Any]]) -> None:
    """Insert many rows at once. Fields are bound as keys and values: a list of maps has no type where one is empty."""
    columns: dict[str, list[Any]] = {
        name: list(column) for name, column in zip(COLUMNS, zip(*events, strict=True), strict=False)
    }
    if not columns:
        return
    fields = columns["fields"]
    columns["fields"] = [list(one) for one in fields]
    values = [
        "map(unnest(CAST(? AS VARCHAR[][])), unnest(CAST(? AS VARCHAR[][])))"
        if name == "fields"
        else f"unnest(CAST(? AS {type_of('events', name)}[]))"
        for name in COLUMNS
    ]
    place = COLUMNS.index("fields") + 1
    lists = list(columns.values())
    lists.insert(place, [list(one.values()) for one in fields])
    cursor.execute(f"INSERT INTO events SELECT {', '.join(values)}", lists)


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
    """Yield the address of a server of the pages, and its store. options: those of `routes`."""
    schemas: Mapping[str, Mapping[str, object]] = options.pop("schemas", {})
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
