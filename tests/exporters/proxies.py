"""Proxies on this machine: an HTTP proxy that opens tunnels, and a SOCKS5 server, both of which may want a password."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from .servers import Rude


def pump_both(near: socket.socket, far: socket.socket) -> None:
    """Pass on what comes from either side, until both are done."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while block := source.recv(65_536):
                sink.sendall(block)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    back = threading.Thread(target=pump, args=(far, near), daemon=True)
    back.start()
    pump(near, far)
    back.join()


def _read(connection: socket.socket, size: int) -> bytes:
    read = b""
    while len(read) < size:
        block = connection.recv(size - len(read))
        if not block:
            raise OSError("hung up")
        read += block
    return read


def tunnels(port: int, refuse: bool = False) -> Callable[[socket.socket, Rude], None]:
    """An HTTP proxy whose every tunnel ends at *port*; or one that refuses."""

    def behave(connection: socket.socket, server: Rude) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += _read(connection, 1)
        server.received.append(head)
        if refuse:
            connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", port)) as far:
            pump_both(connection, far)

    return behave


def socks5(port: int, login: bytes = b"", reply: int = 0) -> Callable[[socket.socket, Rude], None]:
    """A SOCKS5 server (RFC 1928, 1929) whose every connection ends at *port*; it wants *login*, ``user:password``, if any.

    reply: what it answers to CONNECT: 0 is success, 5 "connection refused". ``received`` has the hosts that it was asked for.
    """

    def behave(connection: socket.socket, server: Rude) -> None:
        methods = _read(connection, _read(connection, 2)[1])
        method = 2 if login else 0
        if method not in methods:
            connection.sendall(b"\x05\xff")
            return
        connection.sendall(bytes((5, method)))
        if login:
            user = _read(connection, _read(connection, 2)[1])
            shown = user + b":" + _read(connection, _read(connection, 1)[0])
            connection.sendall(b"\x01\x00" if shown == login else b"\x01\x01")
            if shown != login:
                return
        kind = _read(connection, 4)[3]
        server.received.append(_read(connection, {1: 4, 3: _read(connection, 1)[0] if kind == 3 else 0}[kind]))
        _read(connection, 2)
        connection.sendall(bytes((5, reply)) + b"\x00\x01\x00\x00\x00\x00\x00\x00")
        if not reply:
            with socket.create_connection(("127.0.0.1", port)) as far:
                pump_both(connection, far)

    return behave
