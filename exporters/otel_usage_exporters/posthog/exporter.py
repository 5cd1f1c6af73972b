"""Exporters to PostHog, in the US, in the EU or one's own: settings, and what answers mean.

At least once: ``uuid`` and ``timestamp`` are the same in every attempt, so that a repetition is merged with the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from otel_usage_exporters.exporting import Exporter, Lenient, keywords
from otel_usage_exporters.packing import Request, Translation
from otel_usage_exporters.post import Answer
from otel_usage_exporters.settings import SettingReader, parse_flag, parse_key
from otel_usage_exporters.signals import UsageMetricExporter, UsageSpanExporter
from otel_usage_exporters.usage_event import UsageEvent
from otel_usage_exporters.vendor import REDACTED, RequestOutcome, Vendor, json_request, judge_status

from .translate import PostHogOptions, tail, translate

ENDPOINT = "https://us.i.posthog.com"
ENDPOINT_EU = "https://eu.i.posthog.com"
# How a 400 begins that is about one event, for which capture refuses the whole batch: rust/capture/src/api.rs, read 2026-11-26.
ABOUT_ONE_EVENT = (b"event submitted", b"failed to parse request", b"maximum event size", b"invalid event")


class PostHog(Vendor):
    """What the settings say, and how PostHog wants to be talked to."""

    label = "PostHog"
    prefix = "POSTHOG"
    memory_name = "posthog"

    def __init__(self, settings: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        reader = SettingReader(self.prefix, settings, environ)
        a_key = "the key of a project, phc_…"
        self._key = reader.read("api_key", _parse_project_key, "", a_key)
        if not self._key:
            raise reader.wrong("api_key", a_key, missing=True)
        who = reader.client("distinct_id")
        flag = '"true" or "false"'
        self.options = PostHogOptions(
            distinct_id=who,
            names=reader.names(self.label),
            person_profiles=reader.read("person_profiles", parse_flag, False, flag),
            groups=reader.read("groups", parse_flag, False, flag),
            exceptions=reader.read("exceptions", parse_flag, False, flag),
        )
        endpoint = reader.endpoint(ENDPOINT)
        self._address = endpoint + "/" if endpoint.endswith("/batch") else endpoint + "/batch/"
        self.common = reader.common("distinct_id", who)

    def identifies_client(self) -> bool:
        return bool(self.options.distinct_id)

    def translate(self, events: Sequence[UsageEvent], now_ns: int, known: Mapping[str, Any]) -> Translation:  # noqa: ARG002
        return translate(events, self.options, now_ns=now_ns)

    def write(self, request: Request, now_ns: int, *, redact: bool) -> tuple[str, str, dict[str, str], bytes]:
        body = request.body(tail(REDACTED if redact else self._key, now_ns))
        return self._address, "", *json_request(body, redact=redact)

    def judge(self, answer: Answer, events: int) -> tuple[RequestOutcome, str]:
        """What may arrive later is tried again, with the same ids. Where one event spoils a batch, it is looked for by halves."""
        if answer.status == 400 and events > 1 and answer.body.lstrip().startswith(ABOUT_ONE_EVENT):
            return RequestOutcome.SPLIT, ""
        outcome, reason = judge_status(answer, events)
        # Events beyond what is paid for are answered 200, and thrown away.
        if outcome is RequestOutcome.SENT and _is_over_quota(answer):
            return RequestOutcome.DROP, "quota_limited"
        return outcome, reason


class PostHogExporter(Exporter):
    """What both exporters to PostHog share: the vendor, and the keywords. Each has a variable, ``OTEL_EXPORTER_POSTHOG_…``.

    api_key: of the project, ``phc_…``, which is public.
    distinct_id: who the client is, instead of one per installation.
    endpoint: `ENDPOINT_EU`, or a PostHog of one's own.
    names: ``{declared name: PostHog's}``.
    person_profiles: have PostHog keep a profile of every installation, with what describes it.
    groups: say to which ``installation`` and ``cluster`` an event of a service belongs.
    exceptions: send errors to PostHog's error tracking, as ``$exception``; without a text.
    spans: "usage" (the default), "all", or names of further spans, in which ``*`` stands for any characters.
    attributes: which of theirs leave: "standard" (the default), "all", or names. Not those that never leave by default.
    allow_personal_data: let attributes leave that never do by default, such as addresses, queries and users' ids.
    user: the attribute of a span, or of the resource, that says whose it is, or several: the first that is there counts.
    user_key: at least 16 characters, with which users' ids are hashed. send_raw_user: send them as they are instead.
    derived: also send the run counters, which repeat what the spans say.
    timeout_s: of one export, or of one request in ``deliver``.
    folder: for what must be remembered between processes, "" for in memory only.
    """

    vendor_class = PostHog
    schema_key = "segment"

    @keywords
    def __init__(
        self,
        *,
        api_key: str | None = None,
        distinct_id: str | None = None,
        endpoint: str | None = None,
        names: Mapping[str, str] | None = None,
        person_profiles: bool | None = None,
        groups: bool | None = None,
        exceptions: bool | None = None,
        spans: str | Sequence[str] | None = None,
        attributes: str | Sequence[str] | None = None,
        allow_personal_data: bool | None = None,
        user: str | Sequence[str] | None = None,
        user_key: str | None = None,
        send_raw_user: bool | None = None,
        derived: bool | None = None,
        timeout_s: float | None = None,
        folder: str | None = None,
    ) -> None: ...


class PostHogSpanExporter(PostHogExporter, UsageSpanExporter):
    """Sends runs, actions, errors and heartbeats to PostHog. Keywords: see `PostHogExporter`.

    ::

        exporter = PostHogSpanExporter(api_key="phc_…", endpoint=ENDPOINT_EU)
        tracer_provider.add_span_processor(BatchSpanProcessor(exporter))
    """


class PostHogMetricExporter(PostHogExporter, UsageMetricExporter):
    """Sends a host's counts to PostHog, one event per delta. Keywords: see `PostHogExporter`.

    ::

        exporter = PostHogMetricExporter(api_key="phc_…")
        meter_provider = MeterProvider([PeriodicExportingMetricReader(exporter)])
    """


class LenientPostHogSpanExporter(Lenient, PostHogSpanExporter):
    """`PostHogSpanExporter` as entry points name it: a wrong setting is one error in the log."""


class LenientPostHogMetricExporter(Lenient, PostHogMetricExporter):
    """`PostHogMetricExporter` as entry points name it: a wrong setting is one error in the log."""


def _is_over_quota(answer: Answer) -> bool:
    limited = answer.json_object().get("quota_limited")
    return isinstance(limited, list) and bool({"events", "$exception", "exceptions"} & set(map(str, limited)))


def _parse_project_key(value: Any) -> str:
    key = parse_key(value)
    if key.startswith("phx_"):  # a personal key, which can read and change all that its owner can
        raise ValueError
    return key
