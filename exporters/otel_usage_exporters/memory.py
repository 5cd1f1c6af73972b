"""Remember a little between processes: for each installation its latest sessions, or which traits were sent.

FORMAT     ``<folder>/<name>.json``: one JSON object in ASCII, ``{installation: something small}``, the entry that was
           written last at its end. 0600, in a folder of 0700. At most `MAX_ENTRIES` entries; of a file of more than
           `MAX_BYTES` nothing is read. A file that cannot be read, or is no such object, counts as empty.

ALGORITHM  1. Each use looks whether the file is the one that was read or written last; if not, it is read, and counts.
           2. `update` moves what is new to the end, drops the oldest entries beyond the limit, and, where anything
              changed, writes all entries into a file of its own, ``<name>.json.<process>.<thread>``.
           3. That file is renamed to ``<name>.json``.
           Threads of one process look things up and write down what follows from them one after the other: `exclusive`.

RACES      1. Two processes at once: between the look at the file and the rename one may miss what the other has written.
              That is learned again: at the cost of one more session, or of one more ``identify`` of the same content.
           2. A reader meets a writer: it gets the old file or the new one, never half of one, as a rename is atomic.
           3. A writer is killed before its rename: its own file stays behind, and nobody reads it. The next writer
              with the same process and thread id overwrites it.
           4. A fork while another thread holds the lock: the child makes a lock of its own. Two of its threads that are
              the first at the same moment may get one each: as in 1.

Losing this memory costs a session or an ``identify`` too many and no event, so no failure here fails a delivery.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from otel_usage.spool.layout import JSON

MAX_ENTRIES = 1_000  # per file, of which a program's has one or two; for a relay see compact_memory.py
MAX_BYTES = 1 << 20


class Memory:
    """A bounded mapping from an installation to something small, in a file or, if *folder* is "", in memory alone.

    writes: False to read the file, and to hold what is new in memory only.
    Concurrency: see RACES at the head of this module.
    """

    def __init__(self, folder: str, name: str, *, writes: bool = True) -> None:
        self._writes = writes
        self._path = os.path.join(folder, name + JSON) if folder else ""
        self._entries: dict[str, Any] | None = None
        self._version: tuple[int, int, int] | None = None  # of the file that was read or written last
        self._lock, self._owner = threading.RLock(), os.getpid()

    def exclusive(self) -> AbstractContextManager[object]:
        """Return what keeps this process's other threads away, from looking things up until what follows is written."""
        if self._owner != os.getpid():  # forked
            self._lock, self._owner = threading.RLock(), os.getpid()
        return self._lock

    def read(self) -> Mapping[str, Any]:
        """Return what is remembered, to look things up in. Any: JSON."""
        return self._loaded()

    def update(self, entries: Mapping[str, Any]) -> None:
        """Remember *entries* too; beyond `MAX_ENTRIES` the oldest are dropped."""
        with self.exclusive():
            before = self._loaded()
            if all(key in before and before[key] == value for key, value in entries.items()):
                return
            after = {key: value for key, value in before.items() if key not in entries} | dict(entries)
            for key in list(after)[: max(0, len(after) - MAX_ENTRIES)]:
                del after[key]
            self._entries = after
            if self._path and self._writes:
                self._write(json.dumps(after))

    def close(self) -> None:
        """Let go of a file that is held open: none of this class is."""

    def copy_without_file(self) -> Memory:
        """Return a memory of the same entries that no file belongs to: what it learns, nobody else does."""
        copy = Memory("", "")
        copy._entries = dict(self._loaded())
        return copy

    def _loaded(self) -> dict[str, Any]:
        entries = self._entries
        if self._path and (self._writes or entries is None):
            try:
                if _version_of(os.stat(self._path)) != self._version or entries is None:
                    entries = self._read()
            except OSError:  # none, or gone: what is in memory counts
                pass
        self._entries = {} if entries is None else entries
        return self._entries

    def _read(self) -> dict[str, Any]:
        with open(self._path, "rb") as file:
            self._version = _version_of(os.fstat(file.fileno()))
            try:
                entries = json.loads(file.read(MAX_BYTES))
            except (ValueError, RecursionError):
                return {}
        return entries if isinstance(entries, dict) else {}

    def _write(self, text: str) -> None:
        part = f"{self._path}.{os.getpid()}.{threading.get_ident()}"
        try:
            os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                self._version = _version_of(os.fstat(file.fileno()))
            os.replace(part, self._path)  # in one step: a reader must never see half a file
        except OSError:
            try:
                os.unlink(part)
            except OSError:
                pass


def _version_of(status: os.stat_result) -> tuple[int, int, int]:
    """Return what tells a file from the one that takes its place."""
    return status.st_ino, status.st_mtime_ns, status.st_size
