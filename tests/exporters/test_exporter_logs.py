"""What exporters log, and that keys are in no log, message or representation."""

from __future__ import annotations

import json
import logging
import socket

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult
from otel_usage_exporters.ga4 import GA4SpanExporter
from otel_usage_exporters.segment import SegmentSpanExporter

from . import servers
from .servers import GA4, OK, SECRET, messages, run, segment, span


def test_one_warning_if_nothing_is_about_use(serve, capsys):
    """A program that exports other spans only is told once, what they are, and which variable sends them."""
    server = serve(OK)
    exporter = segment(server)
    other = span({"http.request.method": "GET"}, name="GET /")

    exporter.export([other])
    assert "" == capsys.readouterr().err  # it may be the first of many, and the others of use
    exporter.export([other] * 30)
    exporter.export([other] * 30)
    exporter.shutdown()

    [line] = capsys.readouterr().err.splitlines()
    assert "31 spans seen (http), none is exported" in line
    assert "OTEL_EXPORTER_SEGMENT_SPANS=all" in line
    assert [] == server.requests
    assert SpanExportResult.SUCCESS == segment(server, spans="all").export([other])
    assert "Http" == messages(server)[1]["event"]


def test_other_spans_among_usage_are_no_news(serve, caplog):
    """Where usage is recorded too, other spans are left out without a word, and are no loss."""
    exporter = segment(serve(OK))

    result = exporter.export([run(), span({"a": 1}, name="GET /")])

    assert (SpanExportResult.SUCCESS, [], {}) == (result, caplog.records, exporter.dropped)


@pytest.mark.parametrize("fault", ["hang_up", "half_an_answer", "refused", "400", "500", "header"])
def test_keys_are_never_told(fault, rude, serve, caplog, tmp_path):
    """Whatever happens, at whatever level is logged, keys are in no record, repr, verdict or file."""
    caplog.set_level(logging.DEBUG)
    answers = {"400": (400, {}, b""), "500": (500, {}, b""), "header": (200, {"X y": "z"}, b"")}
    if fault in answers:
        url = serve(answers[fault]).url
    elif fault == "refused":
        with socket.create_server(("127.0.0.1", 0)) as free:
            url = f"http://127.0.0.1:{free.getsockname()[1]}"
    else:
        url = rude(getattr(servers, fault)).url
    told = []
    for exporter in (
        GA4SpanExporter(**GA4, endpoint=url, folder=str(tmp_path), timeout_s=1),
        SegmentSpanExporter(write_key=SECRET, endpoint=url, folder=str(tmp_path), timeout_s=1),
    ):
        told += [repr(exporter), str(vars(exporter)), repr(vars(exporter._vendor).get("options"))]
        told += [repr(exporter.deliver([run()])), repr(exporter.requests_for([run()]))]
        exporter.export([run()])
        told.append(str(exporter.dropped))

    told += [record.getMessage() + str(record.exc_info) for record in caplog.records]
    told += [path.read_text() for path in tmp_path.iterdir()]
    assert any("urllib3" in record.name for record in caplog.records)
    assert not [text for text in told if SECRET in text]
    assert SECRET not in caplog.text


def test_the_key_reaches_its_destination(serve):
    """The key that no library in between knows is in the address all the same, quoted."""
    server = serve((204, {}, b""))

    GA4SpanExporter(measurement_id="G-AB12CD", api_secret="a&b=c/%", endpoint=server.url, folder="").deliver([run()])

    assert "/mp/collect?measurement_id=G-AB12CD&api_secret=a%26b%3Dc%2F%25" == server.requests[0][0]


def test_a_firebase_id_keeps_its_colons(serve):
    """GA4 does not find an app stream whose id's colons are quoted."""
    server = serve((204, {}, b""))

    GA4SpanExporter(firebase_app_id="1:23:ios:0a", api_secret="s", endpoint=server.url, folder="").deliver([run()])

    assert "/mp/collect?firebase_app_id=1:23:ios:0a&api_secret=s" == server.requests[0][0]
    assert {"app_instance_id"} <= json.loads(server.requests[0][2]).keys()
