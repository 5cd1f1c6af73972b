"""Destinations: OTel exporters found by their entry points, and what became of what they were given.

Ring 1 (background).
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from typing import Any
from urllib.parse import urlsplit

import requests
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from .delivery import Verdict, retry_after_s
from .schema import SettingError, check_endpoint

GROUPS = {"traces": "opentelemetry_traces_exporter", "metrics": "opentelemetry_metrics_exporter"}
TIMEOUT_S = 10.0
CERTIFICATES = ("certificate_file", "client_key_file", "client_certificate_file")
OTLP_GRPC = ("endpoint", "headers", "protocol", "timeout_s")  # what plain values can tell the official exporters
OTLP_HTTP = (*OTLP_GRPC, *CERTIFICATES)
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
        return {name: {"endpoint": value} if isinstance(value, str) else value for name, value in told.items()}
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


def check(name: str, told: object) -> None:
    """Raise SettingError unless *told*, an endpoint or keywords, is what the destination *name* takes.

    Connects to nothing. Shows no value but addresses: keys get into wrong places.
    """
    keywords = {"endpoint": told} if isinstance(told, str) else told
    if not isinstance(keywords, Mapping) or not all(isinstance(key, str) for key in keywords):
        kind = type(told).__name__
        raise SettingError(
            f"destination {name!r} is a {kind}, not an endpoint or a dict {{constructor keyword: value}}"
        )
    points = [] if name == "otlp" else [found for signal in GROUPS if (found := _found(signal).get(name))]
    if not points and name != "otlp":
        raise _unknown(name)
    if isinstance(keywords.get("endpoint"), str):
        check_endpoint(name, keywords["endpoint"])
    if name == "otlp":
        _check_otlp(keywords)
    for point in points:
        made = _loaded(name, point)
        if _is_ours(point):
            try:
                made.vendor_class({key: value for key, value in keywords.items() if value is not None}, {})
            except SettingError as exc:  # it names variables, which a host's own destinations do not read
                text = re.sub(r"OTEL_EXPORTER_\w+ \((\w+)=\)", r"\1", str(exc))
                raise SettingError(f"destination {name!r}: {text}") from exc
        else:
            _check_taken(name, keywords, made)


def _unknown(name: str) -> SettingError:
    return SettingError(f"destination {name!r} is not an installed exporter; found: {', '.join(sorted(known_names()))}")


def _loaded(name: str, point: EntryPoint) -> Any:
    """Return the exporter's class. Any: of whatever distribution."""
    try:
        return point.load()
    except Exception as exc:  # somebody else's module
        raise SettingError(f"destination {name!r} can't be imported: {type(exc).__qualname__}") from exc


def _check_taken(name: str, keywords: Mapping[str, Any], made: Any) -> None:
    """Raise SettingError if an exporter's class does not take *keywords*, or needs another. Any: of whatever kind."""
    try:
        rows = signature(made).parameters.values()
    except (TypeError, ValueError):  # it does not tell
        return
    names = [row.name for row in rows if row.kind in (row.POSITIONAL_OR_KEYWORD, row.KEYWORD_ONLY)]
    more = not any(row.kind == row.VAR_KEYWORD for row in rows) and sorted(keywords.keys() - names)
    if more:
        raise SettingError(f"destination {name!r} takes no {', '.join(map(repr, more))}; it takes {', '.join(names)}")
    missing = [row.name for row in rows if row.name in names and row.default is row.empty and row.name not in keywords]
    if missing:
        raise SettingError(f"destination {name!r} needs {', '.join(map(repr, missing))}")


