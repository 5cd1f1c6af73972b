"""Exporters to Segment's HTTP Tracking API and servers that speak it, like RudderStack.

Ring 1 (background): settings, and what the answers mean. At least once: messageId is the same in every attempt.
"""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from otel_usage.event import UsageEvent

from ..base import REDACTED, USER_AGENT, Fate, UsageMetricExporter, UsageSpanExporter, Vendor
from ..post import Answer
from ..settings import Reader, key
from ..translation import Request, Translation
from .translate import Style, tail, translate

ENDPOINT = "https://api.segment.io"
ENDPOINT_EU = "https://events.eu1.segmentapis.com"
GZIP_LEVEL = 1  # 5 on such text is a tenth smaller and takes three times as long

# analytics-python 2.4.0 and analytics-node 3.1.0: tried again besides 5xx; and of those not.
RETRIED = frozenset({408, 410, 429, 460})
NOT_RETRIED = frozenset({501, 505})


class Segment(Vendor):
    """What the settings say, and how Segment wants to be talked to."""

    label = "Segment"
    prefix = "SEGMENT"
    remembers = "segment-traits"

    def __init__(self, given: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        read = Reader(self.prefix, given, environ)
        a_key = "the write key of a source"
        self._key = read.read("write_key", key, "", a_key)
        if not self._key:
            raise read.wrong("write_key", a_key, missing=True)
        who = read.read("anonymous_id", key, "", "an id without spaces")
        no_names: Mapping[str, str] = {}
        names = read.read("names", _names, no_names, "declared name=Segment's name, separated by commas")
        endpoint = read.endpoint(ENDPOINT)
        self._address = endpoint if endpoint.endswith("/batch") else endpoint + "/v1/batch"
        self.common = read.common()
        self.style = Style(who, names)

    def identified(self) -> bool:
        return bool(self.style.anonymous_id)

    def translate(
        self,
        events: Sequence[UsageEvent],
        now_ns: int,
        known: Mapping[str, Any],
    ) -> Translation:
        return translate(events, self.style, traits=known, now_ns=now_ns)

    def write(self, request: Request, now_ns: int, *, redact: bool) -> tuple[str, str, dict[str, str], bytes]:
        body = request.body(tail(REDACTED if redact else self._key, now_ns))
        headers = {
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
            "User-Agent": USER_AGENT,
            "Accept-Encoding": "identity",
        }
        if redact:
            return self._address, "", {**headers, "Authorization": f"Basic {REDACTED}"}, body
        headers["Authorization"] = "Basic " + b64encode(self._key.encode() + b":").decode()
        return self._address, "", headers, gzip.compress(body, GZIP_LEVEL, mtime=0)

    def judge(self, answer: Answer, events: int) -> tuple[Fate, str]:
        """What may arrive later is tried again, with the same ids."""
        status = answer.status
        if status is None or 300 <= status < 400 or status in RETRIED or (status >= 500 and status not in NOT_RETRIED):
            return Fate.RETRY, ""
        if status == 413 and events > 1:
            return Fate.SPLIT, ""
        if status >= 300 or status < 200:
            return Fate.DROP, f"http_{status}"
        # Jitsu says 200 and {"ok": false} to what it refuses.
        return (Fate.DROP, "refused") if _refused(answer.body) else (Fate.SENT, "")


class SegmentSpanExporter(UsageSpanExporter):
    """Sends runs, actions, errors and heartbeats to Segment. Settings pair with ``OTEL_EXPORTER_SEGMENT_…``.

    write_key: of the source. anonymous_id: instead of one per installation. endpoint: `ENDPOINT_EU`, or a compatible
    server. names: ``{declared name: Segment's}``. spans: "usage" or "all". timeout_s: of one export, or of one request
    in ``deliver``. folder: for what must be remembered between processes, "" for none.
    """

    vendor_class = Segment

    def __init__(
        self,
        *,
        write_key: str | None = None,
        anonymous_id: str | None = None,
        endpoint: str | None = None,
        names: Mapping[str, str] | None = None,
        spans: str | None = None,
        derived: bool | None = None,
        timeout_s: float | None = None,
        folder: str | None = None,
    ) -> None:
        super().__init__(
            write_key=write_key,
            anonymous_id=anonymous_id,
            endpoint=endpoint,
            names=names,
            spans=spans,
            derived=derived,
            timeout_s=timeout_s,
            folder=folder,
        )


class SegmentMetricExporter(UsageMetricExporter):
    """Sends a host's counts to Segment, one message per delta. Settings: those of `SegmentSpanExporter`.

    derived: also send the run counters, which repeat what the spans say.
    """

    vendor_class = Segment

    def __init__(
        self,
        *,
        write_key: str | None = None,
        anonymous_id: str | None = None,
        endpoint: str | None = None,
        names: Mapping[str, str] | None = None,
        spans: str | None = None,
        derived: bool | None = None,
        timeout_s: float | None = None,
        folder: str | None = None,
    ) -> None:
        super().__init__(
            write_key=write_key,
            anonymous_id=anonymous_id,
            endpoint=endpoint,
            names=names,
            spans=spans,
            derived=derived,
            timeout_s=timeout_s,
            folder=folder,
        )


def _refused(body: bytes) -> bool:
    try:
        said = json.loads(body)
    except ValueError:  # none, or cut off: the status says it was received
        return False
    return isinstance(said, dict) and (said.get("ok") is False or said.get("success") is False)


def _names(value: Any) -> Mapping[str, str]:
    if isinstance(value, str):
        value = dict([pair.split("=") for pair in value.split(",") if pair.strip()])
    pairs = {key.strip(): name.strip() for key, name in value.items()}
    if not all(key and name for key, name in pairs.items()):
        raise ValueError
    return pairs
