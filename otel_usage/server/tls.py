"""TLS at the relay's own port: a transport over OpenSSL in memory, whose handshakes have the bounds of other connections.

The TLS of asyncio and of uvloop gives nobody else a say before a handshake has ended, holds 256 KiB for each connection, and
waits half a minute for a client's farewell. So strangers who connect and do nothing would be as many as there are descriptors.

ALGORITHM of one connection
  1. It counts among the connections from its first moment, as a stranger that is idle: others may need its place. A timer
     runs until its handshake *and* the head of its first request have come, see connections.py.
  2. Its first bytes are looked at before OpenSSL sees them, which allocates what a message says of its own length. What is no
     TLS, or says that it is large, is closed. So is what goes on for too long.
  3. Its handshake has ended: the HTTP protocol is made, and gets what comes from then on, decrypted.
  4. Where a handshake fails the server hears it, once for each connection. One that ends before the client has said anything
     is none: whoever looks whether a port is open (a load balancer, every few seconds) does that.
  5. Whoever closes it says farewell, and does not wait for the client's: RFC 8446, 6.1 asks for no more.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from .connections import HEAD_S, Connection, Room
from .operator_log import HandshakeFailure

HANDSHAKE_BYTES = 16 * 1024  # from the client: with the keys of post-quantum cryptography a hello takes 2 KiB
PART_BYTES = 16 * 1024  # as large as a record may be

_HANDSHAKE = 22  # the first byte of a record of a handshake; RFC 8446, 5.1
_RECORD_HEADER = 5  # its type, its version, and the length of what follows
_MESSAGE_HEADER = 4  # type and length of a message of the handshake: in the first record, with every client there is


def _ignore(failure: HandshakeFailure) -> None:
    pass


class TlsConnection(asyncio.Protocol, asyncio.Transport):
    """A protocol to the socket's transport, and the transport of the HTTP protocol. Any: uvicorn's arguments for the latter.

    context, room, connection_class, on_failure: of a server; see `make_tls_protocol`.
    """

    context: ssl.SSLContext
    room: Room
    connection_class: type[Connection]
    on_failure: Callable[[HandshakeFailure], None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self._arguments = (args, kwargs)
        self._connections: set[Any] = kwargs["server_state"].connections  # Any: uvicorn's, of several protocols
        self._loop = asyncio.get_running_loop()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = self.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._first: bytes | None = b""  # what has come, until the header of the first message has
        self._size_bytes = 0  # of the handshake so far
        self._connection: Connection | None = None  # None while hands are shaken
        self._paused = False
        self._heard = False  # anything from the client
        self._is_over = False  # the handshake, however it ended

    # The handshake.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # of a socket, always
        self._socket = transport
        self._since_s = self._loop.time()
        self._timer = self._loop.call_later(HEAD_S, self._fail, HandshakeFailure.TOO_LONG)
        self._connections.add(self)
        if self.room.make(len(self._connections)):
            self.room.strangers[self] = None
        else:
            self._fail(HandshakeFailure.NO_ROOM)

    def data_received(self, chunk: bytes) -> None:
        self._heard = True
        if self._first is not None:
            chunk = self._first = self._first + chunk
            if not _may_be_hello(chunk):
                self._fail(HandshakeFailure.NOT_TLS)
                return
            if len(chunk) < _RECORD_HEADER + _MESSAGE_HEADER:
                return
            self._first = None
        # In parts: what is put into memory for OpenSSL keeps the size that it once had.
        for at in range(0, len(chunk), PART_BYTES):
            if self._socket.is_closing():
                return
            part = chunk[at : at + PART_BYTES]
            self._incoming.write(part)
            if self._connection is not None or self._shake_hands(len(part)):
                self._read()

    def _shake_hands(self, size_bytes: int) -> bool:
        """Go on, with *size_bytes* more; True if the handshake has ended, and the HTTP protocol has been made."""
        self._size_bytes += size_bytes
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            if self._size_bytes > HANDSHAKE_BYTES:
                self._fail(HandshakeFailure.TOO_LONG)
            return False
        except ssl.SSLError:
            self._flush()  # why, in TLS's words
            self._note(HandshakeFailure.REFUSED)
            self._socket.close()
            return False
        self._flush()
        self._leave_room()
        self._is_over = True
        args, kwargs = self._arguments
        self._connection = self.connection_class(*args, **kwargs)
        self._connection.head_s = HEAD_S - (self._loop.time() - self._since_s)
        self._connection.connection_made(self)
        return True

    def _leave_room(self) -> None:
        self._timer.cancel()
        self._connections.discard(self)
        self.room.strangers.pop(self, None)

    def _fail(self, failure: HandshakeFailure) -> None:
        self._note(failure)
        self.abort()

    def _note(self, failure: HandshakeFailure) -> None:
        """Say that the handshake failed, unless it was said, or never began."""
        if not self._is_over and self._heard:
            self.on_failure(failure)
        self._is_over = True

    def make_way(self) -> None:
        """Another connection needs the place of this one, whose handshake is under way."""
        self._fail(HandshakeFailure.NO_ROOM)

    def shutdown(self) -> None:
        """The server stops, and the handshake is under way."""
        self._is_over = True
        self.abort()

    # The protocol of the socket.

    def _read(self) -> None:
        """Pass on what can be decrypted."""
        try:
            while self._connection is not None and not self._paused and not self._socket.is_closing():
                content = self._tls.read(PART_BYTES)
                if not content:  # the client's farewell
                    self.close()
                    return
                self._connection.data_received(content)
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError:
            self._flush()
            self._socket.close()

    def _flush(self) -> None:
        if self._outgoing.pending and not self._socket.is_closing():
            self._socket.write(self._outgoing.read())

    def eof_received(self) -> bool | None:
        return self._connection.eof_received() if self._connection is not None else None  # type: ignore[func-returns-value]

    def connection_lost(self, exc: Exception | None) -> None:
        self._note(HandshakeFailure.LEFT)
        self._leave_room()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._connection is not None:
            self._connection.pause_writing()

    def resume_writing(self) -> None:
        if self._connection is not None:
            self._connection.resume_writing()

    # The transport of the HTTP protocol.

    def write(self, content: Any) -> None:  # Any: bytes, of whatever kind
        """Encrypt and write."""
        if self._socket.is_closing():
            return
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[self._tls.write(rest) :]
        except ssl.SSLError:  # the client has ended the session
            self._socket.abort()
            return
        self._flush()

    def close(self) -> None:
        """Say farewell, and close once what was written has left."""
        if self._socket.is_closing():
            return
        try:
            self._tls.unwrap()
        except ssl.SSLError:  # "want read", of the client's farewell
            pass
        self._flush()
        self._socket.close()

    def abort(self) -> None:
        """Close at once."""
        self._socket.abort()

    def is_closing(self) -> bool:
        """True once it is closed, or will be."""
        return self._socket.is_closing()

    def pause_reading(self) -> None:
        """Read nothing more for now."""
        self._paused = True
        if not self._socket.is_closing():
            self._socket.pause_reading()

    def resume_reading(self) -> None:
        """Read again, first of all what has come."""
        self._paused = False
        if not self._socket.is_closing():
            self._socket.resume_reading()
            self._loop.call_soon(self._read)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when writing is paused, in encrypted bytes."""
        self._socket.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Return how many encrypted bytes have not left."""
        return self._socket.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # Any: as asyncio's own
        """Return what is known of the socket, or of TLS."""
        of_tls = {"sslcontext": self.context, "ssl_object": self._tls}
        return of_tls[name] if name in of_tls else self._socket.get_extra_info(name, default)


def _may_be_hello(first: bytes) -> bool:
    """True if the *first* bytes of a client may be those of a TLS handshake, and announce a message of usual size.

    OpenSSL has room for 128 KiB as soon as nine bytes announce as much.
    """
    if first[0] != _HANDSHAKE:
        return False
    if len(first) < _RECORD_HEADER + _MESSAGE_HEADER:
        return True
    return int.from_bytes(first[3:5], "big") >= _MESSAGE_HEADER and int.from_bytes(first[6:9], "big") <= HANDSHAKE_BYTES


def make_tls_protocol(
    connection_class: type[Connection],
    context: ssl.SSLContext,
    on_failure: Callable[[HandshakeFailure], None] = _ignore,
) -> type[TlsConnection]:
    """Return the protocol for one server, whose HTTP protocol is *connection_class*.

    on_failure: hears of each handshake that failed, on the event loop.
    """
    shared = {
        "context": context,
        "room": connection_class.room,
        "connection_class": connection_class,
        "on_failure": staticmethod(on_failure),
    }
    return type("BoundedTlsConnection", (TlsConnection,), shared)
