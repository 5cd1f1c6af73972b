"""The vendors that are played here, by name: each a module that checks requests, and knows its own by their path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from . import amplitude, ga4, matomo, mixpanel, piwik_pro, posthog, segment

# As the vendors' modules answer: status, headers, body, and the rules that the request breaks.
VendorAnswer = tuple[int, dict[str, str], bytes, list[str]]


class Vendor(Protocol):
    """What each of the modules has."""

    def answer(self, path: str, headers: Mapping[str, str], body: bytes, /) -> VendorAnswer:
        """Return what the vendor would answer, 404 if *path*, which has the query, is none of its own."""

    def events_of(self, payload: Any, /) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Yield (time in ISO 8601, name, properties) of each event. Any: JSON; what has another shape raises."""


class _GA4:
    """GA4 has its settings in the query, and looks at no header."""

    events_of = staticmethod(ga4.events_of)

    def answer(self, path: str, headers: Mapping[str, str], body: bytes, /) -> VendorAnswer:  # noqa: ARG002
        address, _, query = path.partition("?")
        if not address.endswith("/mp/collect"):
            return 404, {}, b"", []
        return ga4.answer(address, query, body)


VENDORS: Mapping[str, Vendor] = {
    "ga4": _GA4(),
    "segment": segment,
    "posthog": posthog,
    "mixpanel": mixpanel,
    "amplitude": amplitude,
    "matomo": matomo,
    "piwik_pro": piwik_pro,
}
