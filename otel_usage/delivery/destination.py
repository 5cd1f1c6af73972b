"""One destination as the sender uses it: build its exporters, hand them spans or metrics, read what became of these.

Three kinds of exporters are told apart:
1. those with a method ``deliver``, such as this project's: it returns a `Verdict`;
2. the official OTLP exporter over HTTP: its answer is read off the session that it posts with (otlp_session.py), and what it
   means is in otlp_answer.py;
3. all others, OTLP over gRPC among them: all that is known is whether ``export`` succeeded, and for gRPC what it logs.
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
from ..settings.endpoint import is_loopback, trim_signal_path
from .environment import list_selected
from .grpc_status import GrpcStatus
from .installed import GROUPS, TIMEOUT_S, explain_unknown, find_exporters, load_exporter
from .otlp_answer import judge
from .otlp_session import OtlpSession, UnreachableError
from .strict import check_destination
from .verdict import Verdict

DELIVERY_S = 60.0  # for one segment file, however many requests it takes; a single one of OTLP has `TIMEOUT_S`
RECORDS_PER_REQUEST = (
    25  # in flight to a destination that can't tell a repetition, and does not say what a request holds
)


class Destination:
    """One destination: up to two exporters, for spans and for metrics.

    exporters: by signal, ``traces`` and ``metrics``; sessions: those that the official OTLP exporters post with, likewise.
    at_most_once: a repetition would count twice there, so what may have arrived is never sent again.
    records_per_request: so many records are in flight at most, 0 if that is of no concern. one_client_per_request: and these
    are of one client.
    limit_s: how long one delivery may take. log: what OTLP over gRPC says of a failure, None with other exporters.
    """

    def __init__(
        self,
        name: str,
        exporters: Mapping[str, Any],
        sessions: Mapping[str, OtlpSession],
        *,
        limit_s: float = DELIVERY_S,
        log: GrpcStatus | None = None,
    ) -> None:
        self.name = name
        self.exporters = exporters
        self.sessions = sessions
        self.limit_s = limit_s
        self.log = log
        self.at_most_once = any(getattr(exporter, "at_most_once", False) for exporter in exporters.values())
        most = max((getattr(exporter, "records_per_request", 0) for exporter in exporters.values()), default=0)
        self.one_client_per_request = any(getattr(one, "one_client_per_request", False) for one in exporters.values())
        self.records_per_request = most or (RECORDS_PER_REQUEST if self.at_most_once else 0)

    def deliver(self, signal: str, items: Sequence[ReadableSpan] | MetricsData, n: int) -> Verdict:
        """Pass *items*, *n* spans or data points, to the exporter of *signal* and return what became of them."""
        exporter = self.exporters[signal]
        if hasattr(exporter, "deliver"):
            verdict: Verdict = exporter.deliver(items)
            return verdict
        session = self.sessions.get(signal)
        if session is not None:
            session.answer = None
        if self.log is not None:
            self.log.begin()
        try:
            result: object = exporter.export(items)
        except UnreachableError:  # older exporters let it pass; the answer says why
            result = None
        if session is not None and session.answer is not None:
            answer = session.answer
            if answer.status is None:
                return Verdict(unsent=tuple(range(n)), reason=answer.fault)
            return judge(signal, n, answer.status, answer.content_type, answer.body, answer.retry_after_s)
        if result in (SpanExportResult.SUCCESS, MetricExportResult.SUCCESS):
            return Verdict()
        return self.log.judge(n) if self.log is not None else Verdict(unsent=tuple(range(n)), reason="fault")

    def unknown(self, n: int, reason: str) -> Verdict:
        """Return the verdict about *n* records of which nobody can say what became of them."""
        if self.at_most_once:
            return Verdict(dropped={"unknown_delivery": n}, reason=reason)
        return Verdict(unsent=tuple(range(n)), reason=reason)

    def close(self) -> None:
        """Shut the exporters down."""
        for exporter in self.exporters.values():
            try:
                exporter.shutdown()
            except Exception:  # somebody else's: all is settled by now
                pass


def is_failing(verdict: Verdict) -> bool:
    """True if a destination is to be left alone for a while: it is down, overloaded, or not where it should be."""
    if verdict.unsent or "unknown_delivery" in verdict.dropped:
        return True
    status = verdict.status
    return (
        bool(verdict.dropped) and not verdict.is_well and status is not None and (status in (408, 429) or status >= 500)
    )


def build_destination(
    name: str,
    keywords: Mapping[str, Any] | None,
    *,
    home: str = "",
    schema: Mapping[str, Any] | None = None,
    signal_alone: str = "",
) -> Destination:
    """Return the destination *name*. Raises SettingError if there is no such exporter or it refuses its keywords.

    keywords: as `environment.choose_destinations` returns them. home: the folder in which an exporter that ``takes_folder``
    remembers things, "" for in memory. schema: may name events for an exporter that has a ``schema_key``. signal_alone: build
    OTLP for ``traces`` or for ``metrics``, whatever else says which of them goes there.
    """
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # nobody reads the log of a detached process
    if keywords is not None:
        check_destination(name, keywords)
    exporters: dict[str, Any] = {}
    sessions: dict[str, OtlpSession] = {}
    timeouts_s = [0.0]
    for signal in GROUPS:
        point = find_exporters(signal).get(name)
        try:
            if name == "otlp" and not (signal == signal_alone if signal_alone else _takes_signal(signal, keywords)):
                continue
            if name == "otlp":
                exporters[signal], session, timeout_s = _build_otlp(signal, keywords)
                timeouts_s.append(timeout_s)
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
    log = GrpcStatus.listen() if name == "otlp" and not sessions else None
    return Destination(name, exporters, sessions, limit_s=max(DELIVERY_S, 2 * max(timeouts_s)), log=log)


def _sender_keywords(exporter_class: Any, home: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords that an exporter takes from the sender, as its class says. Any: of whatever distribution."""
    keywords: dict[str, Any] = {"folder": home} if getattr(exporter_class, "takes_folder", False) else {}
    key = getattr(exporter_class, "schema_key", "")
    names = {name: row[key] for name, row in schema.items() if key in row} if key else {}
    return {**keywords, "names": names} if names else keywords


