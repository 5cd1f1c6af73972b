"""The file in which a relay keeps what it remembers of installations, so that a restart forgets nothing.

FORMAT     A sequence of blocks. A block is

               size     4 bytes   of its content, big-endian
               crc      4 bytes   CRC-32 of its content
               content

           What a block holds is its owner's affair; for memories see compact_memory.py. ``<file>.lock`` is locked by the
           relay that uses the file; ``<file>.part`` is a new file while it is written. Nothing is synced to the disk: the
           file is to survive this process, not the machine.

ALGORITHM  1. What is learned is appended as a block, in one write.
           2. When the file has twice the size that it needed when it was written last, and a MiB more, it is written anew,
              and takes the old one's place by a rename.

RACES      1. The process is killed while it appends: that block is shorter than it says, or its CRC is wrong. It is left out
              when the file is read, and so is all that follows it; the log says how many bytes that is. Then the file is
              written anew, so that nothing is ever appended to a torn block.
           2. The process is killed while it writes the file anew: the part is never read, only written over.
           3. The disk is full, or the file can't be written: deliveries go on, and things are remembered in memory only.
           4. Two relays use one folder: the second one can't lock the file, and does not start.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from zlib import crc32

from otel_usage.setting_error import SettingError
from otel_usage.spool.layout import MEMORY_LOCK_SUFFIX, PART

log = logging.getLogger("otel_usage_exporters.memory")

HEAD_BYTES = 8
SPARE_BYTES = 1 << 20


class Journal:
    """One file, locked for as long as this object is open. Raises SettingError if the file can't be used.

    Concurrency: safe in threads.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._threads = threading.Lock()
        self._file = -1
        self._size = self._limit = 0
        self._process_lock = lock_file(path + MEMORY_LOCK_SUFFIX)

    def read(self) -> Iterator[bytes]:
        """Yield the content of each block, up to the first that is not as it was written. Raises SettingError."""
        try:
            with open(self._path, "rb") as file:
                text = memoryview(file.read())
        except FileNotFoundError:
            return
        except OSError as exc:
            raise SettingError(f"{self._path!r} can't be read: {exc.strerror}") from exc
        at = 0
        while at < len(text):
            size, crc = int.from_bytes(text[at : at + 4], "big"), int.from_bytes(text[at + 4 : at + 8], "big")
            content = text[at + HEAD_BYTES : at + HEAD_BYTES + size]
            if len(content) != size or crc32(content) != crc:
                log.warning(
                    "%r: %d of %d bytes can't be read: what they held is forgotten",
                    self._path,
                    len(text) - at,
                    len(text),
                )
                return
            yield bytes(content)
            at += HEAD_BYTES + size

    def append(self, content: bytes) -> bool:
        """Append a block; return True if it is time to `rewrite`. Does nothing once the file can't be written any more."""
        with self._threads:
            if self._file >= 0:
                try:
                    self._write(content)
                except OSError as exc:
                    self._give_up(exc)
            return self._file >= 0 and self._size > self._limit

    def rewrite(self, contents: Iterable[bytes]) -> None:
        """Write a new file of blocks with *contents*, which takes the old one's place."""
        part = self._path + PART
        with self._threads:
            if self._process_lock < 0:
                return
            old, self._file, self._size = self._file, -1, 0
            try:
                self._file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
                for content in contents:
                    self._write(content)
                os.rename(part, self._path)
                self._limit = 2 * self._size + SPARE_BYTES
            except OSError as exc:
                self._give_up(exc)
            finally:
                if old >= 0:
                    os.close(old)

    def close(self) -> None:
        """Let go of the file."""
        with self._threads:
            for descriptor in (self._file, self._process_lock):
                if descriptor >= 0:
                    os.close(descriptor)
            self._file = self._process_lock = -1

    def _write(self, content: bytes) -> None:
        block = len(content).to_bytes(4, "big") + crc32(content).to_bytes(4, "big") + content
        if os.write(self._file, block) != len(block):
            raise OSError("short write")
        self._size += len(block)

    def _give_up(self, exc: OSError) -> None:
        log.error("%r can't be written any more (%s): remembered in memory only", self._path, exc.strerror or exc)
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


def lock_file(path: str) -> int:
    """Return a descriptor that prevents other relays from using the same file. Raises SettingError."""
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
