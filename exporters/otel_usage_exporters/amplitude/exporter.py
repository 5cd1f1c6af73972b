"""Exporters to Amplitude, in the US or in the EU: settings, and what answers mean.

At least once: ``insert_id`` and ``device_id`` are the same in every attempt, so that a repetition within seven days is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from otel_usage_exporters.exporting import Exporter, Lenient, keywords
from otel_usage_exporters.packing import Request, Translation
from otel_usage_exporters.post import Answer
from otel_usage_exporters.settings import SettingReader, parse_flag, parse_key
from otel_usage_exporters.signals import UsageMetricExporter, UsageSpanExporter
from otel_usage_exporters.usage_event import UsageEvent
from otel_usage_exporters.vendor import REDACTED, RequestOutcome, Vendor, json_request, judge_status, valid_places

from .translate import AmplitudeOptions, tail, translate

ENDPOINT = "https://api2.amplitude.com"
ENDPOINT_EU = "https://api.eu.amplitude.com"
# Of a 400: each maps fields to the places of the events that are refused for them. amplitude-analytics 1.3.0, http_client.py.
REFUSED_FOR = ("events_with_invalid_fields", "events_with_missing_fields", "events_with_invalid_id_lengths")


class Amplitude(Vendor):
    """What the settings say, and how Amplitude wants to be talked to."""

    label = "Amplitude"
    prefix = "AMPLITUDE"
    memory_name = "amplitude"
    throttle_s = 30.0  # amplitude.com/docs, http-v2: pause sending for 30 seconds after a 429, read 2026-11-26

    def __init__(self, settings: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        reader = SettingReader(self.prefix, settings, environ)
        a_key = "the API key of a project"
        self._key = reader.read("api_key", parse_key, "", a_key)
        if not self._key:
            raise reader.wrong("api_key", a_key, missing=True)
        self.options = AmplitudeOptions(reader.client("device_id"), reader.names(self.label))
        endpoint = reader.endpoint(ENDPOINT)
        batch = reader.read("batch", parse_flag, False, '"true" or "false"')
        self._address = endpoint + ("/batch" if batch else "/2/httpapi")
        self.common = reader.common("device_id", self.options.device_id)

    def identifies_client(self) -> bool:
        return bool(self.options.device_id)

    def translate(self, events: Sequence[UsageEvent], now_ns: int, known: Mapping[str, Any]) -> Translation:  # noqa: ARG002
        return translate(events, self.options, now_ns=now_ns)

    def write(self, request: Request, now_ns: int, *, redact: bool) -> tuple[str, str, dict[str, str], bytes]:  # noqa: ARG002
        body = request.body(tail(REDACTED if redact else self._key))
        return self._address, "", *json_request(body, redact=redact)

    def judge(self, answer: Answer, events: int) -> tuple[RequestOutcome, str]:
        """What may arrive later is tried again, with the same ids. A 400 that names events took none: the others go again."""
        if answer.status == 400:
            if str(answer.json_object().get("error", "")).startswith("Invalid API key"):
                return RequestOutcome.WAIT, ""
            if self.refused(answer, events):
                return RequestOutcome.WITHOUT, "http_400"
        return judge_status(answer, events)

    def refused(self, answer: Answer, events: int) -> frozenset[int]:
        """Return the places that a 400 names; none if one of them is not a place in the request."""
        places = list(_places(answer.json_object()))
        return valid_places(places, events)


class AmplitudeExporter(Exporter):
    """What both exporters to Amplitude share: the vendor, and the keywords. Each has a variable, ``OTEL_EXPORTER_AMPLITUDE_…``.

    api_key: of the project, which is public.
    batch: send to ``/batch``, which takes more of one device a second, and shows it later.
    device_id: who the client is, instead of one per installation.
    endpoint: `ENDPOINT_EU`, or a proxy of yours.
    names: ``{declared name: Amplitude's}``.
    spans: "usage" (the default), "all", or names of further spans, in which ``*`` stands for any characters.
    attributes: which of theirs leave: "standard" (the default), "all", or names. Not those that never leave by default.
    allow_personal_data: let attributes leave that never do by default, such as addresses, queries and users' ids.
    user: the attribute of a span, or of the resource, that says whose it is, or several: the first that is there counts.
    user_key: at least 16 characters, with which users' ids are hashed. send_raw_user: send them as they are, too.
    derived: also send the run counters, which repeat what the spans say.
    timeout_s: of one export, or of one request in ``deliver``.
    folder: for what must be remembered between processes, "" for in memory only.
    """

    vendor_class = Amplitude
    schema_key = "segment"

    @keywords
    def __init__(
        self,
        *,
        api_key: str | None = None,
        batch: bool | None = None,
        device_id: str | None = None,
        endpoint: str | None = None,
        names: Mapping[str, str] | None = None,
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


class AmplitudeSpanExporter(AmplitudeExporter, UsageSpanExporter):
    """Sends runs, actions, errors and heartbeats to Amplitude. Keywords: see `AmplitudeExporter`.

    ::

        exporter = AmplitudeSpanExporter(api_key=key, endpoint=ENDPOINT_EU)
        tracer_provider.add_span_processor(BatchSpanProcessor(exporter))
    """


class AmplitudeMetricExporter(AmplitudeExporter, UsageMetricExporter):
    """Sends a host's counts to Amplitude, one event per delta. Keywords: see `AmplitudeExporter`.

    ::

        exporter = AmplitudeMetricExporter(api_key=key)
        meter_provider = MeterProvider([PeriodicExportingMetricReader(exporter)])
    """


class LenientAmplitudeSpanExporter(Lenient, AmplitudeSpanExporter):
    """`AmplitudeSpanExporter` as entry points name it: a wrong setting is one error in the log."""


class LenientAmplitudeMetricExporter(Lenient, AmplitudeMetricExporter):
    """`AmplitudeMetricExporter` as entry points name it: a wrong setting is one error in the log."""


def _places(answer: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what *answer* says are the places of refused events. Any: JSON."""
    for reason in REFUSED_FOR:
        by_field = answer.get(reason)
        for places in by_field.values() if isinstance(by_field, dict) else ():
            yield from places if isinstance(places, list) else (places,)
    silenced = answer.get("silenced_events")
    yield from silenced if isinstance(silenced, list) else ()
