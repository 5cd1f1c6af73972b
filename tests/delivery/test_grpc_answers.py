"""What an OTLP server answers over gRPC, and what becomes of the records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_services
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_services

from otel_usage.delivery.ledger import Ledger
from otel_usage.delivery.queue import Queue

from ..spools import Spool
from .test_partial_delivery import revive


class Server:
    """Takes spans, and answers to metrics with *code*; None takes them too. taken: how many requests of each signal."""

    def __init__(self) -> None:
        self.code: grpc.StatusCode | None = None
        self.taken = {"traces": 0, "metrics": 0}
        outer = self

        class Traces(trace_services.TraceServiceServicer):  # type: ignore[misc]  # generated, without types
            def Export(self, request: Any, context: Any) -> Any:  # Any: generated
                outer.taken["traces"] += 1
                return traces.ExportTraceServiceResponse()

        class Metrics(metrics_services.MetricsServiceServicer):  # type: ignore[misc]
            def Export(self, request: Any, context: Any) -> Any:
                if outer.code is not None:
                    context.abort(outer.code, "out of order sample")
                outer.taken["metrics"] += 1
                return metrics.ExportMetricsServiceResponse()

        self._server = grpc.server(ThreadPoolExecutor(2))
        trace_services.add_TraceServiceServicer_to_server(Traces(), self._server)
        metrics_services.add_MetricsServiceServicer_to_server(Metrics(), self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def spool(tmp_path: Path, plain_environ: None, server: Server) -> Spool:
    """A spool whose runs go there."""
    keywords = {"endpoint": f"http://127.0.0.1:{server.port}", "protocol": "grpc", "timeout_s": 2.0}
    return Spool(tmp_path / "state", {"otlp": keywords})


def rows(spool: Spool) -> list[tuple[str, str | None]]:
    """Return (result, reason) of each delivery of metrics."""
    return [
        (row["result"], row.get("reason")) for row in Ledger(str(spool.home)).entries() if row["signal"] == "metrics"
    ]


@pytest.mark.parametrize(
    ("code", "reason"), [("INVALID_ARGUMENT", "http_400"), ("FAILED_PRECONDITION", "http_400"), ("ALREADY_EXISTS", "http_409")]
)  # fmt: skip
def test_what_a_server_refuses_is_dropped(spool: Spool, server: Server, code: str, reason: str) -> None:
    """The protocol forbids to repeat it: dropped and counted, and the next run's counters are sent at once."""
    server.code = grpc.StatusCode[code]
    spool.run(command="c0")
    spool.drain()
    assert {"rejected"} == set(json.loads((spool.folder / "dropped").read_text()))

    server.code = None
    spool.run(command="c1")
    spool.drain()

    assert [("dropped", reason), ("sent", None)] == rows(spool)
    assert {"traces": 2, "metrics": 1} == server.taken
    assert [] == spool.files()


@pytest.mark.parametrize(
    ("code", "reason", "settings"),
    [
        ("UNAUTHENTICATED", "http_401", True),
        ("PERMISSION_DENIED", "http_403", True),
        ("NOT_FOUND", "http_404", True),
        ("UNIMPLEMENTED", "http_404", True),
        ("INTERNAL", "lost", False),
        ("UNKNOWN", "lost", False),
    ],
)
def test_what_may_be_mended_waits(spool: Spool, server: Server, code: str, reason: str, settings: bool) -> None:
    """A wrong token or address, or what gRPC makes of a proxy's answer too: it arrives when that is mended."""
    server.code = grpc.StatusCode[code]
    spool.run(command="c0")
    spool.drain()
    blamed = Queue(str(spool.folder), "otlp").blamed_settings()[1]

    server.code = None
    revive(spool)
    spool.drain()

    assert settings == bool(blamed)
    assert [("retry", reason), ("sent", None)] == rows(spool)
    assert 1 == server.taken["metrics"]
    assert [] == spool.files()


def test_each_of_several_refusals_is_heard(spool: Spool, server: Server) -> None:
    """Within one sender: the exporters' log leaves repetitions out, and each of them is a refusal of its own."""
    server.code = grpc.StatusCode.INVALID_ARGUMENT
    for n in range(3):
        spool.run(command=f"c{n}")
        spool.drain()

    assert [("dropped", "http_400")] * 3 == rows(spool)
    assert [] == spool.files()
