"""Bounds on connections: how long and how large a request's head may be, and who makes room when there are too many.

uvicorn's own protocol bounds none of these, and its limit on connections turns away those that come, for as long as
those that are there do nothing. Here the newest always gets in: the connection that has had no request under way for
longest makes room for it.

ALGORITHM of one connection
  1. It is idle. A head may come: until it is complete its bytes are counted, and a timer runs from the first of them
     (from connecting, for the first head).
  2. Its head is complete: a request is under way, whose body the app reads within limits of its own.
  3. The request is answered. It is idle again; if the client still sends its body, the rest is read and forgotten, and
     now that is what is counted and timed: closing at once would break the connection before the client has read the
     answer.
What takes too long or grows too large in 1 or 3 is closed. A request that comes whole sets no timer of its own, so usual
requests cost nothing more.
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
MAX_CONNECTIONS = 1_024  # or half of the descriptors that the process may have

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def find_connection_limit() -> int:
    """Return how many connections may be open at a time, as the system allows."""
    return max(1, min(MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))


class Connection(HttpToolsProtocol):
    """One connection. Whatever it waits for has a limit in time and size. Any: uvicorn's own arguments.

    idle: connections without a request under way, those idle for longest first; shared by all connections of a server.
    limit: how many of them may be open.
    """

    idle: dict[Connection, None]
    limit: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True  # the next byte belongs to a head
        self._size_bytes = 0  # of the head so far, or of the rest of an answered request
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        if len(self.connections) > self.limit:
            oldest = next(iter(self.idle), None)
            if oldest is None:
                self._close(BUSY)
            else:
                del self.idle[oldest]
                oldest._close()
        self.idle[self] = None
        self._set_timer(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self.idle.pop(self, None)
        self._set_timer(None)
        super().connection_lost(exc)

    def data_received(self, chunk: bytes) -> None:  # counted first, before anything in it is looked at
        if self._in_head or self._is_answered():
            self._size_bytes += len(chunk)
        super().data_received(chunk)
        if self.transport.is_closing():
            return
        if self._in_head and self._size_bytes:
            if self._size_bytes > HEAD_BYTES:
                self._close(TOO_LARGE)
            elif self._timer is None:
                self._set_timer(HEAD_S)
        elif self._is_answered() and self._size_bytes > REST_BYTES:
            self._close()

    def on_headers_complete(self) -> None:
        self._in_head, self._size_bytes = False, 0
        self._set_timer(None)
        self.idle.pop(self, None)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head, self._size_bytes = True, 0
        self._set_timer(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self.idle[self] = None
            if not self._in_head:  # the client still sends its body
                self._set_timer(REST_S)

    def _is_answered(self) -> bool:
        """True while a body comes whose request has been answered."""
        return not self._in_head and self.cycle is not None and self.cycle.response_complete

    def _set_timer(self, seconds: float | None) -> None:
        """Have `_time_out` called in *seconds*, or not at all if None."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._time_out)

    def _time_out(self) -> None:
        if self._in_head and self.cycle is not None and not self.cycle.response_complete:
            # The client has begun the next request while the app still works on this one. Closing now would lose this
            # one's answer, so the head of the next has to wait.
            self._set_timer(HEAD_S)
        else:
            self._close()

    def _close(self, answer: bytes = b"") -> None:
        if not self.transport.is_closing():
            if answer:
                self.transport.write(answer)
            self.transport.close()


def make_protocol(limit: int | None = None) -> type[Connection]:
    """Return the protocol for one server. limit: connections at a time, as the system allows if None."""
    return type("BoundedConnection", (Connection,), {"idle": {}, "limit": limit or find_connection_limit()})
