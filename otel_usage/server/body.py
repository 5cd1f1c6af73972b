"""One request's body: decompressed as it comes, and never larger in memory than the limits allow."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

_CHUNK_BYTES = 64 * 1024  # decompressed at a time, so that a bomb is noticed before it has grown
_GZIP = 31  # wbits of zlib: a gzip header and trailer, and the largest window


class TooLargeError(Exception):
    """The body is larger than one request may be. option: the one that limits it, ``--body-mib`` or ``--decoded-mib``."""

    def __init__(self, option: str) -> None:
        super().__init__(option)
        self.option = option


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

    def give_back(self, n: int) -> None:
        """Give *n* bytes back."""
        self.held_bytes -= n


class Body:
    """One request's body. `close` gives its share of the budget back.

    body_bytes, decoded_bytes: the largest it may be, as it comes and decompressed.
    """

    def __init__(self, budget: Budget, *, body_bytes: int, decoded_bytes: int, compressed: bool) -> None:
        self._budget = budget
        self._left_bytes = body_bytes
        self._room_bytes = decoded_bytes if compressed else body_bytes
        self._compressed = compressed
        self._decompressor: zlib._Decompress | None = None
        self._held_bytes = 0
        self._content = bytearray()

    async def read(self, stream: AsyncIterator[bytes]) -> bytes:
        """Return the whole body, decompressed. Raises TooLargeError, NoRoomError or MalformedBodyError."""
        async for chunk in stream:
            self._left_bytes -= len(chunk)
            if self._left_bytes < 0:
                raise TooLargeError("--body-mib")
            if self._compressed:
                self._decompress(chunk)
            else:
                self._append(chunk)
        if self._compressed and (self._decompressor is None or not self._decompressor.eof):
            raise MalformedBodyError("the gzip body ends early")
        content = bytes(self._content)
        self._content = bytearray()
        return content

    def _decompress(self, chunk: bytes) -> None:
        if self._decompressor is None:
            self._decompressor = zlib.decompressobj(wbits=_GZIP)
        while True:
            if self._decompressor.eof:
                if not chunk.strip(b"\0"):
                    return  # padding after the last member, as gzip itself allows
                self._decompressor = zlib.decompressobj(wbits=_GZIP)  # members may follow each other
            try:
                part = self._decompressor.decompress(chunk, _CHUNK_BYTES)
            except zlib.error as exc:
                raise MalformedBodyError("the body is not gzip") from exc
            self._append(part)
            chunk = self._decompressor.unused_data if self._decompressor.eof else self._decompressor.unconsumed_tail
            # A part of the full size may have more behind it, in zlib's own memory, even when all input is consumed.
            if not chunk and (self._decompressor.eof or len(part) < _CHUNK_BYTES):
                return

    def _append(self, part: bytes) -> None:
        if self._held_bytes + len(part) > self._room_bytes:
            # Without compression the room is body_bytes, which `read` has checked already.
            raise TooLargeError("--decoded-mib")
        self._budget.take(len(part))
        self._held_bytes += len(part)
        self._content += part

    def close(self) -> None:
        """Give back what was taken of the budget, and hold nothing.

        An exception may keep this object alive until the garbage is collected; its content must not live as long.
        """
        self._budget.give_back(self._held_bytes)
        self._held_bytes = 0
        self._content = bytearray()
