"""Where records go: destinations of the host, those of the standard variables, any exporter, or none."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ..spools import Sink, Spool, results


def test_ambient_headers_and_netrc_stay_out(spool: Spool, sink: Sink, tmp_path: Path) -> None:
    """A destination the host baked in never sees the user's own OTLP headers or credentials."""
    os.environ["OTEL_EXPORTER_OTLP_HEADERS"] = "authorization=Bearer ambient-secret,x-tenant=ambient-secret"
    os.environ["OTEL_EXPORTER_OTLP_TRACES_HEADERS"] = "x-more=ambient-secret"
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password ambient-secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    spool.run()

    spool.drain()

    assert 2 == len(sink.told)
    for _path, headers, _body in sink.told:
        assert "authorization" not in headers
        assert "ambient-secret" not in repr(headers)


def test_headers_the_host_gave_are_sent(spool: Spool, sink: Sink) -> None:
    """``destinations={"otlp": {"endpoint": …, "headers": {…}}}``; they are in no file of ours."""
    spool.settings["destinations"] = {"otlp": {"endpoint": sink.address, "headers": {"authorization": "Bearer k3y"}}}
    spool.run()

    spool.drain()

    assert {"Bearer k3y"} == {headers["authorization"] for _p, headers, _b in sink.told}
    assert not any(b"k3y" in p.read_bytes() for p in spool.home.rglob("*") if p.is_file())


def test_without_destinations_the_standard_variables_decide(spool: Spool, sink: Sink) -> None:
    """OTEL_EXPORTER_OTLP_ENDPOINT and headers, as in any OTel program."""
    spool.settings["destinations"] = None
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = sink.address
    os.environ["OTEL_EXPORTER_OTLP_HEADERS"] = "x-tenant=mine"
    own = spool.run()

    spool.drain()

    assert [own] == sink.ids()
    assert {"mine"} == {headers["x-tenant"] for _p, headers, _b in sink.told}


def test_without_any_destination_records_wait(spool: Spool) -> None:
    """Nowhere to send to: nothing is lost, and hosts with these settings start no sender for an hour."""
    spool.settings["destinations"] = None
    spool.run()

    spool.drain()

    assert 1 == len(list((spool.folder / "new").iterdir()))
    assert os.stat(spool.folder / "wake").st_mtime > time.time() + 3_500


def test_any_exporter_found_by_entry_point(spool: Spool) -> None:
    """``console`` is the SDK's own: it knows nothing of us, and gets spans and metrics."""
    spool.settings["destinations"] = {"console": {}}
    spool.run()

    out = spool.drain_apart()

    assert '"usage.command": "report upload"' in out
    assert "usage.run.duration" in out
    assert [] == spool.files()


def test_a_destination_that_can_not_be_built_waits(spool: Spool) -> None:
    """A wrong keyword at a user's: nothing breaks, nothing is lost, and the ledger says so."""
    spool.settings["destinations"] = {"console": {"colour": "red"}}
    spool.run()

    spool.drain()

    assert [("", "refused", None)] == results(spool)
    assert 2 == len(spool.files())


def test_plain_http_is_only_for_this_machine(spool: Spool) -> None:
    """An address without TLS is refused before anything is sent."""
    spool.settings["destinations"] = {"otlp": "http://usage.example.org"}
    spool.run()

    spool.drain()

    assert [("", "refused", None)] == results(spool)


def test_grpc_when_asked_for(spool: Spool) -> None:
    """The official gRPC exporter, for ``protocol="grpc"``."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc
    from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

    names: list[str] = []

    class Traces(trace_service_pb2_grpc.TraceServiceServicer):  # type: ignore[misc]
        def Export(self, request: object, context: object) -> object:
            names.extend(s.name for g in request.resource_spans for c in g.scope_spans for s in c.spans)  # type: ignore[attr-defined]
            return trace_service_pb2.ExportTraceServiceResponse()

    class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):  # type: ignore[misc]
        def Export(self, request: object, context: object) -> object:
            names.extend(m.name for g in request.resource_metrics for c in g.scope_metrics for m in c.metrics)  # type: ignore[attr-defined]
            return metrics_service_pb2.ExportMetricsServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(), server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    spool.settings["destinations"] = {"otlp": {"endpoint": f"http://127.0.0.1:{port}", "protocol": "grpc"}}
    spool.run()

    spool.drain()

    server.stop(0).wait()
    assert {"prog report upload", "usage.runs", "usage.run.duration"} == set(names)
