"""TLS as a client of the relay makes it, byte by byte: half a handshake, a handshake without a request, a healthy client."""

from __future__ import annotations

import http.client
import importlib.util
import ssl
import subprocess
from pathlib import Path
from typing import Any

from tests.collector.harness import DEADLINE_S
from tests.server.wire import Wire

LOOPS = ["asyncio", *(["uvloop"] if importlib.util.find_spec("uvloop") else [])]


class Certificate:
    """A certificate for this machine, signed by itself, in files of *folder*."""

    def __init__(self, folder: Path) -> None:
        self.cert, self.key = str(folder / "tls.crt"), str(folder / "tls.key")
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        command = ["openssl", "req", "-x509", *kind, "-keyout", self.key, "-out", self.cert, *names]
        subprocess.run(command, check=True, capture_output=True)

    def options(self) -> list[str]:
        """Return the options of ``otel-usage relay``."""
        return ["--tls-cert", self.cert, "--tls-key", self.key]

    def client(self) -> ssl.SSLContext:
        """Return what a client needs that trusts it."""
        return ssl.create_default_context(cafile=self.cert)


class Hands:
    """A client's side of TLS over a `Wire`, of which a test decides what is sent when."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    def hello(self) -> bytes:
        """Return the first message of a handshake."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self._outgoing.read()

    def shake(self, wire: Wire) -> bytes:
        """Do the handshake over *wire*, but for the client's last message; return that."""
        wire.send(self.hello())
        while True:
            self._incoming.write(wire.socket.recv(65_536))
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                wire.send(self._outgoing.read())
                continue
            return self._outgoing.read()

    def encrypt(self, content: bytes) -> bytes:
        """Return *content* as it is sent."""
        self._tls.write(content)
        return self._outgoing.read()

    def read(self, wire: Wire) -> bytes:
        """Return what comes next; b"" when the server has said farewell, or is gone."""
        while True:
            try:
                return self._tls.read(65_536)
            except ssl.SSLWantReadError:
                part = wire.socket.recv(65_536)
                if not part:
                    return b""
                self._incoming.write(part)


def connection_to(port: int, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    """Return a connection to this machine, over TLS, not yet open."""
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=DEADLINE_S, context=context)


def post_encrypted(port: int, context: ssl.SSLContext, path: str, body: bytes, headers: Any) -> int:  # Any: a mapping
    """Return the status of one POST over a connection of its own."""
    connection = connection_to(port, context)
    try:
        connection.request("POST", path, body, {"content-type": "application/x-protobuf", **headers})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()
