"""Remember a little between processes: when a session began, which traits were sent.

Ring 1 (background). Losing it costs an extra session or an extra identify, so no failure here is one of a delivery.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from typing import Any

MAX_ENTRIES = 1_000  # per file; a program's folder holds one or two, a relay keeps its in memory only
MAX_BYTES = 1 << 20


class Kept:
    """A bounded mapping from an installation to something small, in ``<folder>/<name>.json`` or, without, in memory.

    writes: False to read the file, and keep what is new in memory.

    Concurrency: no lock, as a fork could leave it locked in the child. Of two that write at once, threads or
    processes, the later wins, and what the other learned is learned again; a reader never sees half a file.
    """

    def __init__(self, folder: str, name: str, *, writes: bool = True) -> None:
        self._writes = writes
        self._path = os.path.join(folder, name + ".json") if folder else ""
        self._entries: dict[str, Any] | None = None

    def read(self) -> dict[str, Any]:
        """Return a copy of what is kept. Any: JSON."""
        return dict(self._loaded())

    def update(self, entries: Mapping[str, Any]) -> None:
        """Keep *entries* too; the oldest go."""
        before = self._loaded()
        if all(key in before and before[key] == value for key, value in entries.items()):
            return
        after = {key: value for key, value in before.items() if key not in entries} | dict(entries)
        for key in list(after)[: max(0, len(after) - MAX_ENTRIES)]:
            del after[key]
        self._entries = after
        if self._path and self._writes:
            self._write(json.dumps(after))

    def _loaded(self) -> dict[str, Any]:
        if self._entries is None:
            self._entries = {}
            try:
                with open(self._path, "rb") as file:
                    found = json.loads(file.read(MAX_BYTES))
                if isinstance(found, dict):
                    self._entries = found
            except (OSError, ValueError, RecursionError):
                pass
        return self._entries

    def _write(self, text: str) -> None:
        part = f"{self._path}.{os.getpid()}.{threading.get_ident()}"
        try:
            os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
                file.write(text)
            os.replace(part, self._path)
        except OSError:
            try:
                os.unlink(part)
            except OSError:
                pass
