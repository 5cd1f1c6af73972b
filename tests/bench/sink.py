"""A loopback HTTP server, as cheap as can be, that behaves in one way per port: healthy, slow, silent.

Run as a script: prints the ports as one JSON line, and ends with its standard input. Takes any POST; answers
OTLP with an empty protobuf message, everything else with JSON. ``GET /stats`` tells, by path: requests, bytes, and runs
(how often an attribute's key that every run has once is found; of spans only, plain or with gzip).
"""

import asyncio
import json
import socket
import sys
import zlib

SLOW_S = 5.0
RUN = b"usage.outcome"


class Connection(asyncio.Protocol):
    """One client's connection, kept alive. How it behaves is the port's."""

    stats: dict = {}  # noqa: RUF012  of the whole process

    def __init__(self, manner):
        self.manner = manner
        self.head = b""
        self.left = 0  # bytes of the current body still to come
        self.answer = b""
        self.count = [0, 0, 0]
        self.tail = b""  # of a body that comes in parts
        self.inflate = None  # what decompresses the current body, if it is compressed

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, received):
        while received:
            if self.left:
                part = received[: self.left]
                body = self.tail + (self.inflate(part) if self.inflate is not None else part)
                self.count[2] += body.count(RUN)
                self.tail = body[1 - len(RUN) :]
                if len(received) < self.left:
                    self.left -= len(received)
                    return
                received, self.left = received[self.left :], 0
                self.reply()
                continue
            head, found, received = (self.head + received).partition(b"\r\n\r\n")
            if not found:
                self.head = head
                return
            self.head = b""
            self.begin(head)
            if not self.left:
                self.reply()

    def begin(self, head):
        """Take the head of one request."""
        request, *lines = head.split(b"\r\n")
        path = request.split(b" ")[1].decode()
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        self.tail = b""
        self.left = int(fields.get(b"content-length", 0))
        gzip = fields.get(b"content-encoding") == b"gzip"
        self.inflate = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress if gzip else None
        kind, body = fields.get(b"content-type", b"application/json"), b""
        if path == "/stats":
            body = json.dumps(self.stats).encode()
        else:
            self.count = self.stats.setdefault(path, [0, 0, 0])
            self.count[0] += 1
            self.count[1] += self.left
            if b"protobuf" not in kind:
                body = b'{"status":1}'
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body)

    def reply(self):
        """Answer the request that has come in whole."""
        if self.manner == "healthy":
            self.transport.write(self.answer)
        elif self.manner == "slow":
            asyncio.get_running_loop().call_later(SLOW_S, self.transport.write, self.answer)


async def serve():
    """Listen on one port per manner until standard input ends."""
    loop = asyncio.get_running_loop()
    ports = {}
    for manner in ("healthy", "slow", "silent"):
        server = await loop.create_server(lambda manner=manner: Connection(manner), "127.0.0.1", 0, backlog=1024)
        ports[manner] = server.sockets[0].getsockname()[1]
    refused = socket.socket()  # bound, so that nobody else gets it, and not listening
    refused.bind(("127.0.0.1", 0))
    ports["refused"] = refused.getsockname()[1]
    print(json.dumps(ports), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve())
