"""``preview`` is what is sent next: every request, in order, byte for byte but for keys and the moment of sending."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from otel_usage.control.app import App
from otel_usage.delivery.queue import Queue
from otel_usage.otlp import json_from_protobuf
from otel_usage.recording import otlp_events, otlp_text
from otel_usage.settings.remembered import recall

from ..spools import SCHEMA, Sink, Spool, plain_environ, run_line, sink

__all__ = ["plain_environ", "sink"]
KEY = "hunter2"
NOW = ("usage.runs", "usage.run.duration", "usage.actions", "usage.errors", "usage.dropped")  # counted at the sending
CONNECTION = ("host", "connection", "content-length", "accept")  # made by the connection itself


@pytest.fixture
def spool(tmp_path: Path, sink: Sink, plain_environ: None) -> Spool:
    """A spool whose runs go to three kinds of destinations, one of which names an event its own way."""
    made = Spool(
        tmp_path / "state",
        {
            "otlp": {"endpoint": sink.address, "headers": {"api-key": KEY}},
            "segment": {"endpoint": sink.address, "write_key": KEY},
            "ga4": {"endpoint": sink.address, "measurement_id": "G-ABCDEFGHIJ", "api_secret": KEY},
        },
    )
    made.settings["schema"] = {**SCHEMA, "report.upload": {**SCHEMA["report.upload"], "segment": "Report Uploaded"}}
    return made


def filled(spool: Spool) -> None:
    """Add all that a sending can find: a run with an action, a count, a killed run, losses, and interrupted segments."""
    trace, root, _ = run_line()
    now = time.time_ns()
    action: list[tuple[str, object]] = [("usage.kind", "action"), ("usage.action", "report.upload")]
    told = otlp_events.attributes([("service.name", "prog"), ("service.version", "1.0")])
    for queue in ("otlp", "segment", "ga4"):
        held = Queue(str(spool.folder), queue)
        held.make_folders()
        held.put("0000000000000001-0001.traces.jsonl", [run_line(command="cut off")[2]])
        held.take_to_flight("0000000000000001-0001.traces.jsonl")
        held.put("0000000000000002-0001.traces.jsonl", [run_line(command="waits")[2]])
    spool.run()
    span = otlp_events.span(trace, os.urandom(8).hex(), root, "report.upload", now, now + 1, action, False)
    spool.put(otlp_text.line("Spans", "spans", told, span))
    body = otlp_events.metrics_body({("events.seen", ("channel", "slack")): 3}, {"limit": 2}, now, now + 1)
    spool.put(otlp_text.line("Metrics", "metrics", told, body), signal="metrics")
    killed = spool.put(run_line(command="killed")[2], where="open")
    os.utime(killed, (time.time() - 60, time.time() - 60))
    spool.put(b"no OTLP\n")
    (spool.folder / "dropped").write_text('{"nameless": 4}')


def normal(path: str, headers: dict[str, str], body: bytes) -> tuple[str, dict[str, str], Any]:
    """Return a request without keys, and without what is made at the moment of sending."""
    path = re.sub("api_secret=[^&]*", "", path)
    headers = {k.lower(): v for k, v in headers.items() if k.lower() not in (*CONNECTION, "authorization", "api-key")}
    if body[:2] == b"\x1f\x8b":
        body = gzip.decompress(body)
    if path == "/v1/traces":
        return path, headers, body
    told = json_from_protobuf("metrics", body) if path == "/v1/metrics" else json.loads(body)
    for group in told.get("resourceMetrics", ()):
        for metric in group["scopeMetrics"][0]["metrics"]:
            for point in (metric.get("sum") or metric["histogram"])["dataPoints"]:
                if metric["name"] in NOW:
                    del point["startTimeUnixNano"], point["timeUnixNano"]
    told.pop("sentAt", None), told.pop("writeKey", None)
    for message in told.get("batch", ()):
        if message.get("event") == "Usage Dropped":
            del message["timestamp"], message["messageId"]
    for event in told.get("events", ()):
        if event["name"] == "usage_dropped":
            del event["timestamp_micros"]
            told.pop("timestamp_micros", None)  # of the newest event
    return path, headers, told


def shown(requests: list[dict[str, Any]]) -> list[Any]:
    """Return what a preview shows, to be compared."""
    found = []
    for request in requests:
        assert "POST" == request["method"]
        parts = urlsplit(request["url"])
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        found.append(normal(path, request["headers"], base64.b64decode(request["base64"])))
    return found


def received(sink: Sink, since: int) -> list[Any]:
    """Return what arrived, to be compared."""
    return [normal(*told) for told in sink.told[since:]]


def everything(spool: Spool) -> dict[str, tuple[int, bytes]]:
    """Return every file of the user's, with its time and content."""
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in spool.home.rglob("*") if p.is_file()}


