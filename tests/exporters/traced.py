"""A program that is watched by the tool of argv[1], and exports usage to GA4, Segment and OTLP at argv[2]. Prints what the tool has.

argv[3] is "deliver", as the relay does, or "export", as a program's own SDK does; to OTLP it sends as the sender does. Or it is
"grpc": then it sends to OTLP over gRPC alone, and the tool watches gRPC's clients.
"""

from __future__ import annotations

import json
import logging
import os
import sys

TOOL, URL, WAY = sys.argv[1:]
seen: list[object] = []


class Everything(logging.Handler):
    def emit(self, record):
        seen.append([record.getMessage(), str(record.exc_info), repr(vars(record))])


logging.getLogger().addHandler(Everything())
logging.getLogger().setLevel(logging.DEBUG)


def start():
    """Start the tool with all that it can capture; return a function after which `seen` has everything."""
    if TOOL == "sentry":
        import sentry_sdk

        integrations = []
        if WAY == "grpc":
            from sentry_sdk.integrations.grpc import GRPCIntegration

            integrations.append(GRPCIntegration())
        sentry_sdk.init(
            integrations=integrations,
            dsn="http://key@127.0.0.1:9/1",
            traces_sample_rate=1.0,
            attach_stacktrace=True,
            send_default_pii=True,
            before_send=lambda event, hint: seen.append(event),
            before_send_transaction=lambda event, hint: seen.append(event),
            before_breadcrumb=lambda crumb, hint: (seen.append(crumb), crumb)[1],
            include_local_variables=True,
        )
        transaction = sentry_sdk.start_transaction(name="t", op="t")
        transaction.__enter__()

        def stop():
            sentry_sdk.capture_message("hello")
            transaction.__exit__(None, None, None)

        return stop
    if TOOL == "opentelemetry":
        from opentelemetry import trace
        from opentelemetry.instrumentation.requests import RequestsInstrumentor
        from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

        class Seen(SpanExporter):
            def export(self, spans):
                seen.extend(span.to_json() for span in spans)
                return SpanExportResult.SUCCESS

        # Its own spans are suppressed while we export; that must not be all that keeps the keys out.
        from otel_usage_exporters import exporting

        exporting.suppress_instrumentation = exporting.nullcontext
        os.environ["OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST"] = ".*"
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(Seen()))
        trace.set_tracer_provider(provider)
        every = {"captured_request_headers": [".*"]}
        RequestsInstrumentor().instrument(tracer_provider=provider, **every)
        URLLib3Instrumentor().instrument(
            tracer_provider=provider,
            request_hook=lambda span, pool, request: seen.append([repr(request), str(vars(pool))]),
            **every,
        )
        if WAY == "grpc":
            from opentelemetry.instrumentation.grpc import GrpcInstrumentorClient

            GrpcInstrumentorClient().instrument(
                tracer_provider=provider,
                request_hook=lambda span, request: seen.append(repr(request)),
                response_hook=lambda span, response: seen.append(repr(response)),
            )
        return lambda: None
    if TOOL == "ddtrace":
        os.environ.update(
            DD_TRACE_HEADER_TAGS="Authorization:auth,User-Agent:agent,api-key:key", DD_TRACE_CLIENT_IP_ENABLED="true", DD_TRACE_AGENT_URL="http://127.0.0.1:9",
            DD_INSTRUMENTATION_TELEMETRY_ENABLED="false", DD_REMOTE_CONFIGURATION_ENABLED="false",
        )  # fmt: skip
        from ddtrace import config, patch
        from ddtrace.trace import TraceFilter, tracer

        class Seen(TraceFilter):
            def process_trace(self, trace):
                for span in trace:
                    seen.append(
                        [
                            span.name,
                            span.resource,
                            repr(span),
                            str(span.get_tags()) if hasattr(span, "get_tags") else str(span._meta),
                        ]
                    )
                return None

        tracer.configure(trace_processors=[Seen()])
        patch(requests=True, urllib3=True, httplib=True, grpc=WAY == "grpc")
        if WAY == "grpc":
            config.grpc.http.trace_headers(["authorization", "api-key"])
        return tracer.flush
    if TOOL == "elastic":
        import elasticapm
        from elasticapm.transport.base import Transport

        elasticapm.instrument()
        client = elasticapm.Client(
            service_name="t",
            disable_send=True,
            central_config=False,
            metrics_interval="0",
            cloud_provider="none",
            capture_body="all",
        )
        client._transport.queue = lambda kind, event, flush=False: seen.append([kind, event])
        client.begin_transaction("t")

        def stop():
            client.end_transaction("t", "ok")
            client.close()

        assert Transport
        return stop
    import newrelic.agent

    os.environ.update(NEW_RELIC_LICENSE_KEY="0" * 40, NEW_RELIC_DEVELOPER_MODE="true", NEW_RELIC_APP_NAME="t")
    newrelic.agent.initialize()
    application = newrelic.agent.register_application(timeout=5.0)
    from newrelic.api.external_trace import ExternalTrace

    leave = ExternalTrace.__exit__

    def watched(self, *args):
        seen.append(
            [str(self.url), str(self.params), str(getattr(self, "user_attributes", "")), str(self.agent_attributes)]
        )
        return leave(self, *args)

    ExternalTrace.__exit__ = watched
    task = newrelic.agent.BackgroundTask(application, name="t")
    task.__enter__()
    return lambda: task.__exit__(None, None, None)


