"""One destination as the sender uses it: build its exporters, hand them spans or metrics, read what became of these.

Three kinds of exporters are told apart:
1. those with a method ``deliver``, such as this project's: it returns a `Verdict`;
2. the official OTLP exporter over HTTP: its answer is read off the session that it posts with (otlp_session.py);
3. all others, OTLP over gRPC among them: all that is known is whether ``export`` succeeded.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from ..setting_error import SettingError
from .environment import list_selected
from .installed import GROUPS, TIMEOUT_S, explain_unknown, find_exporters, load_exporter
from .otlp_session import OtlpSession
from .strict import check_destination
from .verdict import Verdict

RETRYABLE = (429, 502, 503, 504)  # OTLP/HTTP specification, "Retryable response codes": no other may be tried again


class Destination:
    """One destination: up to two exporters, for spans and for metrics.

    exporters: by signal, ``traces`` and ``metrics``; sessions: those that the official OTLP exporters post with, likewise.
    at_most_once: a repetition would count twice there, so what may have arrived is never sent again.
    """

    def __init__(self, name: str, exporters: Mapping[str, Any], sessions: Mapping[str, OtlpSession]) -> None:
        self.name = name
        self.exporters = exporters
        self.sessions = sessions
        self.at_most_once = any(getattr(exporter, "at_most_once", False) for exporter in exporters.values())

    def deliver(self, signal: str, items: Sequence[ReadableSpan] | MetricsData, n: int) -> Verdict:
        """Pass *items*, *n* spans or data points, to the exporter of *signal* and return what became of them."""
        exporter = self.exporters[signal]
        if hasattr(exporter, "deliver"):
            verdict: Verdict = exporter.deliver(items)
            return verdict
        session = self.sessions.get(signal)
        if session is not None:
            session.answer = None
        result = exporter.export(items)
        answer = session.answer if session is not None else None
        status, wait_s = (answer[0], answer[1]) if answer else (None, None)
        if result in (SpanExportResult.SUCCESS, MetricExportResult.SUCCESS):
            rejected = _count_rejected(signal, answer[2]) if answer else 0
            return Verdict(dropped={"rejected": rejected} if rejected else {}, status=status)
        if status is not None and status not in RETRYABLE:
            return Verdict(dropped={"rejected": n}, status=status)
        return Verdict(unsent=tuple(range(n)), retry_after_s=wait_s, status=status)

    def close(self) -> None:
        """Shut the exporters down."""
        for exporter in self.exporters.values():
            exporter.shutdown()


def _count_rejected(signal: str, body: bytes) -> int:
    """Return how many items an OTLP success response says were rejected: never to be sent again."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        if signal == "traces":
            return int(ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans)
        return int(ExportMetricsServiceResponse.FromString(body).partial_success.rejected_data_points)
    except DecodeError:
        return 0


def build_destination(
    name: str, keywords: Mapping[str, Any] | None, *, home: str = "", schema: Mapping[str, Any] | None = None
) -> Destination:
    """Return the destination *name*. Raises SettingError if there is no such exporter or it refuses its keywords.

    keywords: as `environment.choose_destinations` returns them. home: the folder in which an exporter that ``takes_folder``
    remembers things, "" for in memory. schema: may name events for an exporter that has a ``schema_key``.
    """
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # nobody reads the log of a detached process
    if keywords is not None:
        check_destination(name, keywords)
    exporters: dict[str, Any] = {}
    sessions: dict[str, OtlpSession] = {}
    for signal in GROUPS:
        point = find_exporters(signal).get(name)
        try:
            if name == "otlp":
                exporters[signal], session = _build_otlp(signal, keywords)
                if session is not None:
                    sessions[signal] = session
            elif point is not None and (keywords is not None or name in list_selected(signal)):
                exporter_class = load_exporter(name, point)
                exporters[signal] = exporter_class(
                    **{**_sender_keywords(exporter_class, home, schema or {}), **(keywords or {})}
                )
        except SettingError:
            raise
        except Exception as exc:  # somebody else's constructor; what it says may hold a key
            raise SettingError(f"destination {name!r} can't be built: {type(exc).__qualname__}") from exc
        if getattr(exporters.get(signal), "problem", ""):  # the classes that entry points name only log what is wrong
            raise SettingError(exporters[signal].problem)
    if not exporters:
        raise explain_unknown(name)
    return Destination(name, exporters, sessions)


def _sender_keywords(exporter_class: Any, home: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords that an exporter takes from the sender, as its class says. Any: of whatever distribution."""
    keywords: dict[str, Any] = {"folder": home} if getattr(exporter_class, "takes_folder", False) else {}
    key = getattr(exporter_class, "schema_key", "")
    names = {name: row[key] for name, row in schema.items() if key in row} if key else {}
    return {**keywords, "names": names} if names else keywords


def _build_otlp(signal: str, keywords: Mapping[str, Any] | None) -> tuple[Any, OtlpSession | None]:
    """Return the official exporter: http/protobuf, or gRPC where the standard protocol setting asks for it."""
    arguments = dict(keywords or {})
    protocol = arguments.pop("protocol", "")
    if keywords is None:
        own = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL")
        protocol = own or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "")
        if protocol not in ("", "grpc", "http/protobuf"):
            raise SettingError(f"OTLP protocol {protocol!r} is not 'http/protobuf' or 'grpc'")
    timeout_s = float(arguments.pop("timeout_s", TIMEOUT_S))
    endpoint = str(arguments.pop("endpoint", ""))
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import metric_exporter, trace_exporter

        grpc_class: Any = trace_exporter.OTLPSpanExporter if signal == "traces" else metric_exporter.OTLPMetricExporter
        if endpoint:
            arguments.update(endpoint=endpoint, insecure=urlsplit(endpoint).scheme == "http")
        return grpc_class(timeout=timeout_s, **arguments), None
    from opentelemetry.exporter.otlp.proto.http import metric_exporter as http_metrics
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_traces

    http_class: Any = http_traces.OTLPSpanExporter if signal == "traces" else http_metrics.OTLPMetricExporter
    if endpoint:
        arguments["endpoint"] = f"{endpoint.rstrip('/')}/v1/{signal}"
    session = OtlpSession()
    return http_class(timeout=timeout_s, session=session, **arguments), session