def _build_otlp(signal: str, keywords: Mapping[str, Any] | None) -> tuple[Any, OtlpSession | None, float]:
    """Return the official exporter, its session if it has one, and its time limit.

    It speaks http/protobuf, or gRPC where the standard protocol setting asks for it. What *keywords* do not say, it reads
    from its variables, unless there are keywords: then these variables are not there, see `environment.forget_ambient`.
    """
    arguments = dict(keywords or {})
    arguments.pop("metrics", None)
    protocol = arguments.pop("protocol", "") or _read_variable(signal, "PROTOCOL")
    if protocol not in ("", "grpc", "http/protobuf"):
        raise SettingError(f"OTLP protocol {protocol!r} is not 'http/protobuf' or 'grpc'")
    timeout_s = float(arguments.pop("timeout_s", None) or _read_variable(signal, "TIMEOUT") or TIMEOUT_S)
    compression = arguments.pop("compression", "") or _read_variable(signal, "COMPRESSION")
    endpoint = trim_signal_path(str(arguments.pop("endpoint", "")))
    if protocol == "grpc":
        from grpc import Compression  # type: ignore[import-untyped]  # its types are in a package of others
        from opentelemetry.exporter.otlp.proto.grpc import metric_exporter, trace_exporter

        grpc_class: Any = trace_exporter.OTLPSpanExporter if signal == "traces" else metric_exporter.OTLPMetricExporter
        if endpoint:
            arguments.update(endpoint=endpoint, insecure=urlsplit(endpoint).scheme == "http")
        host = urlsplit(endpoint or _read_variable(signal, "ENDPOINT")).hostname or "localhost"
        if is_loopback(host):
            os.environ["no_grpc_proxy"] = host  # noqa: SIM112  gRPC reads it in lower case alone
        kind = Compression.Gzip if compression == "gzip" else Compression.NoCompression
        return grpc_class(timeout=timeout_s, compression=kind, **arguments), None, timeout_s
    from opentelemetry.exporter.otlp.proto.http import Compression as HttpCompression
    from opentelemetry.exporter.otlp.proto.http import metric_exporter as http_metrics
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_traces

    http_class: Any = http_traces.OTLPSpanExporter if signal == "traces" else http_metrics.OTLPMetricExporter
    if endpoint:
        arguments["endpoint"] = f"{endpoint.rstrip('/')}/v1/{signal}"
    session = OtlpSession(compress=compression in ("", "gzip"))  # every OTLP server over HTTP must take gzip
    own = HttpCompression.Deflate if compression == "deflate" else HttpCompression.NoCompression  # gzip: the session's
    exporter = http_class(timeout=timeout_s, session=session, compression=own, **arguments)
    return exporter, session, timeout_s


def _takes_signal(signal: str, keywords: Mapping[str, Any] | None) -> bool:
    """True if spans, or counters, go to ``otlp``: the keyword ``metrics``, or the variable of the signal, may say no.

    A variable that is not set, or empty, means ``otlp``, as OpenTelemetry's specification has it.
    """
    if keywords is not None:
        return signal == "traces" or keywords.get("metrics") != "none"
    selected = list_selected(signal)
    return selected == [""] or "otlp" in selected


def _read_variable(signal: str, name: str) -> str:
    """Return an OTLP variable: the signal's own, else that of all signals, else ""."""
    own = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}", "").strip()
    return own or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}", "").strip()
