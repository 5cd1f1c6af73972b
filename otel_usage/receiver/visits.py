"""What the checks of Matomo and Piwik PRO share: bulk requests, each of which is a query as text.

No I/O, and nothing but the standard library. Each rule's source is in the vendor's module.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qsl, urlsplit

# Any in this module: JSON, of any shape.


@dataclass(frozen=True)
class TrackingRules:
    """What differs. fields: that a request may have, besides dimensions. site: of ``idsite``, a pattern.

    least, most: of ``e_v``. oldest_s: seconds in the past that are taken.
    """

    fields: frozenset[str]
    site: str
    least: float
    most: float
    oldest_s: float


def parameters(query: Any) -> dict[str, str] | None:
    """Return what a request says, None if it is no query."""
    if not isinstance(query, str) or not query.startswith("?"):
        return None
    try:
        pairs = parse_qsl(query[1:], keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        return None
    return dict(pairs) if len(dict(pairs)) == len(pairs) else None


def request_problems(requests: Sequence[Any], rules: TrackingRules, *, now_s: float) -> Iterator[tuple[int, str]]:
    """Yield (place, what is wrong) of each of the *requests*: what the vendor would not count, or count wrongly."""
    latest = 0.0
    for place, query in enumerate(requests):
        pairs = parameters(query)
        if pairs is None:
            yield place, f"requests[{place}]: must be a query that begins with '?', each parameter once"
            continue
        for problem in _problems(pairs, rules, now_s):
            yield place, f"requests[{place}].{problem}"
        at = pairs.get("cdt", "")
        if at.isdigit():
            if float(at) < latest:
                yield place, f"requests[{place}].cdt: is earlier than the one before: visits are built in order"
            latest = max(latest, float(at))


def events_of(payload: Any) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield (time in ISO 8601, name, the rest) of each request: a page's title, or an event's category and action."""
    for query in payload.get("requests", ()):
        pairs = parameters(query) or {}
        at = datetime.fromtimestamp(int(pairs.pop("cdt", "0")), timezone.utc).isoformat()
        title = pairs.pop("action_name", "")
        name = title or f"{pairs.pop('e_c', '')} / {pairs.pop('e_a', '')}"
        shown = ("url", "e_n", "e_v")
        yield at, name, {key: text for key, text in pairs.items() if key in shown or key.startswith("dimension")}


def _problems(pairs: Mapping[str, str], rules: TrackingRules, now_s: float) -> Iterator[str]:
    for field, text in pairs.items():
        if field in ("cip", "country", "region", "city", "lat", "lon", "long"):
            yield f"{field}: where somebody is must not be sent"
        elif field not in rules.fields and not re.fullmatch(r"dimension[1-9][0-9]{0,2}", field):
            yield f"{field}: a request has no such parameter"
        elif not text.strip() or not text.isprintable():
            yield f"{field}: must be text, printable"
        elif len(text) > 250 and field != "url":
            yield f"{field}: is cut after 250 characters"
    if not re.fullmatch(rules.site, pairs.get("idsite", "")):
        yield "idsite: must be the id of a site"
    for field in ("rec", "bots"):
        if pairs.get(field) != "1":
            yield f"{field}: must be 1, or nothing is recorded"
    if not re.fullmatch("[0-9a-f]{16}", pairs.get("_id", "")):
        yield "_id: must be 16 hexadecimal digits"
    try:
        address = urlsplit(pairs.get("url", ""))
        host = address.hostname or ""
    except ValueError:
        host = ""
    if host != "cli.invalid" or len(pairs.get("url", "")) > 4_000:
        yield "url: must be an address, and of no host that there is"
    at = pairs.get("cdt", "")
    if not at.isdigit():
        yield "cdt: must be Unix seconds"
    elif float(at) > now_s + 5:
        yield "cdt: is in the future, and would be taken for now"
    elif float(at) < now_s - rules.oldest_s:
        yield "cdt: is too old to be taken without a token"
    yield from _what_problems(pairs, rules)


def _what_problems(pairs: Mapping[str, str], rules: TrackingRules) -> Iterator[str]:
    if ("action_name" in pairs) == ("e_c" in pairs):
        yield "action_name: a request is a page view or an event"
    if ("e_c" in pairs) != ("e_a" in pairs):
        yield "e_a: an event has a category and an action"
    if "e_v" in pairs:
        try:
            within = rules.least <= float(pairs["e_v"]) <= rules.most
        except ValueError:
            within = False
        if not within:
            yield "e_v: must be a number that the vendor takes"
