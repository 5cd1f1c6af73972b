"""Bounds on connections: how long and how large a request's head may be, and who makes room when there are too many.

uvicorn's own protocol bounds none of these, and its limit on connections turns away those that come, for as long as
those that are there do nothing. Here the newest always gets in: the connection that has had no request under way for
longest makes room for it, strangers before those that have been let in by their token. Handshakes of TLS are strangers,
see tls.py.

ALGORITHM of one connection
  1. It is idle. A head may come: until it is complete its bytes and its lines are counted, and a timer runs from the
     first of them (from connecting, for the first head).
  2. Its head is complete: a request is under way, whose body the app reads within limits of its own.
  3. The request is answered. It is idle again; if the client still sends its body, the rest is read and forgotten, and
     now that is what is counted and timed: closing at once would break the connection before the client has read the
     answer.
  4. A client that does not read its answers is timed, and counts as idle: it may wait, but at nobody's cost.
  5. A connection that is being closed is timed likewise, and makes room, until its client has read the last answer.
What takes too long or grows too large in 1, 3, 4 or 5 is closed. A request that comes whole sets no timer of its own, so
usual requests cost nothing more.

Requests that come before those ahead of them are answered wait, MAX_PIPELINED at most. The last of these is answered
with ``connection: close``, and what follows it is not looked at: a client that pipelines has to send that again on
another connection (RFC 9112, 9.3.2).

An offer to change the protocol (``Upgrade: h2c``, websocket, TLS) is passed over, as RFC 9110, 7.8 allows: the request
is an ordinary one. The parser takes what follows such a head for another protocol, and would not read the body. So it
is replaced by a new one, which reads the same head without the offer.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Any, Protocol

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 16 * 1024  # of the request line and all headers: a Collector's take less than 1 KiB
HEAD_LINES = 100  # headers: each is many times as large in memory as its shortest line
HEAD_S = 10.0  # from connecting, or from a request's first byte, until its headers are complete
REST_S = 30.0  # for the rest of a body whose request has been answered
REST_BYTES = 64 << 20  # and its size: the largest request that OTLP allows
WRITE_S = 10.0  # until a client reads its answers
WRITE_BYTES = 16 * 1024  # of answers that it has not read, before no other is written
MAX_PIPELINED = 4  # requests that wait for the one ahead of them
MAX_CONNECTIONS = 1_024  # or half of the descriptors that the process may have

_END = b"content-length: 0\r\nconnection: close\r\n\r\n"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n" + _END
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + _END
NO_TUNNEL = b"HTTP/1.1 405 Method Not Allowed\r\nallow: POST\r\n" + _END
MALFORMED = b"HTTP/1.1 400 Bad Request\r\n" + _END

_OFFERS = (b"upgrade", b"http2-settings")  # headers that offer another protocol, and words of Connection


class _StopParsingError(Exception):
    """Raised in a callback of the parser, so that it looks at nothing more of what has come."""


def find_connection_limit() -> int:
    """Return how many connections may be open at a time, as the system allows."""
    return max(1, min(MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))


class Guest(Protocol):
    """What a `Room` asks of a connection."""

    def make_way(self) -> None:
        """Close now: another connection needs the place."""


class Room:
    """The room for the connections of one server, and who gives up a place for the next.

    strangers, admitted: connections without a request under way, those idle for longest first. A connection is admitted
    once the app has said so of one of its requests (``state``). limit: how many may be open.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.strangers: dict[Guest, None] = {}
        self.admitted: dict[Guest, None] = {}

    def make(self, n_open: int) -> bool:
        """Have the oldest of those that are idle make way, if *n_open* are too many. False if none can."""
        if n_open <= self.limit:
            return True
        for idle in (self.strangers, self.admitted):
            for oldest in idle:
                del idle[oldest]
                oldest.make_way()
                return True
        return False