def _check_otlp(keywords: Mapping[str, Any]) -> None:
    protocol = keywords.get("protocol", "")
    if protocol not in ("", "grpc", "http/protobuf"):
        raise SettingError("protocol of 'otlp' is not 'http/protobuf' or 'grpc'")
    taken = OTLP_GRPC if protocol == "grpc" else OTLP_HTTP
    more = sorted(keywords.keys() - taken)
    if more:
        raise SettingError(f"destination 'otlp' takes no {', '.join(map(repr, more))}; it takes {', '.join(taken)}")
    if not keywords.get("endpoint"):
        raise SettingError("destination 'otlp' has no endpoint; pass an address such as 'https://usage.example.org'")
    timeout_s = keywords.get("timeout_s", TIMEOUT_S)
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, (int, float)) or not timeout_s > 0:
        raise SettingError("timeout_s of 'otlp' is not a number of seconds above 0")
    headers = keywords.get("headers", {})
    if not isinstance(headers, Mapping) or not all(isinstance(text, str) for row in headers.items() for text in row):
        raise SettingError("headers of 'otlp' is not a dict {name: value} of text")
    for key in ("endpoint", *CERTIFICATES):
        if not isinstance(keywords.get(key, ""), str):
            raise SettingError(f"{key} of 'otlp' is not text")


def build(
    name: str, keywords: Mapping[str, Any] | None, *, home: str = "", schema: Mapping[str, Any] | None = None
) -> Destination:
    """Return the destination *name*. Raises SettingError if there is no such exporter or it refuses its keywords.

    home: where our own exporters remember a session, "" for in memory; schema: may name events for Segment.
    """
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # a detached process has nobody to tell
    if keywords is not None:
        check(name, keywords)
    exporters: dict[str, Any] = {}
    sessions: dict[str, Session] = {}
    for signal in GROUPS:
        point = _found(signal).get(name)
        try:
            if name == "otlp":
                exporters[signal], session = _otlp(signal, keywords)
                if session is not None:
                    sessions[signal] = session
            elif point is not None and (keywords is not None or name in _selected(signal)):
                made = _loaded(name, point)
                exporters[signal] = made(**{**_ours(point, home, schema or {}), **(keywords or {})})
        except SettingError:
            raise
        except Exception as exc:  # somebody else's constructor; what it says may hold a key
            raise SettingError(f"destination {name!r} can't be built: {type(exc).__qualname__}") from exc
        if getattr(exporters.get(signal), "problem", ""):  # ours, as entry points, only log what is wrong with them
            raise SettingError(exporters[signal].problem)
    if not exporters:
        raise _unknown(name)
    return Destination(name, exporters, sessions)


def _is_ours(point: EntryPoint) -> bool:
    return point.value.startswith("otel_usage_exporters.")


def _ours(point: EntryPoint, home: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords that only our own exporters take."""
    if not _is_ours(point):
        return {}
    names = {name: row["segment"] for name, row in schema.items() if "segment" in row}
    return {"folder": home, **({"names": names} if point.name == "segment" and names else {})}


def _selected(signal: str) -> list[str]:
    text = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "")
    return [name.strip().lower() for name in text.split(",")]


def _otlp(signal: str, keywords: Mapping[str, Any] | None) -> tuple[Any, Session | None]:
    """Return the official exporter: http/protobuf, or gRPC where the standard protocol setting asks for it."""
    told = dict(keywords or {})
    protocol = told.pop("protocol", "")
    if keywords is None:
        own = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL")
        protocol = own or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "")
        if protocol not in ("", "grpc", "http/protobuf"):
            raise SettingError(f"OTLP protocol {protocol!r} is not 'http/protobuf' or 'grpc'")
    timeout_s = float(told.pop("timeout_s", TIMEOUT_S))
    endpoint = str(told.pop("endpoint", ""))
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import metric_exporter, trace_exporter

        of_grpc: Any = trace_exporter.OTLPSpanExporter if signal == "traces" else metric_exporter.OTLPMetricExporter
        if endpoint:
            told.update(endpoint=endpoint, insecure=urlsplit(endpoint).scheme == "http")
        return of_grpc(timeout=timeout_s, **told), None
    from opentelemetry.exporter.otlp.proto.http import metric_exporter as http_metrics
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_traces

    of_http: Any = http_traces.OTLPSpanExporter if signal == "traces" else http_metrics.OTLPMetricExporter
    if endpoint:
        told["endpoint"] = f"{endpoint.rstrip('/')}/v1/{signal}"
    session = Session()
    return of_http(timeout=timeout_s, session=session, **told), session
