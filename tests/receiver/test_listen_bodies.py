"""``otel-usage listen`` takes what real exporters send, and never mistakes a body for the next request."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

from otel_usage.otlp import json_from_protobuf
from otel_usage.receiver.arrival import Arrival
from otel_usage.receiver.server import Listener
from tests.collector.harness import traces
from tests.server.wire import Wire, request

PATH = "/v1/traces"
BODY = traces([1]).SerializeToString()
JSON = json.dumps(json_from_protobuf("traces", BODY)).encode()
KIND = {"protobuf": "application/x-protobuf", "JSON": "Application/JSON; charset=utf-8"}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("kind", KIND)
@pytest.mark.parametrize("coding", ["", "gzip", "GZip", "x-gzip", "deflate", "two members", "identity"])
def test_each_form_of_a_body(listener: tuple[Listener, list[Arrival]], coding: str, kind: str, chunked: bool) -> None:
    """Three on one connection, one of them with an offer of HTTP/2: three lines."""
    server, arrived = listener
    body = BODY if kind == "protobuf" else JSON
    if coding == "two members":
        body, coding = gzip.compress(body[:99]) + gzip.compress(body[99:]), "gzip"
    elif coding not in ("", "identity"):
        body = zlib.compress(body) if coding == "deflate" else gzip.compress(body)
    lines = [f"content-encoding: {coding}"] if coding else []
    offer = ["connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQ"]
    with Wire(server.server_address[1]) as wire:
        for more in ([], offer, []):
            wire.send(request(PATH, body, *lines, *more, chunked=chunked, kind=KIND[kind]))

            assert 200 == wire.answer()[0]
    assert 3 == len(arrived)
    assert "mycli report upload" in arrived[0].lines()[0]


def test_extensions_and_trailers_are_passed_over(listener: tuple[Listener, list[Arrival]]) -> None:
    """Chunks may have a note each, and the body a trailer."""
    server, arrived = listener
    head = request(PATH, b"", chunked=True).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    framed = b"%X;note=1\r\n%s\r\n0;last\r\nx-sum: 1\r\nx-more: 2\r\n\r\n" % (len(BODY), BODY)
    with Wire(server.server_address[1]) as wire:
        for _ in range(2):
            assert 200 == wire.send(head + framed).answer()[0]
    assert 2 == len(arrived)


def head(*lines: str) -> bytes:
    """Return a head of these lines."""
    return "\r\n".join([f"POST {PATH} HTTP/1.1", "host: x", *lines, "", ""]).encode()


KIND_LINE = "content-type: application/x-protobuf"


@pytest.mark.parametrize(
    ("whole", "status"),
    [
        (head(KIND_LINE, "transfer-encoding: gzip, chunked") + b"5\r\nPOST \r\n0\r\n\r\n", 501),
        (head(KIND_LINE, "transfer-encoding: chunked", "content-length: 5") + b"5\r\nPOST \r\n0\r\n\r\n", 400),
        (head(KIND_LINE, "content-length: 1", "content-length: 2") + b"xx", 400),
        (head(KIND_LINE, "content-length: +5") + b"POST ", 400),
        (head(KIND_LINE, "content-length: 99999999999") + b"POST ", 413),
        (head(KIND_LINE, "transfer-encoding: chunked") + b"0x5\r\nPOST \r\n0\r\n\r\n", 400),
        (head(KIND_LINE, "transfer-encoding: chunked") + b"5\r\nPOST /\r\n0\r\n\r\n", 400),
        (head(KIND_LINE, "transfer-encoding: chunked") + b"f" * 16 + b"\r\n", 413),
        (head(KIND_LINE, "transfer-encoding: chunked") + b"0\r\n" + b"a: b\r\n" * 200, 400),
        (head(KIND_LINE, "transfer-encoding: chunked") + b"5;" + b"x" * 9_000, 400),
        (head(KIND_LINE, "content-encoding: br", "content-length: 5") + b"POST ", 415),
        (request(PATH, gzip.compress(b"x")[:-1], "content-encoding: gzip"), 400),
        (request(PATH, gzip.compress(b"") * 200, "content-encoding: gzip"), 400),
        (request(PATH, gzip.compress(bytes(3 << 20)), "content-encoding: gzip"), 413),
    ],
)
def test_a_body_that_is_refused_ends_the_connection(
    listener: tuple[Listener, list[Arrival]], whole: bytes, status: int
) -> None:
    """What is left of it is no request: one answer, and no other."""
    server, arrived = listener
    with Wire(server.server_address[1]) as wire:
        answered, headers, _ = wire.send(whole + request(PATH, BODY)).answer()

        assert (status, "close", b"") == (answered, headers["connection"], wire.rest())
    assert [] == arrived


def test_a_large_body_that_is_refused_hears_why(listener: tuple[Listener, list[Arrival]]) -> None:
    """A client that sends all of it before it reads does not find a broken connection."""
    server, _ = listener
    with Wire(server.server_address[1]) as wire:
        wire.send(request(PATH, bytes(8 << 20), "content-encoding: br"))

        assert (415, "close") == (lambda answer: (answer[0], answer[1]["connection"]))(wire.answer())


def test_a_count_without_a_unit_shows_none() -> None:
    """OTLP's unit ``1`` means that there is none."""
    point = {"asInt": "3", "timeUnixNano": "1", "attributes": []}
    metrics = [{"name": "clicks", "unit": unit, "sum": {"dataPoints": [point]}} for unit in ("1", "", "MB")]
    body = {"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}

    assert ["+3", "+3", "+3 MB"] == [line.partition("clicks  ")[2].strip() for line in Arrival("otlp", body).lines()]


@pytest.mark.skipif(not os.environ.get("OTEL_USAGE_SLOW"), reason="OTEL_USAGE_SLOW is not set")
@pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="no node")
def test_the_exporters_of_node(listener: tuple[Listener, list[Arrival]], tmp_path: Path) -> None:
    """OpenTelemetry's own, JSON and protobuf, plain and in gzip: each span and count is shown."""
    server, arrived = listener
    folder = tmp_path / "node"
    shutil.copytree(Path(__file__).parent / "node", folder)
    install = ["npm", "install", "--no-audit", "--no-fund"]
    installed = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip("npm can't install: " + installed.stderr[-200:])

    ended = subprocess.run(
        ["node", "send.js", server.address], cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )

    lines = [line for arrival in arrived for line in arrival.lines()]
    expected = {f"{kind}-{coding}-{n}" for kind in ("json", "proto") for coding in ("none", "gzip") for n in (1, 2)}
    assert (0, "") == (ended.returncode, ended.stderr)
    assert expected == {word for line in lines for word in line.split() if word[:5] in ("json-", "proto")}
    assert ["+3"] == [line.partition("clicks  ")[2].strip() for line in lines if " count " in line]
