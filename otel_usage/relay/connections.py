"""Bounds on connections: how long and how large a request's head may be, and who makes room when there are too many.

Ring 2 (extra ``[relay]``). uvicorn's own protocol bounds none of these, and its limit on connections turns away those
that come, for as long as those that are there do nothing. Here the newest always gets in: the connection that has had
no request under way for longest makes room for it.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 16 * 1024  # of the request line and all headers: a Collector's take less than 1 KiB
HEAD_S = 10.0  # from connecting, or from a request's first byte, until its headers are complete
REST_S = 30.0  # for the rest of a body whose request has been answered
REST_BYTES = 64 << 20  # and its size: the largest request that OTLP allows
CONNECTIONS = 1_024  # or half of the descriptors that the process may have

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def most_connections() -> int:
    """Return how many connections may be open at a time."""
    return max(1, min(CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))


class Connection(HttpToolsProtocol):
    """One connection. What a connection waits for, it waits for within a time and a size.

    A head is counted as it comes, before anything in it is looked at. Timers run only for a head that comes in pieces
    and for the rest of a body that nobody reads: usual requests, which come whole, cost nothing more.
    """

    idle: dict[Connection, None]  # without a request under way, the longest first; shared by all of a server
    most: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head = True  # the next byte belongs to a head
        self._size_bytes = 0  # of it, or of the rest of an answered request
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        if len(self.connections) > self.most:
            oldest = next(iter(self.idle), None)
            if oldest is None:
                self._end(BUSY)
            else:
                del self.idle[oldest]
                oldest._end()
        self.idle[self] = None
        self._within(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self.idle.pop(self, None)
        self._within(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head or self._answered():
            self._size_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._head and self._size_bytes:
            if self._size_bytes > HEAD_BYTES:
                self._end(TOO_LARGE)
            elif self._timer is None:
                self._within(HEAD_S)
        elif self._answered() and self._size_bytes > REST_BYTES:
            self._end()

    def on_headers_complete(self) -> None:
        self._head, self._size_bytes = False, 0
        self._within(None)
        self.idle.pop(self, None)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._head, self._size_bytes = True, 0
        self._within(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self.idle[self] = None
            if not self._head:  # the client still sends its body
                self._within(REST_S)

    def _answered(self) -> bool:
        """True while a body comes whose request has been answered."""
        return not self._head and self.cycle is not None and self.cycle.response_complete

    def _within(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        if self._head and self.cycle is not None and not self.cycle.response_complete:
            self._within(HEAD_S)  # the client has begun another request before it was answered: it shall be first
        else:
            self._end()

    def _end(self, answer: bytes = b"") -> None:
        if not self.transport.is_closing():
            if answer:
                self.transport.write(answer)
            self.transport.close()


def bounded(most: int | None = None) -> type[Connection]:
    """Return the protocol for one server. most: connections at a time, as the system allows if None."""
    return type("Bounded", (Connection,), {"idle": {}, "most": most or most_connections()})
