"""What the exporters to Matomo and Piwik PRO share: settings, how a request is written, and what answers mean."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from .packing import Request
from .post import Answer
from .settings import AN_ADDRESS, SettingReader, parse_key
from .vendor import REDACTED, RequestOutcome, Vendor, judge_once, plain_request
from .visits import MAX_REQUESTS


class VisitVendor(Vendor):
    """A vendor of page views and events, that can't tell a repeated request from another.

    script: what is added to the endpoint. a_site: what ``site_id`` is. takes_token: whether there is a setting ``token_auth``.
    """

    script: ClassVar[str]
    a_site: ClassVar[str]
    takes_token: ClassVar[bool] = False
    records_per_request = MAX_REQUESTS

    def __init__(self, settings: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        reader = SettingReader(self.prefix, settings, environ)
        endpoint = reader.endpoint("")
        if not endpoint:
            raise reader.wrong("endpoint", AN_ADDRESS, missing=True)
        self._address = endpoint if endpoint.endswith(".php") else f"{endpoint}/{self.script}"
        self.site = reader.read("site_id", self.parse_site, "", self.a_site)
        if not self.site:
            raise reader.wrong("site_id", self.a_site, missing=True)
        self.token = ""
        if self.takes_token:
            self.token = reader.read("token_auth", parse_key, "", "a token of a user that may write to the website")
        self.visitor = reader.read("visitor_id", _parse_visitor, "", "16 hexadecimal digits")
        self.names = reader.names(self.label)
        self.dimensions = _read_dimensions(reader)
        self.common = reader.common("visitor_id", self.visitor)

    @staticmethod
    @abstractmethod
    def parse_site(value: Any) -> str:
        """Return *value* as the id of a site. Raises ValueError. Any: as it was written."""

    @staticmethod
    @abstractmethod
    def tail(token: str) -> bytes:
        """Return the end of a body."""

    def identifies_client(self) -> bool:
        return bool(self.visitor)

    def write(self, request: Request, now_ns: int, *, redact: bool) -> tuple[str, str, dict[str, str], bytes]:  # noqa: ARG002
        body = request.body(self.tail(REDACTED if redact and self.token else self.token))
        return self._address, "", *plain_request(body)

    def judge(self, answer: Answer, events: int) -> tuple[RequestOutcome, str]:
        """What may have arrived is never sent again. A success may say how many requests were not tracked."""
        outcome, reason = judge_once(answer, events)
        if outcome is RequestOutcome.SENT and self.refused(answer, events):
            return RequestOutcome.PARTLY, "refused"
        return outcome, reason

    def refused(self, answer: Answer, events: int) -> frozenset[int]:
        return places_refused(answer.json_object(), events)


def places_refused(answer: Mapping[str, Any], requests: int) -> frozenset[int]:
    """Return which of a body's *requests* its *answer* says were not tracked, none if it says nothing of the kind. Any: JSON.

    Matomo says it, and names their places to a superuser's token alone. To all others how many: then these are the last ones, so
    that the number is right.
    """
    tracked = answer.get("tracked")
    if type(tracked) is not int or not 0 <= tracked < requests:
        return frozenset()
    lost = requests - tracked
    named = answer.get("invalid_indices")
    places = frozenset(
        [at for at in named if type(at) is int and 0 <= at < requests] if isinstance(named, list) else []
    )
    return places if len(places) == lost else frozenset(range(tracked, requests))


def _parse_visitor(value: Any) -> str:
    """Return *value* as a visitor's id: 16 hexadecimal digits. Raises ValueError. Any: as it was written."""
    text = str(value).strip().lower()
    if len(text) != 16 or not set(text) <= set("0123456789abcdef"):
        raise ValueError
    return text


def _read_dimensions(reader: SettingReader) -> Mapping[str, int]:
    """Return ``{property's name: the number of a custom dimension}``. Raises SettingError.

    Of a mapping, or of text like ``outcome=1,app_version=2``.
    """
    none: Mapping[str, int] = {}
    return reader.read(
        "dimensions", _parse_dimensions, none, "property=number of a custom dimension, with commas between"
    )


def _parse_dimensions(value: Any) -> Mapping[str, int]:
    if isinstance(value, str):
        value = dict([pair.split("=") for pair in value.split(",") if pair.strip()])
    numbers = {str(name).strip(): int(str(number)) for name, number in value.items()}
    if not all(name and 1 <= number <= 999 for name, number in numbers.items()):
        raise ValueError
    if len(set(numbers.values())) < len(numbers):
        raise ValueError
    return numbers
