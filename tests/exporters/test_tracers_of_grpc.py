"""Metadata of gRPC are keys as well: with tools at work that wrap its clients, none is in anything that they have."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as services

from ..hosts import ROOT
from .test_tracers import KEY, TRACERS, slow, there


class Receiver(services.TraceServiceServicer):  # type: ignore[misc]  # generated, without types
    """Takes everything. metadata: of each request."""

    def __init__(self) -> None:
        self.metadata: list[dict[str, str]] = []

    def Export(self, request: Any, context: Any) -> Any:  # Any: generated
        self.metadata.append(dict(context.invocation_metadata()))
        return messages.ExportTraceServiceResponse()


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, str]]:
    """A server of OTLP over gRPC, and its address."""
    server, receiver = grpc.server(ThreadPoolExecutor(2)), Receiver()
    services.add_TraceServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield receiver, f"http://127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.mark.parametrize(
    ("python", "tool"),
    [
        pytest.param(sys.executable, "sentry", id="sentry"),
        *[
            pytest.param(TRACERS, tool, id=tool + "-pinned", marks=[slow, there])
            for tool in ("sentry", "opentelemetry", "ddtrace")
        ],
    ],
)
def test_no_tool_has_metadata(python: Path, tool: str, receiver: tuple[Receiver, str], tmp_path: Path) -> None:
    """Whether the receiver answers or nobody listens: the keys arrive there, and the tool has seen the call without them."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "OTEL_USAGE_HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "KEY": KEY,
    }
    command = [str(python), str(Path(__file__).with_name("traced_grpc.py")), tool, receiver[1]]

    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)

    assert 0 == done.returncode, done.stderr
    [metadata] = receiver[0].metadata
    assert (f"Bearer {KEY}", KEY) == (metadata["authorization"], metadata["api-key"])
    assert "TraceService/Export" in done.stdout
    text = done.stdout + done.stderr
    assert KEY not in text, text[max(0, text.index(KEY) - 600) : text.index(KEY) + 50]
