"""Rows, stores and servers for the tests of the store."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from otel_usage.serve.store.store import Store
from otel_usage.serve.store.tables import names_of
from tests.collector.harness import free_port
from tests.server.serving import Process

NOON = datetime(2026, 3, 1, 12)
ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"
VIEWER_TOKEN, OLD_VIEWER_TOKEN = "a-token-of-a-viewer", "an-old-token-of-a-viewer"
USUAL: dict[str, Any] = {
    "app": "mycli",
    "at": NOON,
    "kind": "run",
    "name": "report upload",
    "installation": ONE,
    "ephemeral": False,
    "version": "1.4",
    "outcome": "success",
    "exit_code": 0,
    "error_type": "",
    "duration_us": 2_000_000,
    "options": ["--format"],
    "ci": False,
    "ci_system": "",
    "agent": "",
    "surface": "cli",
    "os": "linux",
    "os_version": "6.1",
    "arch": "amd64",
    "runtime": "cpython",
    "runtime_version": "3.12.1",
    "first_week": "2026-W08",
    "cluster": "",
    "tty": True,
    "fields": {},
    "event": 1,
    "received": NOON,
}


def row(event: int, **changes: Any) -> tuple[Any, ...]:
    """Return a row of ``events``: a usual run but for *changes*."""
    columns = {**USUAL, "event": event, **changes}
    return tuple(columns[name] for name in names_of("events"))


def days(n: float) -> timedelta:
    """Return so many days."""
    return timedelta(days=n)


def some_id() -> str:
    """Return an installation's id that is nobody else's."""
    return str(uuid.uuid4())


def ask(store: Store, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Return the rows that *query* has."""
    with store.reader() as cursor:
        return cursor.execute(query, list(parameters)).fetchall()


def count(path: Path | str) -> tuple[int, int]:
    """Return (events, different ones) of a store that nobody has open."""
    with Store(path) as store:
        rows = ask(store, "SELECT count(*), count(DISTINCT event) FROM events")
    return int(rows[0][0]), int(rows[0][1])


class ServeProcess(Process):
    """``otel-usage serve`` as an operator starts it, on a free port of this machine."""

    def __init__(self, store: Path | str, *options: str, **environ: str) -> None:
        super().__init__([], **environ)
        self.port = free_port()
        self.store = str(store)
        address = f"127.0.0.1:{self.port}"
        self.command = [
            sys.executable,
            "-m",
            "otel_usage",
            "serve",
            "--store",
            self.store,
            "--listen",
            address,
            *options,
        ]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"


def environment(**more: str) -> Mapping[str, str]:
    """Return an environment for a command that is run to its end."""
    return {"PATH": os.environ.get("PATH", ""), "PYTHONDONTWRITEBYTECODE": "1", **more}
