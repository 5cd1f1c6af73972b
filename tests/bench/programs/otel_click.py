"""Instrumented by contrib's click instrumentation, with the SDK, batch processor and OTLP over HTTP."""

import os

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.click import ClickInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from .click_tool import cli

provider = TracerProvider(resource=Resource.create({"service.name": "mycli", "service.version": "1.4"}))
exporter = OTLPSpanExporter(endpoint=os.environ["BENCH_ENDPOINT"] + "/v1/traces")
provider.add_span_processor(BatchSpanProcessor(exporter))
trace.set_tracer_provider(provider)
ClickInstrumentor().instrument()


def main():
    """Run it."""
    cli()
