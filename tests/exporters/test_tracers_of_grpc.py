"""Metadata of gRPC are keys as well: with tools at work that wrap its clients, none is in anything that they have."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import _channel  # the class of every call is public by what it is returned from
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as services

from otel_usage.delivery.destination import build_destination

from ..hosts import ROOT
from .servers import run
from .test_tracers import KEY, TRACERS, slow, there
from .watcher import Watcher


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


class GrpcWatcher(Watcher):
    """Sees all but a call's own metadata, in which the keys are. calls: also which functions had them there."""

    def watch(self, name: str, function: Any) -> Any:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            metadata = kwargs.pop("metadata", None)
            if KEY in repr(metadata):
                self.calls.add(f"{name}, with the key")
            self.see((args, kwargs))
            try:
                result = function(*args, **kwargs, **({} if metadata is None else {"metadata": metadata}))
            except BaseException as error:
                # Not its frames: those of gRPC hold the metadata. The exporter lets no error out, nor into a log.
                self.see((str(error), repr(error), vars(error)), 3)
                raise
            self.see(result)
            return result

        return wrapper


@pytest.mark.parametrize("answers", [True, False], ids=["served", "refused"])
def test_a_call_of_grpc_has_the_keys_and_nothing_else_has(
    answers: bool, receiver: tuple[Receiver, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every public function of gRPC's client: the keys are in the metadata of the call. Not in a channel, an address, a request,
    a result, an error or a log: so a tool has them that copies metadata, and none that is tried here does.
    """
    watcher = GrpcWatcher(blind=(OTLPSpanExporter,))
    watcher.install(monkeypatch)
    for cls in (_channel.Channel, _channel._UnaryUnaryMultiCallable):
        for name, function in list(vars(cls).items()):
            if inspect.isfunction(function) and (not name.startswith("_") or name in ("__init__", "__call__")):
                monkeypatch.setattr(cls, name, watcher.watch(f"{cls.__name__}.{name}", function))
    headers = {"authorization": f"Bearer {KEY}", "api-key": KEY}
    address = receiver[1] if answers else "http://127.0.0.1:1"
    keywords = {"protocol": "grpc", "headers": headers, "endpoint": address, "timeout_s": 2.0}

    destination = build_destination("otlp", keywords)
    verdict = destination.deliver("traces", [run(1)], 1)
    destination.close()

    assert answers == (not verdict.unsent)
    with_the_key = {name for name in watcher.calls if name.endswith("with the key")}
    assert {"_UnaryUnaryMultiCallable.__call__, with the key"} == with_the_key
    assert [] == watcher.holding(KEY)


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
    command = [str(python), str(Path(__file__).with_name("traced.py")), tool, receiver[1], "grpc"]

    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)

    assert 0 == done.returncode, done.stderr
    [metadata] = receiver[0].metadata
    assert (f"Bearer {KEY}", KEY) == (metadata["authorization"], metadata["api-key"])
    assert "TraceService/Export" in done.stdout
    text = done.stdout + done.stderr
    assert KEY not in text, text[max(0, text.index(KEY) - 600) : text.index(KEY) + 50]