class Connection(HttpToolsProtocol):
    """One connection. Whatever it waits for has a limit in time and size. Any: uvicorn's own arguments.

    room: of its server. head_s: how long the head of its first request may take.
    """

    room: Room
    head_s = HEAD_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._idle = self.room.strangers  # where it is while it is idle
        self._in_head = True  # the next byte belongs to a head
        self._size_bytes = 0  # of the head so far, or of the rest of an answered request
        self._parsed_bytes = 0  # of the lines of the head, as the parser has them
        self._ends = False  # its last request has come: what follows is not looked at
        self._refusal = b""  # what to answer in place of the app
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=WRITE_BYTES)
        if not self.room.make(len(self.connections)):
            self._close(BUSY)
        self._set_idle(True)
        self._set_timer(self.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_timer(None)
        self.resume_writing()
        super().connection_lost(exc)
        self._set_idle(False)

    def make_way(self) -> None:
        """Another connection needs the place of this one, which is idle."""
        self._close()

    # What comes in.

    def data_received(self, chunk: bytes) -> None:  # counted first, before anything in it is looked at
        if self._ends or self.transport.is_closing():
            return
        if self._in_head or self._is_answered():
            self._size_bytes += len(chunk)
        self._unset_keepalive_if_required()
        try:
            self._parse(chunk)
        except httptools.HttpParserError:
            if self._in_head and self._is_answering():
                self._end()
            elif not self._ends:
                self._close(b"" if self.pipeline or self._is_answered() else self._refusal or MALFORMED)
        if self.transport.is_closing():
            return
        if self._in_head and self._size_bytes:
            if self._size_bytes > HEAD_BYTES:
                self._close(TOO_LARGE)
            elif self._timer is None:
                self._set_timer(HEAD_S)
        elif self._is_answered() and self._size_bytes > REST_BYTES:
            self._close()

    def _parse(self, chunk: bytes) -> None:
        """Have the parser read *chunk*; see the head of this module for what is done about offers."""
        while True:
            try:
                self.parser.feed_data(chunk)
                return
            except httptools.HttpParserUpgrade as offer:
                if self.parser.get_method() == b"CONNECT":
                    self._refusal = NO_TUNNEL
                    raise httptools.HttpParserError from None
                chunk = self._write_head_without_offer() + chunk[offer.args[0] :]
                self.parser = httptools.HttpRequestParser(self)

    def _write_head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        for name, value in self.headers:
            if name == b"connection":
                words = [word.strip() for word in value.split(b",")]
                value = b", ".join([word for word in words if word.lower() not in _OFFERS])
            if name not in _OFFERS:
                lines.append(name + b": " + value)
        return b"\r\n".join([*lines, b"", b""])

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MAX_PIPELINED:
            self._end()
            raise _StopParsingError
        self._parsed_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count_head(len(name) + len(value))

    def _count_head(self, size_bytes: int) -> None:
        # Of a head that comes whole too: one read may bring many times as much as is allowed.
        self._parsed_bytes += size_bytes
        if self._parsed_bytes > HEAD_BYTES or len(self.headers) > HEAD_LINES:
            self._refusal = TOO_LARGE
            raise _StopParsingError

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # it will be read again, without the offer
        self._in_head, self._size_bytes = False, 0
        self._set_timer(None)
        self._set_idle(False)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._in_head, self._size_bytes = True, 0
        self._set_timer(None)
        super().on_message_complete()

    # What goes out.

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:
            self.cycle.body = bytearray()  # what had come of a body that the app did not read
            if self.cycle.scope["state"].get("admitted"):
                self._idle = self.room.admitted
            if self.transport.is_closing():
                self._wait_for_reader()
            else:
                self._set_idle(True)
                if not self._in_head:  # the client still sends its body
                    self._set_timer(REST_S)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._set_idle(True)
        self._write_timer = self.loop.call_later(WRITE_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
            self._set_idle(not self._is_answering())

    def _is_answering(self) -> bool:
        """True while the app works on a request."""
        return self.cycle is not None and not self.cycle.response_complete

    def _is_answered(self) -> bool:
        """True while a body comes whose request has been answered."""
        return not self._in_head and self.cycle is not None and self.cycle.response_complete

    # Bounds.

    def _end(self) -> None:
        """Answer the requests that have come, and look at nothing more."""
        self._ends = True
        self.cycle.keep_alive = False  # the newest of them
        # Newer uvicorns say so by themselves, and not twice.
        self.cycle.default_headers = [*self.cycle.default_headers, (b"connection", b"close")]

    def _set_idle(self, idle: bool) -> None:
        """Say whether it may be closed to make room for another."""
        self.room.strangers.pop(self, None)
        self.room.admitted.pop(self, None)
        if idle and self in self.connections:
            self._idle[self] = None

    def _set_timer(self, seconds: float | None) -> None:
        """Have `_time_out` called in *seconds*, or not at all if None."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._time_out)

    def _time_out(self) -> None:
        if self._in_head and self._is_answering():
            # The client has begun the next request while the app still works on this one. Closing now would lose this
            # one's answer, so the head of the next has to wait.
            self._set_timer(HEAD_S)
        else:
            self._close()

    def _close(self, answer: bytes = b"") -> None:
        if self.flow.write_paused or self.transport.is_closing():
            self.transport.abort()  # closing would wait until the client reads
            return
        if answer:
            self.transport.write(answer)
        self.transport.close()
        self._wait_for_reader()

    def _wait_for_reader(self) -> None:
        """It is closed once the client has read its answers: but not for ever, and not where others need the place."""
        if self.transport.get_write_buffer_size():
            self._set_idle(True)
            self._set_timer(WRITE_S)


def make_protocol(limit: int | None = None) -> type[Connection]:
    """Return the protocol for one server. limit: connections at a time, as the system allows if None."""
    return type("BoundedConnection", (Connection,), {"room": Room(limit or find_connection_limit())})
