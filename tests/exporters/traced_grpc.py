"""A program that is watched by the tool of argv[1] and sends to OTLP over gRPC, at argv[2], as the relay does. Prints what the tool has."""

from __future__ import annotations

import json
import logging
import os
import sys

TOOL, ADDRESS = sys.argv[1:]
seen: list[object] = []


class Everything(logging.Handler):
    def emit(self, record):
        seen.append([record.getMessage(), str(record.exc_info), repr(vars(record))])


logging.getLogger().addHandler(Everything())
logging.getLogger().setLevel(logging.DEBUG)


def start():
    """Start the tool, with its way to watch gRPC's clients; return a function after which `seen` has everything."""
    if TOOL == "sentry":
        import sentry_sdk
        from sentry_sdk.integrations.grpc import GRPCIntegration

        sentry_sdk.init(
            dsn="http://key@127.0.0.1:9/1",
            traces_sample_rate=1.0,
            attach_stacktrace=True,
            send_default_pii=True,
            integrations=[GRPCIntegration()],
            before_send=lambda event, hint: seen.append(event),
            before_send_transaction=lambda event, hint: seen.append(event),
            before_breadcrumb=lambda crumb, hint: (seen.append(crumb), crumb)[1],
            include_local_variables=True,
        )
        transaction = sentry_sdk.start_transaction(name="t", op="t")
        transaction.__enter__()
        return lambda: transaction.__exit__(None, None, None)
    if TOOL == "opentelemetry":
        from opentelemetry import trace
        from opentelemetry.instrumentation.grpc import GrpcInstrumentorClient
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

        class Seen(SpanExporter):
            def export(self, spans):
                seen.extend(span.to_json() for span in spans)
                return SpanExportResult.SUCCESS

        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(Seen()))
        trace.set_tracer_provider(provider)
        GrpcInstrumentorClient().instrument(
            tracer_provider=provider,
            request_hook=lambda span, request: seen.append(repr(request)),
            response_hook=lambda span, response: seen.append(repr(response)),
        )
        return lambda: None
    os.environ.update(
        DD_TRACE_HEADER_TAGS="Authorization:auth,api-key:key", DD_TRACE_AGENT_URL="http://127.0.0.1:9",
        DD_INSTRUMENTATION_TELEMETRY_ENABLED="false", DD_REMOTE_CONFIGURATION_ENABLED="false",
    )  # fmt: skip
    from ddtrace import config, patch
    from ddtrace.trace import TraceFilter, tracer

    class Kept(TraceFilter):
        def process_trace(self, trace):
            for span in trace:
                tags = span.get_tags() if hasattr(span, "get_tags") else span._meta
                seen.append([span.name, span.resource, repr(span), str(tags)])
            return None

    tracer.configure(trace_processors=[Kept()])
    patch(grpc=True)
    config.grpc.http.trace_headers(["authorization", "api-key"])
    return tracer.flush


stop = start()

from otel_usage.delivery.destination import build_destination  # noqa: E402
from tests.exporters.servers import run  # noqa: E402


def open_destination(address):
    """Return OTLP over gRPC; nothing here keeps the key, which tools that show variables would find."""
    key = os.environ["KEY"]
    headers = {"authorization": f"Bearer {key}", "api-key": key}
    return build_destination("otlp", {"protocol": "grpc", "headers": headers, "endpoint": address, "timeout_s": 2.0})


for address, answered in ((ADDRESS, True), ("http://127.0.0.1:1", False)):
    destination = open_destination(address)
    assert answered == (not destination.deliver("traces", [run(1)], 1).unsent)
    destination.close()
stop()
print(json.dumps([repr(seen), len(seen)]))
