"""Settings of the exporters, from keywords and from variables, and what a wrong one does."""

from __future__ import annotations

import gzip
import json
import logging

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult
from otel_usage_exporters import plugins, post
from otel_usage_exporters.ga4 import GA4MetricExporter, GA4SpanExporter
from otel_usage_exporters.segment import SegmentMetricExporter, SegmentSpanExporter

from otel_usage import SettingError

from .servers import GA4, OK, SECRET, action, counter, messages, metrics, point, run, segment


@pytest.mark.parametrize(
    ("cls", "given", "variable"),
    [
        (GA4SpanExporter, {"measurement_id": "UA-1", "api_secret": SECRET}, "OTEL_EXPORTER_GA4_MEASUREMENT_ID"),
        (GA4SpanExporter, {"measurement_id": SECRET, "api_secret": "G-AB12CD"}, "OTEL_EXPORTER_GA4_MEASUREMENT_ID"),
        (GA4SpanExporter, {"measurement_id": "G-AB12CD"}, "OTEL_EXPORTER_GA4_API_SECRET"),
        (GA4SpanExporter, {**GA4, "firebase_app_id": "1:2:ios:a"}, "OTEL_EXPORTER_GA4_FIREBASE_APP_ID"),
        (GA4SpanExporter, {**GA4, "screens": "screen_view"}, "OTEL_EXPORTER_GA4_SCREENS"),
        (GA4SpanExporter, {**GA4, "endpoint": "http://example.org"}, "OTEL_EXPORTER_GA4_ENDPOINT"),
        (GA4SpanExporter, {**GA4, "timeout_s": 0}, "OTEL_EXPORTER_GA4_TIMEOUT_S"),
        (GA4SpanExporter, {**GA4, "validate": "maybe"}, "OTEL_EXPORTER_GA4_VALIDATE"),
        (GA4MetricExporter, {"api_secret": SECRET}, "OTEL_EXPORTER_GA4_MEASUREMENT_ID"),
        (SegmentSpanExporter, {"write_key": ""}, "OTEL_EXPORTER_SEGMENT_WRITE_KEY"),
        (SegmentSpanExporter, {"write_key": SECRET + " x"}, "OTEL_EXPORTER_SEGMENT_WRITE_KEY"),
        (SegmentSpanExporter, {"write_key": SECRET, "spans": 3}, "OTEL_EXPORTER_SEGMENT_SPANS"),
        (SegmentMetricExporter, {"write_key": SECRET, "names": "a"}, "OTEL_EXPORTER_SEGMENT_NAMES"),
    ],
)
def test_wrong_settings_in_code_raise(cls, given, variable):
    """In code a wrong or missing setting is a SettingError that names the variable, and shows no value."""
    with pytest.raises(SettingError, match=f"{variable} .*expected ") as raised:
        cls(**given)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("cls", [GA4SpanExporter, GA4MetricExporter, SegmentSpanExporter, SegmentMetricExporter])
def test_without_any_setting_an_exporter_is_inert(cls, caplog):
    """Named in OTEL_TRACES_EXPORTER and not configured: one error, no exception, and what comes is dropped, counted."""
    exporters = [cls(), cls()]
    given = metrics(counter("usage.count.a", [point(1)])) if "Metric" in cls.__name__ else [run()]

    verdict = exporters[0].deliver(given)

    [record] = caplog.records
    assert logging.ERROR == record.levelno
    assert "is not set: expected" in record.getMessage()
    assert {"misconfigured": 1} == verdict.dropped == exporters[0].dropped
    assert [] == exporters[0].requests_for(given)
    assert exporters[0].export(given).name == "FAILURE"


@pytest.mark.parametrize(
    ("cls", "given", "text"),
    [
        (plugins.GA4SpanExporter, {"measurement_id": "G-AB12CD"}, "OTEL_EXPORTER_GA4_API_SECRET"),
        (plugins.GA4MetricExporter, {**GA4, "timeout_s": "soon"}, "OTEL_EXPORTER_GA4_TIMEOUT_S"),
        (plugins.SegmentSpanExporter, {"writekey": SECRET, "write_key": SECRET}, "unknown setting writekey"),
        (plugins.SegmentMetricExporter, {"write_key": ["x"]}, "OTEL_EXPORTER_SEGMENT_WRITE_KEY"),
    ],
)
def test_what_entry_points_name_never_raises(cls, given, text, caplog):
    """From outside a program a wrong setting is one error in the log: an exception would end its other exporters."""
    exporter = cls(**given)

    assert text in caplog.text
    assert SECRET not in caplog.text
    assert text in exporter.problem


def test_variables_and_keywords_pair_up(monkeypatch, serve):
    """Every keyword has a variable, published for opentelemetry-instrument; a keyword wins."""
    import inspect
    from importlib.metadata import entry_points

    for prefix, classes in (
        ("GA4", (GA4SpanExporter, GA4MetricExporter)),
        ("SEGMENT", (SegmentSpanExporter, SegmentMetricExporter)),
    ):
        [point] = entry_points(group="opentelemetry_environment_variables", name=prefix.lower())
        published = {name for name in dir(point.load()) if name.startswith("OTEL_")}
        for cls in classes:
            keywords = set(inspect.signature(cls).parameters)
            assert published == {f"OTEL_EXPORTER_{prefix}_{keyword.upper()}" for keyword in keywords}
    server = serve(OK)
    monkeypatch.setenv("OTEL_EXPORTER_SEGMENT_WRITE_KEY", "from-env")
    monkeypatch.setenv("OTEL_EXPORTER_SEGMENT_ENDPOINT", server.url)
    monkeypatch.setenv("OTEL_EXPORTER_SEGMENT_NAMES", "report.upload=Report Uploaded, x = Y")
    monkeypatch.setenv("OTEL_EXPORTER_SEGMENT_FOLDER", "")

    SegmentSpanExporter().deliver([action()])
    SegmentSpanExporter(write_key="given").deliver([action()])

    keys = [json.loads(gzip.decompress(body))["writeKey"] for _, _, body in server.requests]
    assert ["from-env", "given"] == keys
    assert "Report Uploaded" == messages(server)[1]["event"]


def test_the_address_of_a_compatible_server(serve):
    """A server's root, and a batch address of its own, are both understood."""
    server = serve(OK)

    for endpoint in (server.url, server.url + "/", server.url + "/data", server.url + "/v1/batch"):
        SegmentSpanExporter(write_key="k", endpoint=endpoint, folder="").deliver([run()])

    assert ["/v1/batch", "/v1/batch", "/data/v1/batch", "/v1/batch"] == [path for path, _, _ in server.requests]


def test_nothing_is_sent_for_nothing(serve):
    """No event, no request, no connection."""
    server = serve(OK)

    assert SpanExportResult.SUCCESS == segment(server).export([])
    assert 0 == server.connections


def test_posting_names_no_error_by_its_text():
    """Errors of the libraries in between hold the address: only the kind of fault is kept."""
    answer = post.Post()("http://127.0.0.1:9/x?api_secret=shh", {}, b"{}", timeout_s=1.0)

    assert (False, "refused") == (answer.sent, answer.fault)
    assert "shh" not in repr(answer)
