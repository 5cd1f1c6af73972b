"""A client of the relay that writes bytes: what no HTTP library would let a test do."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from tests.collector.harness import DEADLINE_S


class Wire:
    """One connection to a server on this machine."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        self._incoming = self.socket.makefile("rb")

    def send(self, content: bytes) -> Wire:
        """Send bytes, or as many as the server takes before it goes away."""
        try:
            self.socket.sendall(content)
        except ConnectionError:
            pass
        return self

    def answer(self) -> tuple[int, Mapping[str, str], bytes]:
        """Return (status, headers, body) of the next answer; 0 if the server closes the connection in place of one."""
        try:
            status = self._incoming.readline().split(b" ")
            lines = iter(lambda: self._incoming.readline().decode("latin-1").strip(), "")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = self._incoming.read(int(headers.get("content-length", 0)))
        except ConnectionError:
            return 0, {}, b""
        return (int(status[1]) if len(status) > 1 else 0), headers, body

    def rest(self) -> bytes:
        """Return all that comes until the server closes the connection."""
        heard = b""
        try:
            while part := self._incoming.read1(1 << 16):
                heard += part
        except ConnectionError:
            pass
        return heard

    def close(self) -> None:
        """Go away."""
        self._incoming.close()
        self.socket.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def request(path: str, body: bytes, *lines: str, chunked: bool = False, kind: str = "application/x-protobuf") -> bytes:
    """Return a POST with more *lines* in its head, as bytes. chunked: in chunks of 100 bytes, else with its length."""
    framing = "transfer-encoding: chunked" if chunked else f"content-length: {len(body)}"
    head = "\r\n".join([f"POST {path} HTTP/1.1", "host: x", f"content-type: {kind}", framing, *lines, "", ""])
    return head.encode() + (chunks(body) if chunked else body)


def chunks(body: bytes) -> bytes:
    """Return *body* in the chunked transfer coding."""
    parts = [body[at : at + 100] for at in range(0, len(body), 100)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
