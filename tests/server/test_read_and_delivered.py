"""A 200 of the relay means: read, and delivered. In whichever form HTTP lets a body come, offers included."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_usage.otlp import json_from_protobuf
from tests.collector.harness import DEADLINE_S, traces
from tests.server.serving import Serving
from tests.server.wire import Wire, request

TRACES = "/fake/v1/traces"
OFFERS = {
    "none": (),
    "h2c": ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAARAAAAAAAIAAAAA"),
    "websocket": ("upgrade: WebSocket", "connection: keep-alive, upgrade", "sec-websocket-version: 13"),
    "TLS": ("Upgrade: TLS/1.0", "Connection: Upgrade"),
    "several": ("upgrade: foo/2, h2c", "connection: upgrade"),
}
ENCODINGS = ("plain", "gzip", "deflate", "two members", "JSON", "JSON in gzip")


@pytest.fixture
def serving() -> Iterator[Serving]:
    """A relay."""
    with Serving() as running:
        yield running


def encoded(number: int, encoding: str, offer: tuple[str, ...], *, chunked: bool) -> bytes:
    """Return a request with the run *number*."""
    body, kind, lines = traces([number]).SerializeToString(), "application/x-protobuf", list(offer)
    if encoding.startswith("JSON"):
        body, kind = json.dumps(json_from_protobuf("traces", body)).encode(), "application/json"
    if encoding == "two members":
        body = gzip.compress(body[:50]) + gzip.compress(body[50:])
    elif encoding == "deflate":
        body = zlib.compress(body)
    elif "gzip" in encoding:
        body = gzip.compress(body)
    if encoding not in ("plain", "JSON"):
        lines.append("content-encoding: " + ("deflate" if encoding == "deflate" else "gzip"))
    return request(TRACES, body, *lines, chunked=chunked, kind=kind)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("offer", OFFERS)
def test_a_body_is_read_whatever_else_the_client_offers(serving: Serving, offer: str, chunked: bool) -> None:
    """In each encoding; in one packet, with the body in a second, byte by byte; and what follows on the connection."""
    number = 0
    for encoding in ENCODINGS:
        with Wire(serving.port) as wire:
            for cuts in ([], [b"\r\n\r\n"], "every byte"):
                number += 1
                whole = encoded(number, encoding, OFFERS[offer], chunked=chunked)
                if cuts == "every byte":
                    for at in range(len(whole)):
                        wire.send(whole[at : at + 1])
                else:
                    head, end, body = whole.partition(b"\r\n\r\n")
                    wire.send(head + end if cuts else whole)
                    if cuts:
                        wire.send(body)

                assert 200 == wire.answer()[0], (encoding, cuts)
                assert number == len(serving.fake.numbers()), (encoding, cuts)

    assert list(range(1, number + 1)) == serving.fake.numbers()


def test_offers_that_are_pipelined_are_each_read(serving: Serving) -> None:
    """Three requests in one packet, each with an offer, are three requests."""
    with Wire(serving.port) as wire:
        wire.send(b"".join(encoded(n, "plain", OFFERS["h2c"], chunked=n % 2 == 0) for n in (1, 2, 3)))

        assert [200] * 3 == [wire.answer()[0] for _ in range(3)]
    assert [1, 2, 3] == serving.fake.numbers()


@pytest.mark.parametrize(
    ("whole", "status"),
    [
        (request(TRACES, b"", chunked=True), 503),
        (request(TRACES, b"", *OFFERS["h2c"], chunked=True), 503),
        (request(TRACES, gzip.compress(b"", mtime=0), "content-encoding: gzip"), 400),
        (request(TRACES, gzip.compress(b"", mtime=0), "content-encoding: gzip", chunked=True), 400),
        (request(TRACES, b"").replace(b"content-length: 0", b"transfer-encoding: gzip, chunked") + b"0\r\n\r\n", 501),
        (request(TRACES, b"x").replace(b"content-length: 1", b"transfer-encoding: gzip") + b"x", 400),
        (request(TRACES, b"x").replace(b"content-length: 1", b"content-length: -1"), 400),
        (request(TRACES, b"", "transfer-encoding: chunked") + b"0\r\n\r\n", 400),
        (b"CONNECT example.org:443 HTTP/1.1\r\nhost: example.org\r\n\r\n", 405),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
)
def test_what_was_not_read_is_never_taken(serving: Serving, whole: bytes, status: int) -> None:
    """A body that is announced and empty, or framed in a way that is not undone, is not an empty request."""
    with Wire(serving.port) as wire:
        assert status == wire.send(whole).answer()[0]

    assert [] == serving.fake.given


def test_a_body_that_ends_early_is_not_taken(serving: Serving) -> None:
    """A client that closes its side within its body hears no 200, and nothing of it is delivered."""
    for chunked in (False, True):
        with Wire(serving.port) as wire:
            whole = encoded(1, "plain", (), chunked=chunked)
            wire.send(whole[:-1])
            wire.socket.shutdown(1)

            assert b"HTTP/1.1 200" not in wire.rest()
    assert [] == serving.fake.given


def test_a_next_request_that_cant_be_read_does_not_answer_for_the_one_before(serving: Serving) -> None:
    """What is broken behind a request ends the connection, after the answer to that request."""
    with Wire(serving.port) as wire:
        wire.send(encoded(1, "plain", (), chunked=False) + b"\0\0\0\0\r\n\r\n")
        status, headers, _ = wire.answer()

        assert (200, "close", b"") == (status, headers["connection"], wire.rest())
    assert [1] == serving.fake.numbers()


@pytest.mark.parametrize("refused", ["no token", "no path"])
def test_a_refusal_before_the_body_was_asked_for_closes(refused: str) -> None:
    """A client that waits for ``100 Continue`` may or may not send its body after a refusal: nobody can tell."""
    path = "/other/v1/traces" if refused == "no path" else TRACES
    token = "authorization: Bearer " + ("two" if refused == "no token" else "one")
    whole = request(path, bytes(100), token, "expect: 100-continue")
    with Serving(tokens=("one",)) as serving, Wire(serving.port) as wire:
        status, headers, _ = wire.send(whole[:-100]).answer()

        assert (401 if refused == "no token" else 404, "close") == (status, headers["connection"])
        assert b"" == wire.rest()


# -- clients as they are ----------------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl")
@pytest.mark.parametrize("lines", [[], ["transfer-encoding: chunked"], ["expect: 100-continue"]])
def test_curl_that_offers_http2(serving: Serving, lines: list[str], tmp_path: Path) -> None:
    """``curl --http2`` to an address without TLS offers h2c."""
    (tmp_path / "body").write_bytes(traces(range(1, 6)).SerializeToString())
    headers = [part for line in ["content-type: application/x-protobuf", *lines] for part in ("-H", line)]
    address = f"http://127.0.0.1:{serving.port}{TRACES}"
    command = ["curl", "-sS", "--http2", *headers, "--data-binary", f"@{tmp_path / 'body'}", "-w", "%{http_code}"]

    ended = subprocess.run([*command, address, address], capture_output=True, text=True, timeout=30, check=False)

    assert ("200200", "") == (ended.stdout, ended.stderr)
    assert [1, 2, 3, 4, 5] == serving.fake.numbers()


JAVA = """
import java.net.URI; import java.net.http.*; import java.nio.file.*; import java.io.*;
public class Post {
    public static void main(String[] args) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        byte[] body = Files.readAllBytes(Path.of(args[1]));
        HttpRequest.BodyPublisher[] bodies = {
            HttpRequest.BodyPublishers.ofByteArray(body),
            HttpRequest.BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body)) };
        for (HttpRequest.BodyPublisher publisher : bodies) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(args[0]))
                .header("content-type", "application/x-protobuf").POST(publisher).build();
            System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).statusCode());
        }
    }
}
"""


@pytest.mark.skipif(not shutil.which("java"), reason="no java")
def test_a_jdk_client_without_any_option(serving: Serving, tmp_path: Path) -> None:
    """The JDK's own HttpClient offers h2c with each request to a new address, with a length and in chunks."""
    (tmp_path / "Post.java").write_text(JAVA)
    (tmp_path / "body").write_bytes(traces([1, 2]).SerializeToString())
    address = f"http://127.0.0.1:{serving.port}{TRACES}"
    command = ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", str(tmp_path / "Post.java"), address]

    ended = subprocess.run(
        [*command, str(tmp_path / "body")], capture_output=True, text=True, timeout=DEADLINE_S * 3, check=False
    )

    assert "200\n200\n" == ended.stdout, ended.stderr
    assert [1, 2] == serving.fake.numbers()
