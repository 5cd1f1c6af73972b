"""Destinations: OTel exporters found by their entry points, and what became of what they were given.

Ring 1 (background).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from importlib.metadata import EntryPoint, entry_points
from time import time
from typing import Any
from urllib.parse import urlsplit

import requests
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from .delivery import Verdict
from .schema import SettingError, check_endpoint

GROUPS = {"traces": "opentelemetry_traces_exporter", "metrics": "opentelemetry_metrics_exporter"}
TIMEOUT_S = 10.0
RETRYABLE = (429, 502, 503, 504)  # OTLP/HTTP specification, "Retryable response codes": no other may be tried again


class Unreachable(Exception):  # noqa: N818  a state, not a fault
    """No answer came. Not one of requests' own classes: at those the exporter tries again, and sleeps in between."""


class Session(requests.Session):
    """What the official OTLP exporter posts with, so that nothing ambient joins in, and we see what happened.

    No .netrc, no redirects: a redirect is answered as a failure. One attempt per delivery: trying again is the sender's
    affair, over days. answer: the last response's status, Retry-After in seconds and body; None if there was none.
    shown: if a list, (method, address, headers, body) of requests are put there, and taken for delivered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.auth = lambda request: request  # without one, requests would look into ~/.netrc
        self.answer: tuple[int, float | None, bytes] | None = None
        self.shown: list[tuple[str, str, Mapping[str, str], bytes]] | None = None

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Send one request. Raises Unreachable."""
        self.answer = None
        kwargs["allow_redirects"] = False
        if self.shown is not None:
            return self._show(str(method), str(url), *args, **kwargs)
        try:
            response = super().request(method, url, *args, **kwargs)
        except requests.RequestException as exc:
            raise Unreachable(type(exc).__name__) from exc
        wait_s = retry_after_s(response.headers.get("Retry-After"))
        self.answer = (response.status_code, wait_s, response.content[:65_536])
        if not 200 <= response.status_code < 300:
            response.status_code = 421  # a failure to the exporter that it does not repeat; it takes a 3xx for success
        return response

    def _show(
        self, method: str, url: str, params: Any = None, data: Any = None, headers: Any = None, **_: Any
    ) -> requests.Response:
        told = self.prepare_request(requests.Request(method, url, headers=headers, data=data, params=params))
        if self.shown is not None:
            body = told.body or b""
            self.shown.append(
                (method, told.url or url, told.headers, body if isinstance(body, bytes) else body.encode())
            )
        response = requests.Response()
        response.status_code, self.answer = 200, (200, None, b"")
        return response


def retry_after_s(header: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, at most a day; None if it asks for nothing sensible."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), 86_400.0) if seconds == seconds else None


def _found(signal: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUPS[signal])}


def known_names() -> set[str]:
    """Return the names that ``destinations`` may hold."""
    return {"otlp", *_found("traces"), *_found("metrics")}


class Destination:
    """One destination: up to two exporters, for spans and for metrics.

    at_most_once: a repetition would count twice there, so what may have arrived is never sent again.
    """

    def __init__(self, name: str, exporters: Mapping[str, Any], sessions: Mapping[str, Session]) -> None:
        self.name = name
        self.exporters = exporters
        self.sessions = sessions
        self.at_most_once = any(getattr(exporter, "at_most_once", False) for exporter in exporters.values())

    def deliver(self, signal: str, items: Sequence[ReadableSpan] | MetricsData, n: int) -> Verdict:
        """Give *items*, *n* spans or data points, to the exporter and return what became of them."""
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
            rejected = _rejected(signal, answer[2]) if answer else 0
            return Verdict(dropped={"rejected": rejected} if rejected else {}, status=status)
        if status is not None and status not in RETRYABLE:
            return Verdict(dropped={"rejected": n}, status=status)
        return Verdict(unsent=tuple(range(n)), retry_after_s=wait_s, status=status)

    def close(self) -> None:
        """Let the exporters go."""
        for exporter in self.exporters.values():
            exporter.shutdown()


def _rejected(signal: str, body: bytes) -> int:
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


