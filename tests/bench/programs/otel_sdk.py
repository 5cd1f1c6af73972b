"""Instrumented as the OpenTelemetry documentation does it: SDK, batch processor, OTLP over HTTP, one span."""

import os

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from .click_tool import cli

provider = TracerProvider(resource=Resource.create({"service.name": "mycli", "service.version": "1.4"}))
exporter = OTLPSpanExporter(endpoint=os.environ["BENCH_ENDPOINT"] + "/v1/traces")
provider.add_span_processor(BatchSpanProcessor(exporter))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("mycli")


def main():
    """Run it."""
    with tracer.start_as_current_span("mycli report upload"):
        cli()
