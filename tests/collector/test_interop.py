"""The whole way: official exporters → gateway → fan-out → relay → GA4 and Segment, and an OTLP backend beside them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.trace.export import SpanExportResult

from otel_usage.server.decode import Decoder
from tests.collector.gateway import Gateway
from tests.collector.harness import RUN, Backend, metrics, plain, post, resource, traces
from tests.collector.hostile_data import ACTION, ACTIONS, POINTS, RUNS
from tests.server.serving import Process
from tests.server.vendors import Vendors

Chain = tuple[Gateway, Backend, Vendors]
pytest.importorskip("uvicorn")


@pytest.fixture(scope="module")
def chain(otelcol: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """Run everything."""
    folder: Path = tmp_path_factory.mktemp("chain")
    with (
        Backend() as backend,
        Vendors() as vendors,
        Process(["ga4", "segment"], OTEL_USAGE_RELAY_TOKEN="t0ken", **vendors.environ()) as relay,
        Gateway(
            otelcol,
            folder,
            ("gateway.yaml", "fan-out.yaml"),
            BACKEND_OTLP_ENDPOINT=f"http://127.0.0.1:{backend.port}",
            RELAY_ENDPOINT=f"http://127.0.0.1:{relay.port}",
            RELAY_HEADERS='{authorization: "Bearer t0ken"}',
        ) as gateway,
    ):
        vendors.keep = True
        yield gateway, backend, vendors


def exporters(protocol: str, gateway: Gateway) -> tuple[Any, Any]:
    """Return the official exporters of spans and metrics that send to *gateway*."""
    if protocol == "grpc":
        where = f"127.0.0.1:{gateway.grpc}"
        return GrpcSpans(endpoint=where, insecure=True), GrpcMetrics(endpoint=where, insecure=True)
    base = f"http://127.0.0.1:{gateway.http}/v1"
    return HttpSpans(endpoint=f"{base}/traces"), HttpMetrics(endpoint=f"{base}/metrics")


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_official_exporters_reach_every_destination(chain: Chain, protocol: str) -> None:
    """A run, an action and a count sent by OpenTelemetry's own exporters arrive correct at all three destinations."""
    gateway, backend, vendors = chain
    n = len(protocol)  # ids of their own
    action = {"usage.kind": "action", "usage.action": "report.upload", "usage.field.format": "pdf"}
    request = traces([n])
    request.MergeFrom(traces([n + 100], attributes=action, name="report.upload"))
    decoder = Decoder({}, items=100)
    spans = decoder.decode("traces", request.SerializeToString(), as_json=False).spans
    counted = decoder.decode("metrics", metrics(n).SerializeToString(), as_json=False).metrics
    sends_spans, sends_metrics = exporters(protocol, gateway)
    vendors.bodies.clear()
    backend.spans.clear()
    backend.points.clear()

    assert SpanExportResult.SUCCESS == sends_spans.export(spans)
    assert MetricExportResult.SUCCESS == sends_metrics.export(counted)
    backend.wait(lambda: len(backend.spans) == 2 and backend.points)
    vendors.wait(lambda: len(events(vendors, "ga4")) == 3 and len(events(vendors, "segment")) == 3)
    sends_spans.shutdown()
    sends_metrics.shutdown()

    by_name = {span.name: (about, plain(span.attributes)) for about, span in backend.spans}
    assert {"mycli report upload": (resource(), RUN), "report.upload": (resource(), action)} == by_name
    about, metric, point = backend.points[0]
    assert ("usage.count.events.handled", True, 1) == (
        metric.name,
        metric.sum.is_monotonic,
        metric.sum.aggregation_temporality,
    )
    assert (resource(), n, {"usage.field.channel": "slack"}) == (about, point.as_int, plain(point.attributes))
    ga4 = {event["name"]: event["params"] for event in events(vendors, "ga4")}
    assert {"command_run", "report_upload", "events_handled"} == set(ga4)
    assert ("report upload", "success", 0) == tuple(ga4["command_run"][k] for k in ("command", "outcome", "exit_code"))
    assert ("pdf", n) == (ga4["report_upload"]["format"], ga4["events_handled"]["count"])
    segment = {one["event"]: one for one in events(vendors, "segment")}
    assert {"Command Run", "Report Upload", "Events Handled"} == set(segment)
    assert {resource()["app.installation.id"]} == {one["anonymousId"] for one in segment.values()}