@pytest.mark.parametrize("kind", ["the host's settings", "remembered settings", "a folder of the host's"])
def test_preview_is_what_is_sent_next(spool: Spool, sink: Sink, kind: str):
    """With memory of sessions and traits, counts, losses, a killed run, and segments that wait or were cut off."""
    remembered = kind == "remembered settings"
    if kind == "a folder of the host's":
        for name in ("segment", "ga4"):
            spool.settings["destinations"][name]["folder"] = str(spool.home / "memory")
    spool.run(start_ns=time.time_ns() - 600 * 10**9)  # of the same session, which goes on
    spool.drain()
    filled(spool)
    settings = recall(str(spool.home)) if remembered else spool.settings
    before, since = everything(spool), len(sink.told)

    told = App("prog", settings).preview().json()
    assert before == everything(spool)
    assert since == len(sink.told)
    spool.drain()

    arrived = received(sink, since)
    assert arrived == shown(told["requests"])
    text = json.dumps([each for path, _, each in arrived if path != "/v1/traces"])
    assert {"/v1/traces", "/v1/metrics", "/v1/batch"} < {path for path, _, _ in arrived}
    for word in ("Report Uploaded", "usage_dropped", "unknown_delivery", "nameless", "killed", "cut off"):
        assert word in text, word
    assert '"identify"' not in text
    assert KEY not in json.dumps(told)
    assert KEY.encode() not in b"".join(base64.b64decode(request["base64"]) for request in told["requests"])


@pytest.mark.parametrize("compression", ["", "gzip"])
def test_preview_of_the_standard_variables(spool: Spool, sink: Sink, monkeypatch, compression):
    """Where they decide, as in a program without destinations of its own, no header that may be a key is shown."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.address)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"x-token={KEY}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression or "none")
    spool.settings["destinations"] = None
    spool.run()
    spool.drain()
    since = len(sink.told)
    spool.run()

    found = App("prog", spool.settings).preview()
    spool.drain()

    assert ["/v1/metrics", "/v1/traces"] == [path for path, _, _ in sink.told[since:]]
    assert [
        json_from_protobuf("traces", spans) for path, _, spans in received(sink, since) if path == "/v1/traces"
    ] == [request.content() for request in found.requests if request.signal == "traces"]
    assert KEY not in json.dumps(found.json())
    assert "x-token: REDACTED" in found.requests[0].text()[1]


def test_preview_of_exporters_that_are_not_ours(spool: Spool):
    """OTLP over gRPC, and an exporter that sends in a form of its own: what it is given, and nothing goes there."""
    spool.settings["destinations"] = {"otlp": {"endpoint": "http://127.0.0.1:1", "protocol": "grpc"}, "console": {}}
    own = spool.run()

    requests = App("prog", spool.settings).preview().requests

    assert [("otlp", "gRPC"), ("otlp", "gRPC"), ("console", ""), ("console", "")] == [
        (request.destination, request.method) for request in requests
    ]
    for request in requests:
        if request.signal == "traces":
            (span,) = request.content()["resourceSpans"][0]["scopeSpans"][0]["spans"]
            assert own == span["spanId"]


def test_a_destination_that_cannot_be_built_is_named(spool: Spool):
    """Its problem is told once, and the others are shown."""
    spool.settings["destinations"]["ga4"]["measurement_id"] = "nonsense"
    spool.run()

    found = App("prog", spool.settings).preview()

    assert ["ga4"] == list(found.problems)
    assert {"otlp", "segment"} == {request.destination for request in found.requests}


def test_a_destination_that_pauses_is_shown(spool: Spool, sink: Sink):
    """What failed and waits for its time is what would be sent then."""
    sink.answer = lambda _n: (503, {}, b"")
    spool.run()
    spool.drain()

    found = App("prog", spool.settings).preview()

    assert {"otlp", "segment"} <= {request.destination for request in found.requests}


@pytest.mark.parametrize("width", [100, 140])
def test_what_people_read_fits_and_says_the_same(spool: Spool, width: int):
    """No line of a body is wider than asked for, and it is the body's JSON."""
    filled(spool)

    for request in App("prog", spool.settings).preview().requests:
        _, _, body = request.text(width)

        assert request.content() == json.loads(body)
        assert [] == [line for line in body.splitlines() if len(line) > width]
        assert len(body.splitlines()) < 260
