"""Open the store, put server, pages, upkeep and vendors around it, and serve until told to stop."""

from __future__ import annotations

import logging
import os
import signal
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from otel_usage.server.http_server import HttpServer, build_http_server
from otel_usage.server.options import Options

from .access import Access
from .app import Serve, build_app
from .forwarding import Forwarding, select_vendors
from .pages.routes import routes
from .questions.sample_year import rows
from .store.store import Store
from .upkeep import Upkeep

log = logging.getLogger("otel_usage.serve")

DEMO_NOTICE = "A generated year: nobody's data."
DEMO_APP = "demo"
DEMO_INSTALLATIONS = 400
DEMO_DAYS = 365
DEMO_SEED = 7
CHUNK = 5_000  # rows


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """What a store may take: memory, the disk for one question, and days for events and for rollups."""

    memory_mib: int = 512
    spill_mib: int = 1_024
    raw_days: int = 400
    rollup_days: int = 1_830


def serve(
    path: str,
    options: Options,
    access: Access,
    *,
    host: str,
    port: int,
    tls: ssl.SSLContext | None,
    vendors: Sequence[str],
    limits: StoreLimits,
    demo: bool,
) -> int:
    """Serve the store at *path* until SIGTERM or SIGINT. Return 0 then, 1 if the port is taken or the store lost.

    Raises SettingError.
    """
    os.umask(0o077)  # for what DuckDB makes beside the store, too
    store = Store(path, memory_mib=limits.memory_mib, spill_mib=limits.spill_mib, window=options.window)
    try:
        if demo:
            fill(store)
        forwarding = None
        if vendors:
            select_vendors(vendors)
            forwarding = Forwarding(store, vendors, schema=_merge(options.schemas))
        upkeep = Upkeep(store, raw_days=limits.raw_days, rollup_days=limits.rollup_days)
        app = Serve(store, options, access, forwarding=forwarding, upkeep=upkeep)
        servers: list[HttpServer] = []  # the one that serves, once it is there
        pages = routes(
            store,
            options.schemas,
            access=access,
            notice=DEMO_NOTICE if demo else "",
            closing=lambda: any(server.should_exit for server in servers),
        )
        door = build_app(app, pages)
        server = build_http_server(
            door,
            path,
            host=host,
            port=port,
            deadline_s=options.deadline_s,
            on_handshake_failure=app.count_handshake,
            tls=tls,
        )
        servers.append(server)
        store.writer.on_lost = lambda: os.kill(os.getpid(), signal.SIGTERM)
        try:
            server.run()
        except SystemExit:  # uvicorn's way of saying that it can't listen; it has logged why
            return 1
        if store.writer.is_lost:
            log.error("stopped, as the store has to be opened again")
            return 1
    finally:
        store.close()
    log.info("stopped")
    return 0


def fill(store: Store) -> None:
    """Fill an empty store with the generated year."""
    if store.apps():
        return
    log.info("generating a year of %d installations", DEMO_INSTALLATIONS)
    chunk: list[Any] = []
    for row in rows(DEMO_APP, DEMO_INSTALLATIONS, DEMO_DAYS, DEMO_SEED):
        chunk.append(row)
        if len(chunk) == CHUNK:
            store.write(chunk)
            chunk = []
    if chunk:
        store.write(chunk)
    store.roll_up()


def _merge(schemas: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the rows of all apps' schemas, for vendors' own names of events."""
    merged: dict[str, Any] = {}
    for schema in schemas.values():
        merged.update(schema)
    return merged
