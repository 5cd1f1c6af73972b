"""What a vendor is: its settings, how it wants events to be written, and what its answers mean.

A vendor's folder has one class of this kind. All else that exporters do, they do alike: see exporting.py.
"""

from __future__ import annotations

import gzip
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import Any, ClassVar

from otel_usage import __version__

from .packing import Request, Translation
from .post import Answer
from .settings import CommonSettings
from .usage_event import MALFORMED, UsageEvent

USER_AGENT = f"otel-usage/{__version__}"
# Answers of a wrong address or key, or of something that stands in between: the records are not refused. And redirects.
ABOUT_SETTINGS = frozenset({401, 403, 404, 405, 407})
RETRIED = frozenset({408, 429})  # tried again besides 5xx, by vendors that recognise a repetition
NOT_RETRIED = frozenset({501, 505})  # of 5xx
GZIP_LEVEL = 1  # 5 on such text is a tenth smaller and takes three times as long
REDACTED = "REDACTED"  # stands for a key, wherever a request is shown to people


class RequestOutcome(Enum):
    """What an answer means for a request, and for the requests after it."""

    SENT = "sent"
    DROP = "drop"  # never to be sent again; the next request may fare better
    DROP_AND_STOP = "drop and stop"  # never to be sent again; the next requests wait for another time
    RETRY = "retry"  # to be sent again at another time, as are the next requests
    WAIT = "wait"  # likewise, once somebody has mended the address or the key
    SPLIT = "split"  # too large: to be sent again at once, in halves
    PARTLY = "partly"  # sent, but for the events that `Vendor.refused` names: never to be sent again
    WITHOUT = "without"  # to be sent again at once, without the events that `Vendor.refused` names


class Vendor(ABC):
    """One destination: settings, the way to write events, the way to read answers.

    label: the vendor's name for people. prefix: of its variables, after ``OTEL_EXPORTER_``.
    memory_name: of the file that holds what is remembered per installation, see memory.py; without its suffix.
    records_per_request: so many records fit in one request for sure, 0 if that is of no concern; see `Exporter`.
    throttle_s: how long to wait after a 429 that does not say; 0 leaves it to whoever tries again.
    """

    label: ClassVar[str]
    prefix: ClassVar[str]
    memory_name: ClassVar[str]
    common: CommonSettings
    records_per_request: int = 0
    throttle_s: ClassVar[float] = 0.0

    @abstractmethod
    def __init__(self, settings: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        """Read the settings, of which keywords win over variables. Raises SettingError. Any: as they were written."""

    @abstractmethod
    def identifies_client(self) -> bool:
        """True if the settings say who the client is, whatever installation an event comes from."""

    @abstractmethod
    def translate(self, events: Sequence[UsageEvent], now_ns: int, known: Mapping[str, Any]) -> Translation:
        """Return the requests for *events*. known: what earlier translations have learned. Any: JSON."""

    @abstractmethod
    def write(self, request: Request, now_ns: int, *, redact: bool) -> tuple[str, str, dict[str, str], bytes]:
        """Return (address, the secret end of its query, headers, body).

        All but the address and the `connection.PUBLIC_HEADERS` is hidden from tools that watch a program: no key in those.
        redact: as it is shown to people: `REDACTED` for every key, and the body before compression.
        """

    @abstractmethod
    def judge(self, answer: Answer, events: int) -> tuple[RequestOutcome, str]:
        """Return what *answer* means for a request of *events* units, and the reason if they are dropped."""

    def refused(self, answer: Answer, events: int) -> frozenset[int]:  # noqa: ARG002
        """Return which of a request's units *answer* refuses, by their place, where `judge` says that it is some of them."""
        return frozenset()

    def objections(self, answer: Answer) -> str:  # noqa: ARG002
        """Return what *answer* objects to, in few words that may be written down: nothing of what was sent; "" for nothing."""
        return ""


def is_about_settings(status: int) -> bool:
    """True if an answer of *status* says that the address or the key is wrong, and nothing about what was sent."""
    return 300 <= status < 400 or status in ABOUT_SETTINGS


def judge_status(answer: Answer, events: int, *, retried: frozenset[int] = RETRIED) -> tuple[RequestOutcome, str]:
    """Return what the status of *answer* means at a vendor that recognises a repetition, as `Vendor.judge` does.

    What may arrive later is tried again, with the same ids; what is too large is halved.
    """
    status = answer.status
    if status is not None and is_about_settings(status):
        return RequestOutcome.WAIT, ""
    if status is None or status in retried or (status >= 500 and status not in NOT_RETRIED):
        return RequestOutcome.RETRY, ""
    if status == 413 and events > 1:
        return RequestOutcome.SPLIT, ""
    if status >= 300 or status < 200:
        return RequestOutcome.DROP, f"http_{status}"
    return RequestOutcome.SENT, ""


def judge_once(answer: Answer, events: int = 1) -> tuple[RequestOutcome, str]:
    """Return what *answer* means at a vendor that would count a repetition as another event, as `Vendor.judge` does.

    A request of which nothing left is tried again, or which came to somebody else. All others have had their chance, but for
    what is too large, which nobody has looked into: it is halved.
    """
    if not answer.sent:
        return RequestOutcome.RETRY, ""
    status = answer.status
    if status is None:
        return RequestOutcome.DROP_AND_STOP, "unknown_delivery"
    if 200 <= status < 300:
        return RequestOutcome.SENT, ""
    if is_about_settings(status):
        return RequestOutcome.WAIT, ""
    if status == 413 and events > 1:
        return RequestOutcome.SPLIT, ""
    stops = status in RETRIED or status >= 500
    return RequestOutcome.DROP_AND_STOP if stops else RequestOutcome.DROP, f"http_{status}"


def valid_places(places: Sequence[Any], events: int) -> frozenset[int]:
    """Return *places*, none if one of them is not a place in a request of so many events. Any: JSON of a vendor's."""
    valid = [place for place in places if type(place) is int and 0 <= place < events]
    return frozenset(valid) if len(valid) == len(places) else frozenset()


def plain_request(body: bytes) -> tuple[dict[str, str], bytes]:
    """Return (headers, body) of a request that carries *body* as it is, for servers that unpack nothing."""
    return {"Content-Type": "application/json", "User-Agent": USER_AGENT, "Accept-Encoding": "identity"}, body


def json_request(body: bytes, *, redact: bool) -> tuple[dict[str, str], bytes]:
    """Return (headers, body) of a request that carries *body* in gzip; redact: the body as it is, for people."""
    headers = {
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
        "User-Agent": USER_AGENT,
        "Accept-Encoding": "identity",
    }
    return headers, body if redact else gzip.compress(body, GZIP_LEVEL, mtime=0)


def translate_without_odd(
    vendor: Vendor, events: Sequence[UsageEvent], now_ns: int, known: Mapping[str, Any]
) -> Translation:
    """Return the requests for those of *events* that *vendor* can translate at all; the others are malformed."""
    ordinary, odd = [], {}
    for event in events:
        try:
            vendor.translate([event], now_ns, known)
            ordinary.append(event)
        except Exception:
            odd[event.position] = MALFORMED
    translation = vendor.translate(ordinary, now_ns, known)
    dropped = Counter(translation.dropped) + Counter({MALFORMED: len(odd)})
    return replace(translation, dropped=dropped, gone={**translation.gone, **odd})