def events(vendors: Vendors, vendor: str) -> list[Any]:
    """Return the events that *vendor* took."""
    bodies = [body for of, body in list(vendors.bodies) if of == vendor]
    if vendor == "ga4":
        return [event for body in bodies for event in body["events"]]
    return [one for body in bodies for one in body["batch"] if one["type"] == "track"]


def test_a_program_of_ours_reaches_every_destination(chain: Chain, tmp_path: Path) -> None:
    """What a host program recorded, and our sender took from there, arrives at all three destinations."""
    gateway, backend, vendors = chain
    program = Path(__file__).parents[1] / "programs" / "argparse_program.py"
    environ = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(tmp_path),
        "OTEL_USAGE_HOME": str(tmp_path / "home"),
        "OTEL_USAGE_SENDER": "inline",
        "PROG_TELEMETRY": "on",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{gateway.http}",
    }
    vendors.bodies.clear()
    backend.spans.clear()
    backend.points.clear()

    done = subprocess.run([sys.executable, program, "report", "up", "-f", "pdf", "secret.txt"], env=environ)
    assert 0 == done.returncode
    backend.wait(lambda: backend.spans and backend.points)
    vendors.wait(lambda: len(events(vendors, "ga4")) > 1 and len(events(vendors, "segment")) > 1)

    [(about, span)] = [row for row in backend.spans if row[1].name != "first_run"]
    assert ("prog report upload", "prog", "1.4") == (span.name, about["service.name"], about["service.version"])
    assert ["--format"] == plain(span.attributes)["usage.options"]
    assert {"usage.runs", "usage.run.duration"} <= {metric.name for _, metric, _ in backend.points}
    [run] = [event for event in events(vendors, "ga4") if event["name"] == "command_run"]
    assert "report upload" == run["params"]["command"]
    assert "first_run" in [event["name"] for event in events(vendors, "ga4")]
    assert about["app.installation.id"] == events(vendors, "segment")[0]["anonymousId"]
    assert "secret" not in repr([backend.spans, backend.points, vendors.bodies])


def test_hostile_records_in_a_request_cost_the_others_nothing(chain: Chain) -> None:
    """Everything hostile that we know, in one request with 50 runs and a count of others: those arrive everywhere."""
    gateway, backend, vendors = chain
    spans, points = traces(range(50_000, 50_050)), metrics(50_000)
    for n, (what, spoil) in enumerate({**RUNS, **ACTIONS}.items()):
        bad = traces([60_000 + n], attributes=RUN if what in RUNS else ACTION)
        spoil(bad.resource_spans[0].scope_spans[0].spans[0])
        if bad.ByteSize() < 100_000:  # one request holds no more than two of the large ones
            spans.MergeFrom(bad)
    for spoil_point in POINTS.values():
        bad_count = metrics(1)
        metric = bad_count.resource_metrics[0].scope_metrics[0].metrics[0]
        spoil_point(metric, metric.sum.data_points[0])
        if bad_count.ByteSize() < 100_000:
            points.MergeFrom(bad_count)
    vendors.bodies.clear()
    backend.spans.clear()
    backend.points.clear()

    assert 200 == post(gateway.http, "/v1/traces", spans.SerializeToString())[0]
    assert 200 == post(gateway.http, "/v1/metrics", points.SerializeToString())[0]
    vendors.wait(lambda: len(events(vendors, "ga4")) == len(events(vendors, "segment")) == 51)
    backend.wait(lambda: len(backend.spans) == 50 and len(backend.points) == 1)

    assert {"command_run", "events_handled"} == {event["name"] for event in events(vendors, "ga4")}
    assert {"Command Run", "Events Handled"} == {event["event"] for event in events(vendors, "segment")}
