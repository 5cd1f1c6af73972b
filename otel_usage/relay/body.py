"""Read a request's body, decompressing it as it comes, and never hold more than the limits allow.

Ring 2 (extra ``[relay]``).
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

_CHUNK = 64 * 1024


class TooLargeError(Exception):
    """The body is larger than one request may be, as it comes or decompressed; which, its text says."""


class NoRoomError(Exception):
    """All requests together hold as much as they may."""


class MalformedBodyError(Exception):
    """The body is not what its Content-Encoding says."""


class Budget:
    """Bytes that all requests together may hold. Used from the event loop only."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.held_bytes = 0

    def take(self, n: int) -> None:
        """Take *n* bytes. Raises NoRoomError, taking none."""
        if self.held_bytes + n > self.size_bytes:
            raise NoRoomError
        self.held_bytes += n

    def give(self, n: int) -> None:
        """Give *n* bytes back."""
        self.held_bytes -= n


class Body:
    """One request's body. `close` gives its share of the budget back."""

    def __init__(self, budget: Budget, *, body_bytes: int, decoded_bytes: int, compressed: bool) -> None:
        self._budget = budget
        self._left_bytes = body_bytes
        self._room_bytes = decoded_bytes if compressed else body_bytes
        self._compressed = compressed
        self._zip: zlib._Decompress | None = None
        self._held_bytes = 0
        self._content = bytearray()

    async def read(self, stream: AsyncIterator[bytes]) -> bytes:
        """Return the whole body, decompressed. Raises TooLargeError, NoRoomError or MalformedBodyError."""
        async for chunk in stream:
            self._left_bytes -= len(chunk)
            if self._left_bytes < 0:
                raise TooLargeError("--body-mib")
            if self._compressed:
                self._unzip(chunk)
            else:
                self._keep(chunk)
        if self._compressed and (self._zip is None or not self._zip.eof):
            raise MalformedBodyError("the gzip body ends early")
        content = bytes(self._content)
        self._content = bytearray()
        return content

    def _unzip(self, chunk: bytes) -> None:
        if self._zip is None:
            self._zip = zlib.decompressobj(wbits=31)
        while True:
            if self._zip.eof:
                if not chunk.strip(b"\0"):
                    return  # padding after the last member, as gzip itself allows
                self._zip = zlib.decompressobj(wbits=31)  # members may follow each other
            try:
                part = self._zip.decompress(chunk, _CHUNK)
            except zlib.error as exc:
                raise MalformedBodyError("the body is not gzip") from exc
            self._keep(part)
            chunk = self._zip.unused_data if self._zip.eof else self._zip.unconsumed_tail
            if not chunk and (self._zip.eof or len(part) < _CHUNK):  # a full part may have more behind it
                return

    def _keep(self, part: bytes) -> None:
        if self._held_bytes + len(part) > self._room_bytes:
            raise TooLargeError("--decoded-mib")
        self._budget.take(len(part))
        self._held_bytes += len(part)
        self._content += part

    def close(self) -> None:
        """Give back what was taken of the budget, and hold nothing: an exception may hold us until it is collected."""
        self._budget.give(self._held_bytes)
        self._held_bytes = 0
        self._content = bytearray()
