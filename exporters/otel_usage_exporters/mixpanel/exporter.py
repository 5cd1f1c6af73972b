"""Exporters to Mixpanel: settings, and what answers mean. A program sends to ``/track``, a server of yours to ``/import``.

At least once: the name, ``distinct_id``, ``time`` and ``$insert_id`` of an event are the same in every attempt, so that a
repetition is recognised.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from otel_usage_exporters.exporting import Exporter, Lenient, keywords
from otel_usage_exporters.packing import Request, Translation
from otel_usage_exporters.post import Answer
from otel_usage_exporters.settings import SettingReader, parse_key
from otel_usage_exporters.signals import UsageMetricExporter, UsageSpanExporter
from otel_usage_exporters.usage_event import UsageEvent
from otel_usage_exporters.vendor import REDACTED, RequestOutcome, Vendor, json_request, judge_status, valid_places

from .translate import NO_TOKEN, TAIL, MixpanelOptions, translate

ENDPOINT = "https://api.mixpanel.com"
ENDPOINT_EU = "https://api-eu.mixpanel.com"
ENDPOINT_IN = "https://api-in.mixpanel.com"


class Mixpanel(Vendor):
    """What the settings say, and how Mixpanel wants to be talked to."""

    label = "Mixpanel"
    prefix = "MIXPANEL"
    memory_name = "mixpanel"
    throttle_s = 2.0  # docs.mixpanel.com, import-events: begin with 2 s after a 429, read 2026-11-26

    def __init__(self, settings: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        reader = SettingReader(self.prefix, settings, environ)
        what_it_needs = (
            "the token of a project, or for /import api_secret, or service_account, service_secret, project_id"
        )
        self._token = reader.read("token", parse_key, "", what_it_needs)
        secret = reader.read("api_secret", parse_key, "", "the secret of a project")
        account = reader.read("service_account", parse_key, "", "the name of a service account")
        password = reader.read("service_secret", parse_key, "", "the secret of a service account")
        project = reader.read("project_id", _parse_project, "", "the number of a project")
        for keyword, value in (("service_secret", password), ("project_id", project)):
            if account and not value:
                raise reader.wrong(keyword, "it, with a service_account", missing=True)
        if not (self._token or secret or account):
            raise reader.wrong("token", what_it_needs, missing=True)
        self._login = (account, password) if account else (secret, "") if secret else None
        self.options = MixpanelOptions(
            reader.client("distinct_id"), reader.names(self.label), track=self._login is None
        )
        endpoint = reader.endpoint(ENDPOINT)
        imports = f"{endpoint}/import?strict=1" + (f"&project_id={project}" if project else "")
        # ip=0: the sender's address is not looked up on a map. verbose=1: a refusal is told from a success.
        self._address = imports if self._login else f"{endpoint}/track?ip=0&verbose=1"
        self.common = reader.common("distinct_id", self.options.distinct_id)

    def identifies_client(self) -> bool:
        return bool(self.options.distinct_id)

    def translate(self, events: Sequence[UsageEvent], now_ns: int, known: Mapping[str, Any]) -> Translation:  # noqa: ARG002
        return translate(events, self.options, now_ns=now_ns)

    def write(self, request: Request, now_ns: int, *, redact: bool) -> tuple[str, str, dict[str, str], bytes]:  # noqa: ARG002
        body = request.body(TAIL)
        if self._login is None:
            token = json.dumps(REDACTED if redact else self._token).encode()
            return self._address, "", *json_request(body.replace(NO_TOKEN, b'"token":' + token), redact=redact)
        headers, body = json_request(body, redact=redact)
        login = REDACTED if redact else b64encode(":".join(self._login).encode()).decode()
        return self._address, "", {**headers, "Authorization": f"Basic {login}"}, body

    def judge(self, answer: Answer, events: int) -> tuple[RequestOutcome, str]:
        """What may arrive later is tried again, with the same ids. Of a 400 that names what is refused, the rest has arrived."""
        if answer.status == 400 and self._login is not None and self.refused(answer, events):
            return RequestOutcome.PARTLY, "http_400"
        outcome, reason = judge_status(answer, events)
        if outcome is RequestOutcome.SENT and answer.json_object().get("status") in (0, "0"):
            return RequestOutcome.DROP, "refused"
        return outcome, reason

    def refused(self, answer: Answer, events: int) -> frozenset[int]:
        """Return the places that ``failed_records`` names; none if one of them is not a place in the request."""
        failed = answer.json_object().get("failed_records")
        places = [each.get("index") for each in failed if isinstance(each, dict)] if isinstance(failed, list) else []
        return valid_places(places, events)


class MixpanelExporter(Exporter):
    """What both exporters to Mixpanel share: the vendor, and the keywords. Each has a variable, ``OTEL_EXPORTER_MIXPANEL_…``.

    token: of the project, which is public: for ``/track``, in a program.
    api_secret: of the project; or service_account, service_secret, project_id: for ``/import``, on a server of yours.
    distinct_id: who the client is, instead of one per installation.
    endpoint: `ENDPOINT_EU`, `ENDPOINT_IN`, or a proxy of yours.
    names: ``{declared name: Mixpanel's}``.
    spans: "usage" (the default), "all", or names of further spans, in which ``*`` stands for any characters.
    attributes: which of theirs leave: "standard" (the default), "all", or names. Not those that never leave by default.
    allow_personal_data: let attributes leave that never do by default, such as addresses, queries and users' ids.
    user: the attribute of a span, or of the resource, that says whose it is, or several: the first that is there counts.
    user_key: at least 16 characters, with which users' ids are hashed. send_raw_user: send them as they are instead.
    derived: also send the run counters, which repeat what the spans say.
    timeout_s: of one export, or of one request in ``deliver``.
    folder: for what must be remembered between processes, "" for in memory only.
    """

    vendor_class = Mixpanel
    schema_key = "segment"

    @keywords
    def __init__(
        self,
        *,
        token: str | None = None,
        api_secret: str | None = None,
        service_account: str | None = None,
        service_secret: str | None = None,
        project_id: str | None = None,
        distinct_id: str | None = None,
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


class MixpanelSpanExporter(MixpanelExporter, UsageSpanExporter):
    """Sends runs, actions, errors and heartbeats to Mixpanel. Keywords: see `MixpanelExporter`.

    ::

        exporter = MixpanelSpanExporter(token=token, endpoint=ENDPOINT_EU)
        tracer_provider.add_span_processor(BatchSpanProcessor(exporter))
    """


class MixpanelMetricExporter(MixpanelExporter, UsageMetricExporter):
    """Sends a host's counts to Mixpanel, one event per delta. Keywords: see `MixpanelExporter`.

    ::

        exporter = MixpanelMetricExporter(token=token)
        meter_provider = MeterProvider([PeriodicExportingMetricReader(exporter)])
    """


class LenientMixpanelSpanExporter(Lenient, MixpanelSpanExporter):
    """`MixpanelSpanExporter` as entry points name it: a wrong setting is one error in the log."""


class LenientMixpanelMetricExporter(Lenient, MixpanelMetricExporter):
    """`MixpanelMetricExporter` as entry points name it: a wrong setting is one error in the log."""


def _parse_project(value: Any) -> str:
    text = parse_key(value)
    if not text.isdigit():
        raise ValueError
    return text
