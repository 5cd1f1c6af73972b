"""Remember a little about each of a million installations: for a relay, which hears from all of them.

A dict of such entries takes some 330 bytes for each. Here one GA4 session takes 20, each more of the same installation some
7, and an entry is found in about 10 µs.

FORMAT     Entries lie in `BUCKETS` buckets. A bucket is one bytes object of at most `BUCKET_BYTES`: its entries one behind
           the other, the one that was written last at the end. An entry is

               key     8 bytes   a hash of the installation's name, of which the bucket's number is a part
               size    1 byte    of the value
               value   0 to 255  JSON in ASCII. Or, as it is shorter, of a list of whole numbers: a zero, and of each number,
                                 doubled, or doubled and less one if it is negative, 7 bits a byte from the lowest on, the
                                 eighth set in all but the last. What is larger is not remembered.

           The hash is BLAKE2b with a random key: nobody can choose names that all want the same bucket. Two of a million
           names have the same 64 bits in one of 30 million memories.
           With a file, a journal (memory_journal.py): its first block is `MAGIC` and the key of the hash, and all others are
           entries, of which the last with a key counts. A file that begins otherwise is none of ours, and is begun anew.

ALGORITHM  1. `get` goes through the bucket, some 15 entries of a million in all.
           2. `update` writes the bucket anew: without the old entry, with the new one at the end, and without the oldest
              ones if it is too large then. So what is forgotten is what was not written for longest, or nearly: a bucket
              has more than twice the room that it needs for a million installations of a few sessions each.
           3. What `update` wrote is appended to the file before it returns, and so before anything is sent of it: what
              was sent is remembered, whenever the process is killed.

RACES      Threads write one after the other, as in memory.py, and a bucket is replaced in one step: a reader gets the old
           one or the new one. Those of the file are in memory_journal.py.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from .memory import Memory

if TYPE_CHECKING:
    from .memory_journal import Journal

BUCKETS = 1 << 16
BUCKET_BYTES = 1_152  # 72 MiB in all
KEY_BYTES = 8
HEAD_BYTES = KEY_BYTES + 1
MAX_VALUE_BYTES = 255
HASH_KEY_BYTES = 16
MAGIC = b"otel-usage memory 1\n"
BLOCK_BUCKETS = 256  # that share a block when the file is written anew
_NUMBERS = b"\0"  # begins a list of whole numbers; JSON begins with no such byte


class CompactMemory(Memory):
    """As `Memory` without a folder, for many more installations. Concurrency: see RACES at the head of this module.

    path: of the file in which it is kept; "" is in memory alone. Raises SettingError if the file can't be used.
    """

    def __init__(self, path: str = "") -> None:
        super().__init__("", "")
        self._hash_key = os.urandom(HASH_KEY_BYTES)
        self._buckets = [b""] * BUCKETS
        self._journal: Journal | None = None
        if path:
            from .memory_journal import Journal

            self._journal = Journal(path)
            self._load(self._journal, path)

    def read(self) -> Mapping[str, Any]:
        """Return what is remembered, to look things up in: names are not remembered, and can't be listed. Any: JSON."""
        return _View(self)

    def update(self, entries: Mapping[str, Any]) -> None:
        """Remember *entries* too; where a bucket is full the oldest are dropped."""
        with self.exclusive():
            written = []
            for name, value in entries.items():
                text = _encode(value)
                key = self.key_of(name)
                entry = key + bytes((len(text) & 0xFF,)) + text
                if len(text) <= MAX_VALUE_BYTES and self._put(key, entry):
                    written.append(entry)
            if self._journal is not None and written and self._journal.append(b"".join(written)):
                self._journal.rewrite(self._blocks())

    def copy_without_file(self) -> Memory:
        """Return a memory of the same entries: what it learns, nobody else does."""
        copy = CompactMemory()
        copy._hash_key, copy._buckets = self._hash_key, list(self._buckets)
        return copy

    def close(self) -> None:
        """Let go of the file; what is learned from then on is in memory alone."""
        if self._journal is not None:
            self._journal.close()

    def key_of(self, name: str) -> bytes:
        """Return the key of *name* in its bucket."""
        return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES, key=self._hash_key).digest()

    def find(self, key: bytes) -> bytes | None:
        """Return the value that is remembered under *key*, None if there is none."""
        bucket = self._buckets[int.from_bytes(key, "little") % BUCKETS]
        at = _find(bucket, key)
        return None if at < 0 else bucket[at + HEAD_BYTES : at + HEAD_BYTES + bucket[at + KEY_BYTES]]

    def sizes(self) -> Iterator[int]:
        """Yield how many entries each bucket has; it takes long."""
        for bucket in self._buckets:
            yield sum(1 for _ in _entries(bucket))

    def _put(self, key: bytes, entry: bytes) -> bool:
        """Put *entry* at the end of its bucket; return False if it is there already."""
        number = int.from_bytes(key, "little") % BUCKETS
        bucket = self._buckets[number]
        at = _find(bucket, key)
        if at >= 0:
            end = at + HEAD_BYTES + bucket[at + KEY_BYTES]
            if bucket[at:end] == entry:
                return False
            bucket = bucket[:at] + bucket[end:]
        first = 0
        while len(bucket) - first + len(entry) > BUCKET_BYTES:
            first += HEAD_BYTES + bucket[first + KEY_BYTES]
        self._buckets[number] = bucket[first:] + entry
        return True

    # The file.

    def _load(self, journal: Journal, path: str) -> None:
        blocks = journal.read()
        head = next(blocks, None)
        if head is not None and head.startswith(MAGIC) and len(head) == len(MAGIC) + HASH_KEY_BYTES:
            self._hash_key = head[len(MAGIC) :]
            for block in blocks:
                for entry in _entries(block):
                    self._put(entry[:KEY_BYTES], entry)
        elif head is not None:
            log = logging.getLogger("otel_usage_exporters.memory")
            log.warning("%r does not hold what a relay remembers: it is begun anew", path)
        journal.rewrite(self._blocks())

    def _blocks(self) -> Iterator[bytes]:
        yield MAGIC + self._hash_key
        for first in range(0, len(self._buckets), BLOCK_BUCKETS):
            block = b"".join(self._buckets[first : first + BLOCK_BUCKETS])
            if block:
                yield block


