"""Remember a little about each of a million installations, in memory alone: for a relay, which hears from all of them.

A dict of such entries takes some 330 bytes for each. Here a GA4 session takes 50, and is found in about 10 µs.

FORMAT     Entries lie in `BUCKETS` buckets. A bucket is one bytes object of at most `BUCKET_BYTES`: its entries one behind
           the other, the one that was written last at the end. An entry is

               key     8 bytes   the rest of the hash of the installation's name, of which the bucket's number is a part
               size    1 byte    of the value
               value   0 to 255  JSON, in ASCII; what is larger is not remembered

           The hash is Python's own, with a key that is random in each process: nobody can choose names that all want the
           same bucket. Two of a million names have the same 64 bits in one of 30 million processes.

ALGORITHM  1. `get` goes through the bucket, some 15 entries of a million in all.
           2. `update` writes the bucket anew: without the old entry, with the new one at the end, and without the oldest
              ones if it is too large then. So what is forgotten is what was not written for longest, or nearly: a bucket
              has more than twice the room that it needs for a million sessions.

RACES      Two threads write into one bucket: the later wins. What the other had learned is learned again, as in memory.py.
           Nothing is locked, and a bucket is replaced in one step, so a reader gets the old one or the new one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .memory import Memory

BUCKETS = 1 << 16
BUCKET_BYTES = 1_152  # 72 MiB in all
KEY_BYTES = 8
HEAD_BYTES = KEY_BYTES + 1
MAX_VALUE_BYTES = 255


class CompactMemory(Memory):
    """As `Memory` without a folder, for many more installations. Concurrency: see RACES at the head of this module."""

    def __init__(self) -> None:
        super().__init__("", "")
        self._buckets = [b""] * BUCKETS

    def read(self) -> Mapping[str, Any]:
        """Return what is remembered, to look things up in: names are not remembered, and can't be listed. Any: JSON."""
        return _View(self._buckets)

    def update(self, entries: Mapping[str, Any]) -> None:
        """Remember *entries* too; where a bucket is full the oldest are dropped."""
        for name, value in entries.items():
            text = json.dumps(value, separators=(",", ":")).encode("ascii")
            if len(text) > MAX_VALUE_BYTES:
                continue
            number, key = _place(name)
            bucket = self._buckets[number]
            entry = key + bytes((len(text),)) + text
            at = _find(bucket, key)
            if at >= 0:
                end = at + HEAD_BYTES + bucket[at + KEY_BYTES]
                if bucket[at:end] == entry:
                    continue
                bucket = bucket[:at] + bucket[end:]
            first = 0
            while len(bucket) - first + len(entry) > BUCKET_BYTES:
                first += HEAD_BYTES + bucket[first + KEY_BYTES]
            self._buckets[number] = bucket[first:] + entry

    def copy_without_file(self) -> Memory:
        """Return a memory of the same entries: what it learns, nobody else does."""
        copy = CompactMemory()
        copy._buckets = list(self._buckets)
        return copy


class _View(Mapping[str, Any]):
    """The entries, by the installation's name. Any: JSON."""

    def __init__(self, buckets: Sequence[bytes]) -> None:
        self._buckets = buckets

    def __getitem__(self, name: str) -> Any:
        number, key = _place(name)
        bucket = self._buckets[number]
        at = _find(bucket, key)
        if at < 0:
            raise KeyError(name)
        start = at + HEAD_BYTES
        return json.loads(bucket[start : start + bucket[start - 1]])

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError("names are not remembered")

    def __len__(self) -> int:
        """Return how many installations are remembered; it takes long."""
        n = 0
        for bucket in self._buckets:
            at = 0
            while at < len(bucket):
                at += HEAD_BYTES + bucket[at + KEY_BYTES]
                n += 1
        return n


def _place(name: str) -> tuple[int, bytes]:
    """Return the bucket for *name*, and its key there."""
    number = hash(name) & 0xFFFF_FFFF_FFFF_FFFF
    return number % BUCKETS, number.to_bytes(KEY_BYTES, "little")


def _find(bucket: bytes, key: bytes) -> int:
    """Return where the entry of *key* begins, -1 if there is none."""
    at = bucket.find(key)
    if at <= 0:  # most often it is not there at all
        return at
    # The same bytes may be a part of a value, or of two entries: only what an entry begins with counts.
    at = 0
    while at < len(bucket):
        if bucket.startswith(key, at):
            return at
        at += HEAD_BYTES + bucket[at + KEY_BYTES]
    return -1
