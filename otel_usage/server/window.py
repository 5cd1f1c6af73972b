"""Remember which records were delivered, so that a redelivery is not a second event.

FORMAT  of the file (``<destination>.window``; only with ``--state``)
  A sequence of entries of 9 bytes, the oldest first. An entry is a sign and a key::

      sign   1 byte    "+": the id was claimed or delivered.  "-": it is to be delivered again, so forget it.
      key    8 bytes   an unsigned integer, big-endian, above 0

  The last entry about a key counts. Bytes behind the last whole entry are a torn write, and ignored. A key is the
  remainder of an id (128 bits of trace id, 64 of span id) by a prime, plus 1: two of half a million random ids have
  the same key in one of 10⁷ windows. It is the same in every process, so it can be stored.
  Nothing is synced to the disk: the file is to survive this process, not the machine.
  ``<destination>.window.lock`` is locked by the relay that uses the file; ``….part`` is a new file while it is written.

ALGORITHM
  1. `claim`: each id that is in neither table and that no other request is delivering is written down as "+" and then
     belongs to the caller.
  2. The caller delivers what it has claimed.
  3. `settle`: what was delivered, or dropped for good, goes into the recent table; what is to be sent again is written
     down as "-" and anybody may claim it.
  4. When the recent table is half of the window's size it becomes the older one, and the older one is forgotten. So
     at least half of the size is remembered and at most all of it, and forgetting takes no search.
  5. Whenever tables change places, and when the file has four times as many entries as it needs, the file is written
     anew: what is in both tables and what is under way. The new file takes the old one's place by a rename.

RACES
  1. Two requests bring the same id at the same time: `claim` holds the lock from the question to the claim, so one
     gets the id and the other hears that it is busy. Its client comes again, and then the id is known, or free.
  2. This process dies after a claim and before it is settled: on disk the id counts as delivered, so its record may be
     missing at the destination. That is wanted: a destination that can't tell a repetition would count it twice.
     Without a file everything is forgotten, and what was delivered may come twice.
  3. This process dies while it writes: a torn entry is ignored, and the record it is about was not sent yet, since
     sending begins when `claim` has returned. A ``.part`` is never read, only written over.
  4. The disk is full, or the file can't be written: deliveries go on, and the window is remembered in memory only.
  5. Two relays use one folder: the second one can't lock the file, and does not start.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from otel_usage_exporters.memory_journal import lock_file

from otel_usage.setting_error import SettingError
from otel_usage.spool.layout import PART, WINDOW_LOCK_SUFFIX

log = logging.getLogger("otel_usage.relay")

PRIME = (1 << 61) - 1
KEY_BYTES = 8
ENTRY_BYTES = 1 + KEY_BYTES
CLAIMED = b"+"
FORGOTTEN = b"-"


def _keys_of(ids: Iterable[int]) -> list[int]:
    return [one % PRIME + 1 for one in ids]


@dataclass(frozen=True, slots=True)
class Claim:
    """What may be delivered of the ids that were asked for.

    fresh: positions of those to deliver now. busy: how many another request is delivering. known: how many have been
    delivered, or are repetitions among the ids themselves.
    """

    fresh: tuple[int, ...]
    busy: int
    known: int


class _KeyTable:
    """At most *most* keys, above zero and below 2⁶⁴, in memory that is taken once.

    Sets of them would take five times as much, and leave holes in memory when they go. A key's place is computed by a
    multiplication with a random factor, so that clients can't choose ids that all want the same place; if it is taken
    the next free slot is used. Zero marks a free slot.
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
        while (occupant := slots[at]) != key and occupant:
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
    """The ids of the most recent records that were delivered or dropped for good: at least size / 2, at most size.

    path: of the window's file, "" remembers in memory only. Raises SettingError if the file can't be used.
    Concurrency: safe in threads; an id is claimed by one request at a time. A file belongs to one process.

    >>> window = Window(1_000)
    >>> window.claim([7, 8])
    Claim(fresh=(0, 1), busy=0, known=0)
    >>> window.settle(done=[7], again=[8])
    >>> window.claim([7, 8])
    Claim(fresh=(1,), busy=0, known=1)
    """

    def __init__(self, size: int, path: str = "") -> None:
        self._half = max(1, size // 2)
        self._recent, self._older = _KeyTable(self._half), _KeyTable(self._half)
        self._busy: set[int] = set()
        self._lock = threading.Lock()
        self._path = path
        self._file = -1
        self._entries = 0
        if path:
            self._file_lock = lock_file(path + WINDOW_LOCK_SUFFIX)
            self._load()

    def __len__(self) -> int:
        return self._recent.count + self._older.count

    def claim(self, ids: Sequence[int]) -> Claim:
        """Return which of *ids* to deliver; these belong to the caller until `settle`.

        An id that comes twice in *ids* counts as known the second time.
        """
        fresh: list[int] = []
        busy = known = 0
        claimed: dict[int, None] = {}
        with self._lock:
            recent, older, busy_keys = self._recent, self._older, self._busy
            for position, key in enumerate(_keys_of(ids)):
                if key in claimed or key in recent or key in older:
                    known += 1
                elif key in busy_keys:
                    busy += 1
                else:
                    claimed[key] = None
                    fresh.append(position)
            busy_keys.update(claimed)
            self._append(CLAIMED, claimed)
        return Claim(tuple(fresh), busy, known)

    def settle(self, done: Iterable[int], again: Iterable[int]) -> None:
        """Let go of claimed ids: *done* are remembered, *again* are to be delivered another time."""
        with self._lock:
            done_keys, free_keys = _keys_of(done), _keys_of(again)
            self._busy.difference_update(done_keys, free_keys)
            self._append(FORGOTTEN, free_keys)
            for key in done_keys:
                self._remember(key)
            if self._entries > 8 * self._half:  # claimed and forgotten over and over: a destination is down
                self._compact()

    def _remember(self, key: int) -> None:
        self._recent.add(key)
        if self._recent.count >= self._half:
            self._older = self._recent  # first, so that there never are three tables in memory
            self._recent = _KeyTable(self._half)
            self._compact()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
                os.close(self._file_lock)

    # The file.

    def _load(self) -> None:
        try:
            with open(self._path, "rb") as file:
                content = file.read()
        except FileNotFoundError:
            content = b""
        except OSError as exc:
            raise SettingError(f"{self._path!r} can't be read: {exc.strerror}") from exc
        known: dict[int, None] = {}  # in the order of their last entry
        for at in range(0, len(content) - ENTRY_BYTES + 1, ENTRY_BYTES):
            key = int.from_bytes(content[at + 1 : at + ENTRY_BYTES], "big")
            known.pop(key, None)
            if content[at : at + 1] == CLAIMED and key:
                known[key] = None
        newest = list(known)[-2 * self._half :]
        for key in newest[: self._half]:
            self._older.add(key)
        for key in newest[self._half :]:
            self._recent.add(key)
        self._compact()

    def _append(self, sign: bytes, keys: Iterable[int]) -> None:
        entries = b"".join([sign + key.to_bytes(KEY_BYTES, "big") for key in keys]) if self._file >= 0 else b""
        if not entries:
            return
        try:
            if os.write(self._file, entries) != len(entries):
                raise OSError("short write")
            self._entries += len(entries) // ENTRY_BYTES
        except OSError as exc:
            self._give_up_file(exc)

    def _compact(self) -> None:
        """Write what is known into a new file, which takes the old one's place."""
        if not self._path:
            return
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        part = self._path + PART
        content = b"".join(
            [
                CLAIMED + key.to_bytes(KEY_BYTES, "big")
                for keys in (self._older, self._recent, self._busy)
                for key in keys
            ]
        )
        try:
            file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._file = file
            if os.write(file, content) != len(content):
                raise OSError("short write")
            os.rename(part, self._path)
            self._entries = len(content) // ENTRY_BYTES
        except OSError as exc:
            self._give_up_file(exc)

    def _give_up_file(self, exc: OSError) -> None:
        # Delivering goes on: should we die now, some events come twice, which is less bad than all coming late.
        log.error("what is delivered can't be noted any more (%s): remembered in memory only", exc.strerror or exc)
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._path = ""
