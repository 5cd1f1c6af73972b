"""Remember which events were delivered, so that a redelivery is not a second event.

Ring 2 (extra ``[relay]``).
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from otel_usage.schema import SettingError

log = logging.getLogger("otel_usage.relay")

# An id, a trace id and a span id, is kept as its remainder: of half a million random ids two are alike once in 10⁷
# windows. It is the same in every process, so it can be kept in a file.
PRIME = (1 << 61) - 1
KEY_BYTES = 8
RECORD_BYTES = 1 + KEY_BYTES


def _keys(ids: Iterable[int]) -> list[int]:
    return [one % PRIME + 1 for one in ids]


@dataclass(frozen=True, slots=True)
class Claim:
    """fresh: positions to deliver now; busy: how many another request is delivering; known: how many are done."""

    fresh: tuple[int, ...]
    busy: int
    known: int


class _Table:
    """At most *most* keys, above zero and below 2⁶⁴, in memory that is taken once: sets of them would take five times
    as much, and leave holes when they go.

    Slots are probed one after the other from a place that clients can't foresee.
    """

    def __init__(self, most: int) -> None:
        bits = (2 * most).bit_length()
        self._slots = array("Q", [0]) * (1 << bits)
        self._mask = (1 << bits) - 1
        self._shift = 64 - bits
        self._factor = secrets.randbits(64) | 1
        self.count = 0

    def _find(self, key: int) -> int:
        """Return the slot that holds *key*, or would."""
        slots, mask = self._slots, self._mask
        at = (key * self._factor & 0xFFFF_FFFF_FFFF_FFFF) >> self._shift
        while (found := slots[at]) != key and found:
            at = at + 1 & mask
        return at

    def __contains__(self, key: int) -> bool:
        return self._slots[self._find(key)] != 0

    def add(self, key: int) -> None:
        at = self._find(key)
        self.count += not self._slots[at]
        self._slots[at] = key

    def __iter__(self) -> Iterator[int]:
        return (key for key in self._slots if key)


class Window:
    """The ids of the most recent events that were delivered or dropped for good: at least size / 2, at most size.

    Two tables take turns, so that forgetting costs nothing. With *path* ids are noted there before they are delivered,
    and struck out if they are to be delivered again: after the death of this process, what it was delivering counts as
    delivered. Without it, what was delivered before may be delivered again.
    Shape of the file: records of ``+`` or ``-`` and a key, 8 bytes, big-endian; a torn one at the end is ignored. Not
    synced: it is to survive this process, not the machine.
    Concurrency: safe in threads; an id is claimed by one request at a time. A file belongs to one process.
    """

    def __init__(self, size: int, path: str = "") -> None:
        self._half = max(1, size // 2)
        self._recent, self._older = _Table(self._half), _Table(self._half)
        self._busy: set[int] = set()
        self._lock = threading.Lock()
        self._path = path
        self._file = -1
        self._records = 0
        if path:
            self._guard = _owned(path + ".lock")
            self._load()

    def __len__(self) -> int:
        return self._recent.count + self._older.count

    def claim(self, ids: Sequence[int]) -> Claim:
        """Return which of *ids* to deliver, which then are nobody else's until `settle`. A repetition is known."""
        fresh: list[int] = []
        busy = known = 0
        mine: dict[int, None] = {}
        with self._lock:
            recent, older, elsewhere = self._recent, self._older, self._busy
            for position, key in enumerate(_keys(ids)):
                if key in mine or key in recent or key in older:
                    known += 1
                elif key in elsewhere:
                    busy += 1
                else:
                    mine[key] = None
                    fresh.append(position)
            elsewhere.update(mine)
            self._note(b"+", mine)
        return Claim(tuple(fresh), busy, known)

    def settle(self, done: Iterable[int], again: Iterable[int]) -> None:
        """Let go of claimed ids: *done* are remembered, *again* are to be delivered another time."""
        with self._lock:
            finished, fresh = _keys(done), _keys(again)
            self._busy.difference_update(finished, fresh)
            self._note(b"-", fresh)
            for key in finished:
                self._remember(key)
            if self._records > 8 * self._half:  # claimed and struck out over and over: a destination is down
                self._compact()

    def _remember(self, key: int) -> None:
        self._recent.add(key)
        if self._recent.count >= self._half:
            self._older = self._recent
            self._recent = _Table(self._half)  # once the oldest is gone: two at a time
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
        except OSError as exc:
            raise SettingError(f"{self._path!r} can't be read: {exc.strerror}") from exc
        for at in range(0, len(content) - RECORD_BYTES + 1, RECORD_BYTES):
            key = int.from_bytes(content[at + 1 : at + RECORD_BYTES], "big")
            known.pop(key, None)
            if content[at] == ord("+") and key:
                known[key] = None
        kept = list(known)[-2 * self._half :]
        for key in kept[: self._half]:
            self._older.add(key)
        for key in kept[self._half :]:
            self._recent.add(key)
        self._compact()

    def _note(self, sign: bytes, keys: Iterable[int]) -> None:
        records = b"".join([sign + key.to_bytes(KEY_BYTES, "big") for key in keys]) if self._file >= 0 else b""
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
            [b"+" + key.to_bytes(KEY_BYTES, "big") for some in (self._older, self._recent, self._busy) for key in some]
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
