"""Remember which events were delivered, so that a redelivery is not a second event.

Ring 2 (extra ``[relay]``).
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from otel_usage.schema import SettingError

log = logging.getLogger("otel_usage.relay")

ID_BYTES = 24  # a trace id and a span id
RECORD_BYTES = 1 + ID_BYTES


@dataclass(frozen=True, slots=True)
class Claim:
    """fresh: positions to deliver now; busy: how many another request is delivering; known: how many are done."""

    fresh: tuple[int, ...]
    busy: int
    known: int


class Window:
    """The ids of the most recent events that were delivered or dropped for good: at least size / 2, at most size.

    Two sets take turns, so that forgetting costs nothing. With *path* ids are noted there before they are delivered,
    and struck out if they are to be delivered again: after the death of this process, what it was delivering counts as
    delivered. Without it, what was delivered before may be delivered again.
    Shape of the file: records of ``+`` or ``-`` and an id, 24 bytes, big-endian; a torn one at the end is ignored. Not
    synced: it is to survive this process, not the machine.
    Concurrency: safe in threads; an id is claimed by one request at a time. A file belongs to one process.
    """

    def __init__(self, size: int, path: str = "") -> None:
        self._half = max(1, size // 2)
        self._recent: set[int] = set()
        self._older: set[int] = set()
        self._busy: set[int] = set()
        self._lock = threading.Lock()
        self._path = path
        self._file = -1
        self._records = 0
        if path:
            self._guard = _owned(path + ".lock")
            self._load()

    def __len__(self) -> int:
        return len(self._recent) + len(self._older)

    def claim(self, ids: Sequence[int]) -> Claim:
        """Return which of *ids* to deliver, which then are nobody else's until `settle`. A repetition is known."""
        fresh: list[int] = []
        busy = known = 0
        mine: dict[int, None] = {}
        with self._lock:
            recent, older, elsewhere = self._recent, self._older, self._busy
            for position, one in enumerate(ids):
                if one in recent or one in older or one in mine:
                    known += 1
                elif one in elsewhere:
                    busy += 1
                else:
                    mine[one] = None
                    fresh.append(position)
            elsewhere.update(mine)
            self._note(b"+", mine)
        return Claim(tuple(fresh), busy, known)

    def settle(self, done: Iterable[int], again: Iterable[int]) -> None:
        """Let go of claimed ids: *done* are remembered, *again* are to be delivered another time."""
        with self._lock:
            done, again = set(done), set(again)
            self._busy -= done
            self._busy -= again
            self._note(b"-", again)
            self._recent |= done
            if len(self._recent) >= self._half:
                self._recent, self._older = set(), self._recent
                self._compact()
            elif self._records > 8 * self._half:  # claimed and struck out over and over: a destination is down
                self._compact()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
                os.close(self._guard)

    # The file.

    def _load(self) -> None:
        known: dict[int, None] = {}
        try:
            with open(self._path, "rb") as file:
                content = file.read()
        except FileNotFoundError:
            content = b""
        for at in range(0, len(content) - RECORD_BYTES + 1, RECORD_BYTES):
            one = int.from_bytes(content[at + 1 : at + RECORD_BYTES], "big")
            known.pop(one, None)
            if content[at] == ord("+"):
                known[one] = None
        kept = list(known)[-2 * self._half :]
        self._older, self._recent = set(kept[: self._half]), set(kept[self._half :])
        self._compact()

    def _note(self, sign: bytes, ids: Iterable[int]) -> None:
        records = b"".join([sign + one.to_bytes(ID_BYTES, "big") for one in ids]) if self._file >= 0 else b""
        if not records:
            return
        try:
            if os.write(self._file, records) != len(records):
                raise OSError("short write")
            self._records += len(records) // RECORD_BYTES
        except OSError as exc:
            self._forgo(exc)

    def _compact(self) -> None:
        """Write what is known into a new file, which takes the old one's place."""
        if not self._path:
            return
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        part = self._path + ".part"
        content = b"".join(
            [b"+" + one.to_bytes(ID_BYTES, "big") for some in (self._older, self._recent, self._busy) for one in some]
        )
        try:
            file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._file = file
            if os.write(file, content) != len(content):
                raise OSError("short write")
            os.rename(part, self._path)
            self._records = len(content) // RECORD_BYTES
        except OSError as exc:
            self._forgo(exc)

    def _forgo(self, exc: OSError) -> None:
        # Delivering goes on: should we die now, some events come twice, which is less bad than all coming late.
        log.error("what is delivered can't be noted any more (%s): remembered in memory only", exc.strerror or exc)
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._path = ""


def _owned(path: str) -> int:
    """Return a descriptor that keeps other relays from using the same file. Raises SettingError."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise SettingError(f"{path!r} can't be written: {exc.strerror}") from exc
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise SettingError(f"{path!r} is held by another relay: give each a --state of its own") from None
    return file