def destinations(told: Mapping[str, Any] | None) -> dict[str, dict[str, Any] | None]:
    """Return ``{name: constructor keywords}``; None for keywords means that the exporter reads its own variables.

    told: what the host's ``init`` was given; None leaves it to the standard variables.
    """
    if told is not None:
        return {name: {"endpoint": value} if isinstance(value, str) else dict(value) for name, value in told.items()}
    names: dict[str, dict[str, Any] | None] = {}
    for variable in ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"):
        text = os.environ.get(variable, "")
        if not text and any(
            os.environ.get(f"OTEL_EXPORTER_OTLP{part}_ENDPOINT") for part in ("", "_TRACES", "_METRICS")
        ):
            text = "otlp"
        for name in text.split(","):
            name = name.strip().lower()
            if name and name != "none":
                names[name] = None
    return names


def forget_ambient() -> None:
    """Remove every OTEL_* variable but ours: the user's own OTLP headers must not reach a baked-in destination."""
    for name in list(os.environ):
        if name.startswith("OTEL_") and not name.startswith("OTEL_USAGE_"):
            del os.environ[name]
    os.environ["NETRC"] = os.devnull


def build(
    name: str, keywords: Mapping[str, Any] | None, *, home: str = "", schema: Mapping[str, Any] | None = None
) -> Destination:
    """Return the destination *name*. Raises SettingError if there is no such exporter or it refuses its keywords.

    home: where our own exporters remember a session, "" for in memory; schema: may name events for Segment.
    """
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # a detached process has nobody to tell
    exporters: dict[str, Any] = {}
    sessions: dict[str, Session] = {}
    for signal in GROUPS:
        if name == "otlp":
            exporter, session = _otlp(signal, keywords)
            exporters[signal] = exporter
            if session is not None:
                sessions[signal] = session
            continue
        point = _found(signal).get(name)
        if point is None:
            continue
        if keywords is None and name not in _selected(signal):
            continue
        try:
            exporters[signal] = point.load()(**(keywords or {}), **_ours(point, home, schema or {}))
        except (TypeError, ValueError) as exc:
            raise SettingError(f"destination {name!r} refuses its settings: {exc}") from exc
        if getattr(exporters[signal], "problem", ""):  # ours, as entry points, only log what is wrong with them
            raise SettingError(exporters[signal].problem)
    if not exporters:
        raise SettingError(f"destination {name!r} is not installed; found: {', '.join(sorted(known_names()))}")
    return Destination(name, exporters, sessions)


def _ours(point: EntryPoint, home: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords that only our own exporters take."""
    if not point.value.startswith("otel_usage_exporters."):
        return {}
    names = {name: row["segment"] for name, row in schema.items() if "segment" in row}
    return {"folder": home, **({"names": names} if point.name == "segment" and names else {})}


def _selected(signal: str) -> list[str]:
    text = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "")
    return [name.strip().lower() for name in text.split(",")]


def _otlp(signal: str, keywords: Mapping[str, Any] | None) -> tuple[Any, Session | None]:
    """Return the official exporter: http/protobuf, or gRPC where the standard protocol setting asks for it."""
    upper = signal.upper()
    keywords = dict(keywords) if keywords is not None else None
    protocol = (
        keywords.pop("protocol", "")
        if keywords is not None
        else os.environ.get(f"OTEL_EXPORTER_OTLP_{upper}_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "")
    )
    if protocol not in ("", "grpc", "http/protobuf"):
        raise SettingError(f"OTLP protocol {protocol!r} is not 'http/protobuf' or 'grpc'")
    told = dict(keywords or {})
    timeout_s = float(told.pop("timeout_s", TIMEOUT_S))
    endpoint = str(told.pop("endpoint", ""))
    if keywords is not None and not endpoint:
        raise SettingError("destination 'otlp' has no endpoint; pass an address such as 'https://usage.example.org'")
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import metric_exporter, trace_exporter

        of_grpc: Any = trace_exporter.OTLPSpanExporter if signal == "traces" else metric_exporter.OTLPMetricExporter
        if endpoint:
            check_endpoint("otlp", endpoint)
            told.update(endpoint=endpoint, insecure=urlsplit(endpoint).scheme == "http")
        return of_grpc(timeout=timeout_s, **told), None
    from opentelemetry.exporter.otlp.proto.http import metric_exporter as http_metrics
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_traces

    of_http: Any = http_traces.OTLPSpanExporter if signal == "traces" else http_metrics.OTLPMetricExporter
    if endpoint:
        check_endpoint("otlp", endpoint)
        told["endpoint"] = f"{endpoint.rstrip('/')}/v1/{signal}"
    session = Session()
    return of_http(timeout=timeout_s, session=session, **told), session
