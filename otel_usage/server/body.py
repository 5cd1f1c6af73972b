"""One request's body, as it comes and decompressed, and never larger in memory than the limits allow."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator

from otel_usage.receiver.content import decode_content


class TooLargeError(Exception):
    """The body is larger, as it comes, than one request may be."""


class NoRoomError(Exception):
    """All requests together hold as much as they may."""


class NotComeError(Exception):
    """The request's head announces a body, and none has come, or less than was announced."""


class Budget:
    """Bytes that all requests together may hold. Concurrency: safe in threads."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.held_bytes = 0
        self._lock = threading.Lock()

    def take(self, n: int) -> None:
        """Take *n* bytes. Raises NoRoomError, taking none."""
        with self._lock:
            if self.held_bytes + n > self.size_bytes:
                raise NoRoomError
            self.held_bytes += n

    def give_back(self, n: int) -> None:
        """Give *n* bytes back."""
        with self._lock:
            self.held_bytes -= n


class Body:
    """One request's body. `close` gives its share of the budget back.

    body_bytes, decoded_bytes: the largest it may be, as it comes and decompressed.
    encoding: as `receiver.content.name_of` returns it.
    announced_bytes: what the head says of its size: None for nothing, -1 for a transfer coding, which ends by itself.
    """

    def __init__(
        self, budget: Budget, *, body_bytes: int, decoded_bytes: int, encoding: str, announced_bytes: int | None
    ) -> None:
        self._budget = budget
        self._body_bytes = body_bytes
        self._decoded_bytes = decoded_bytes if encoding else body_bytes
        self.encoding = encoding
        self._announced_bytes = announced_bytes
        self._held_bytes = 0
        self._encoded = bytearray()
        self._closed = False
        self._lock = threading.Lock()

    async def read(self, stream: AsyncIterator[bytes]) -> None:
        """Read the whole body as it comes. Raises TooLargeError, NoRoomError or NotComeError."""
        async for chunk in stream:
            if len(self._encoded) + len(chunk) > self._body_bytes:
                raise TooLargeError
            self._take(len(chunk))
            self._encoded += chunk
        size_bytes, announced_bytes = len(self._encoded), self._announced_bytes
        # Whatever the reason, such as an offer to change the protocol that the server has taken another way than the
        # client: a body that was not read must not pass for one that is empty, which is a valid request.
        if announced_bytes is not None and (not size_bytes if announced_bytes < 0 else size_bytes != announced_bytes):
            raise NotComeError

    def __len__(self) -> int:
        return len(self._encoded)

    def decode(self) -> bytes:
        """Return the content, decompressed; once. Raises as `decode_content` does, or NoRoomError.

        Concurrency: may be called in a thread. A `close` meanwhile, when its client can't be kept waiting, ends it.
        """
        encoded, self._encoded = bytes(self._encoded), bytearray()
        return decode_content(encoded, self.encoding, self._decoded_bytes, self._take)

    def _take(self, n: int) -> None:
        with self._lock:
            if self._closed:  # the client was answered meanwhile: see `decode`
                raise NoRoomError
            self._budget.take(n)
            self._held_bytes += n

    def close(self) -> None:
        """Give back what was taken of the budget, and hold nothing.

        An exception may keep this object alive until the garbage is collected; its content must not live as long.
        """
        with self._lock:
            self._closed = True
            self._budget.give_back(self._held_bytes)
            self._held_bytes = 0
            self._encoded = bytearray()