class _View(Mapping[str, Any]):
    """The entries, by the installation's name. Any: JSON."""

    def __init__(self, memory: CompactMemory) -> None:
        self._memory = memory

    def __getitem__(self, name: str) -> Any:
        value = self._memory.find(self._memory.key_of(name))
        if value is None:
            raise KeyError(name)
        return _decode(value)

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError("names are not remembered")

    def __bool__(self) -> bool:
        """Return True. Asked without this, as in ``known or {}``, Python would count all entries, which takes 30 ms."""
        return True

    def __len__(self) -> int:
        raise NotImplementedError("they are counted by CompactMemory.sizes, which takes long")


def _encode(value: Any) -> bytes:
    """Return *value* as an entry holds it. Any: JSON."""
    if not isinstance(value, list) or not value or any(type(one) is not int for one in value):
        return json.dumps(value, separators=(",", ":")).encode("ascii")
    text = bytearray(_NUMBERS)
    for number in value:
        rest = -2 * number - 1 if number < 0 else 2 * number
        while rest > 0x7F:
            text.append(rest & 0x7F | 0x80)
            rest >>= 7
        text.append(rest)
    return bytes(text)


def _decode(text: bytes) -> Any:
    """Return what `_encode` made *text* of. Any: JSON."""
    if not text.startswith(_NUMBERS):
        return json.loads(text)
    numbers = []
    number = shift = 0
    for byte in text[1:]:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte <= 0x7F:
            numbers.append(-(number + 1 >> 1) if number & 1 else number >> 1)
            number = shift = 0
    return numbers


def _entries(text: bytes) -> Iterator[bytes]:
    """Yield the entries in *text*, whole."""
    at = 0
    while at < len(text):
        end = at + HEAD_BYTES + text[at + KEY_BYTES]
        yield text[at:end]
        at = end


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