def send_over_grpc():
    """Deliver a run to the receiver, and another to nobody."""
    for address, answered in ((URL, True), ("http://127.0.0.1:1", False)):
        destination = open_destination(address)
        assert answered == (not destination.deliver("traces", [run(1)], 1).unsent)
        destination.close()


def open_destination(address):
    """Return OTLP over gRPC. Its key is in no variable that lasts: tools that show variables would find it."""
    key = os.environ["KEY"]
    headers = {"authorization": f"Bearer {key}", "api-key": key}
    return build_destination("otlp", {"protocol": "grpc", "headers": headers, "endpoint": address, "timeout_s": 2.0})


def send_over_http(key):
    """Have each exporter send a run: to the server, to have it checked, and to nobody."""
    exporters = [
        GA4SpanExporter(measurement_id="G-AB12CD", api_secret=key, endpoint=URL, folder="", timeout_s=5.0),
        GA4SpanExporter(
            measurement_id="G-AB12CD", api_secret=key, endpoint=URL, folder="", validate=True, timeout_s=5.0
        ),
        SegmentSpanExporter(write_key=key, endpoint=URL, folder="", timeout_s=5.0),
        GA4SpanExporter(
            measurement_id="G-AB12CD", api_secret=key, endpoint="http://127.0.0.1:9", folder="", timeout_s=0.2
        ),
    ]
    for exporter in exporters:
        getattr(exporter, WAY)([run(1)])
    for url, answered in ((URL, True), ("http://127.0.0.1:9", False)):
        keywords = {"endpoint": url, "headers": {"authorization": f"Bearer {key}", "x-api-key": key}, "timeout_s": 5.0}
        otlp = build_destination("otlp", keywords)
        assert answered == (not otlp.deliver("traces", [run(1)], 1).unsent)
        otlp.close()


def set_it_wrong():
    """Log an error of a wrong setting, with the frames that it came through. The key is in no variable of this one."""
    try:
        GA4SpanExporter(measurement_id="oops", api_secret=os.environ["KEY"])
    except ValueError:
        logging.getLogger("host").exception("a wrong setting")


stop = start()

from otel_usage_exporters.ga4 import GA4SpanExporter  # noqa: E402
from otel_usage_exporters.segment import SegmentSpanExporter  # noqa: E402

from otel_usage.delivery.destination import build_destination  # noqa: E402
from tests.exporters.servers import run  # noqa: E402

if WAY == "grpc":
    send_over_grpc()
else:
    send_over_http(os.environ["KEY"])
    set_it_wrong()
stop()
print(json.dumps([str(seen), len(seen)]))
