"""Exceptions that nobody expects below the posting: each is an answer, which knows whether something has left."""

from __future__ import annotations

import http.client
import logging
import os
import socket

import pytest
import requests
import urllib3
from opentelemetry.sdk.trace.export import SpanExportResult
from otel_usage_exporters.connection import Progress

from otel_usage.delivery.verdict import MAYBE_SENT, NOT_SENT

from .servers import run
from .test_post_faults import ga4, segment

SPANS = [run(1), run(2)]
# What was seen in the field: gevent patched too late, no thread for its resolver, no memory, an argument that a wrapper adds.
ERRORS = {
    "recursion": RecursionError("maximum recursion depth exceeded"),
    "thread": RuntimeError("can't start new thread"),
    "memory": MemoryError(),
    "type": TypeError("unexpected keyword argument"),
    "attribute": AttributeError("no attribute"),
}
BEFORE = {
    "proxies": (requests.utils, "get_environ_proxies"),
    "prepare": (requests.models.PreparedRequest, "prepare"),
    "adapter": (requests.adapters.HTTPAdapter, "send"),
    "urlopen": (urllib3.connectionpool.HTTPConnectionPool, "urlopen"),
    "connection": (urllib3.connection.HTTPConnection, "__init__"),
    "resolver": (socket, "getaddrinfo"),
    "connect": (urllib3.connection.HTTPConnection, "connect"),
    "putrequest": (http.client.HTTPConnection, "putrequest"),
    "putheader": (http.client.HTTPConnection, "putheader"),
    "endheaders": (http.client.HTTPConnection, "endheaders"),
}
AFTER = {
    "getresponse": (urllib3.connection.HTTPConnection, "getresponse"),
    "response": (requests.adapters.HTTPAdapter, "build_response"),
}


def breaks(monkeypatch, place, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(*place, fail)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("place", BEFORE)
def test_before_a_byte_has_left(place, error, serve, monkeypatch):
    """Nothing was sent: both vendors try again, with a word of those that say so, and nothing is raised."""
    server = serve((200, {}, b"{}"))
    if place == "proxies":  # is not asked for this machine
        server.url = "https://vendor.example.invalid"
    breaks(monkeypatch, BEFORE[place], ERRORS[error])

    for exporter in (ga4(server.url), segment(server.url)):
        verdict = exporter.deliver(SPANS)
        assert ((0, 1), {}, None) == (verdict.unsent, verdict.dropped, verdict.status)
        assert verdict.reason in NOT_SENT
    assert [] == server.requests


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("place", AFTER)
def test_after_it_was_sent(place, error, serve, monkeypatch):
    """It may have arrived: GA4 drops it, Segment repeats it, and the word says that nobody expected that."""
    server = serve((200, {}, b"{}"))
    breaks(monkeypatch, AFTER[place], ERRORS[error])

    verdict = ga4(server.url).deliver(SPANS)
    again = segment(server.url).deliver(SPANS)

    assert ((), {"unknown_delivery": 2}, "fault") == (verdict.unsent, verdict.dropped, verdict.reason)
    assert ((0, 1), {}, "fault") == (again.unsent, again.dropped, again.reason)
    assert "fault" in MAYBE_SENT


def test_what_a_host_raises_from_outside_goes_through(serve, monkeypatch):
    """A host's own deadline, or Ctrl-C, is not ours to catch."""
    breaks(monkeypatch, BEFORE["connect"], KeyboardInterrupt())

    with pytest.raises(KeyboardInterrupt):
        ga4(serve((204, {}, b"")).url).deliver(SPANS)

    assert Progress().hidden is None


@pytest.mark.parametrize(
    ("status", "vendor", "reason", "unsent"),
    [
        (503, segment, "http_503", (0, 1)),
        (401, segment, "http_401", (0, 1)),
        (429, ga4, "http_429", ()),
        (302, ga4, "http_302", (0, 1)),
    ],
)
def test_a_status_is_a_reason(status, vendor, reason, unsent, serve):
    """Where there was an answer, its status is the word, whether the records wait or are dropped."""
    verdict = vendor(serve((status, {}, b"")).url).deliver(SPANS)

    assert (reason, unsent) == (verdict.reason, verdict.unsent)


def test_a_part_that_failed_has_a_reason(serve):
    """One request of three is refused, and the others arrive: the verdict says why not everything did."""
    server = serve((204, {}, b""), (400, {}, b""), (204, {}, b""))

    verdict = ga4(server.url).deliver([run(n) for n in range(1, 61)])

    assert ("http_400", {"http_400": 25}, ()) == (verdict.reason, verdict.dropped, verdict.unsent)
    assert "" == ga4(serve((204, {}, b"")).url).deliver(SPANS).reason


@pytest.mark.parametrize("vendor", [ga4, segment])
def test_a_program_logs_each_kind_of_failure_once(vendor, serve, caplog):
    """In a program of its own ten batches that fail alike are one line, with the word; another kind is another line."""
    caplog.set_level(logging.WARNING)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    closed, refused = vendor(f"http://127.0.0.1:{port}", timeout_s=0.2), vendor(serve((401, {}, b"")).url)

    results = {exporter.export(SPANS) for exporter in (closed, refused) for _ in range(10)}

    ours = [record.getMessage() for record in caplog.records if record.name.startswith("otel_usage_exporters")]
    assert {SpanExportResult.FAILURE} == results
    assert [1, 1] == [sum(word in line for line in ours) for word in ("refused", "http_401")]
    assert 2 == len(ours)


@pytest.mark.parametrize("vendor", [ga4, segment])
def test_a_program_does_not_ask_again_with_a_wrong_key(vendor, serve):
    """In a program of its own nobody mends a key meanwhile: one request, FAILURE, and the answer is why they are dropped."""
    server = serve((401, {}, b""))
    exporter = vendor(server.url)

    result = exporter.export(SPANS)

    assert SpanExportResult.FAILURE == result
    assert 1 == len(server.requests)
    assert {"http_401": 2} == exporter.dropped


def test_a_certificate_bundle_that_is_not_there(serve, monkeypatch, tmp_path):
    """A path of the user's environment that leads nowhere: no connection was made, and the reason is TLS."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", os.fspath(tmp_path / "none.pem"))

    verdict = ga4(serve((204, {}, b"")).url.replace("http:", "https:")).deliver(SPANS)

    assert ((0, 1), "tls") == (verdict.unsent, verdict.reason)
