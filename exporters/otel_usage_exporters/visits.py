"""An event as web analytics take it: a run is a view of a page, all else an event of a category, in a visit. Pure.

Matomo and Piwik PRO get the same requests but for a few parameters: Piwik PRO was made from what is Matomo now. Both take many
requests in one body, as texts that look like the query of an address.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from urllib.parse import quote

from .named_event import MAX_AHEAD_S, MAX_DURATION_MS, MAX_ID, event_name, properties_of, traits_of
from .packing import Altered, Request, Translation, Unit, pack
from .text import cut, scalar
from .usage_event import Origin, UsageEvent

HEAD = b'{"requests":['
# matomo-log-analytics, import_logs.py, --recorder-max-payload-size: what Matomo's own importer sends at once, read 2026-11-26.
MAX_REQUESTS = 200
MAX_BYTES = 500_000  # ours: PHP reads 8 MB of a body unless it is set up otherwise
MAX_TEXT = 250  # ours: characters of a page's title and of an event's texts; both vendors take 1,024 and more
# Matomo keeps as many characters of a custom dimension, CustomDimensionsRequestProcessor.php, read 2026-11-26.
MAX_DIMENSION = 250
MAX_OUTCOME = 64  # ours: characters of how a run ended, in a page's title: ours have at most 11
SITE = "https://cli.invalid"  # of no host that there is (RFC 2606): both vendors want an address
UNKNOWN = "(unknown)"
_CATEGORIES = {
    "run": "Command Run",
    "action": "Action",
    "span": "Span",
    "error": "CLI Error",
    "heartbeat": "Heartbeat",
    "first_run": "Installation",
    "count": "Count",
    "dropped": "Count",
    "derived": "Count",
}


@dataclass(frozen=True, slots=True)
class VisitRules:
    """What differs between the vendors, and between settings.

    start: the parameters that all requests have. of_event: those that only an event has. visitor: the visitor's id, of an
    installation's. names: ``{declared name: the vendor's}``. dimensions: ``{property's name: the number of a custom dimension}``.
    oldest_ns: what ended before that is not taken. largest: of an event's values.
    """

    start: str
    of_event: str
    visitor: Callable[[str], str]
    names: Mapping[str, str]
    dimensions: Mapping[str, int]
    oldest_ns: int
    largest: float = inf


@dataclass(frozen=True, slots=True)
class _Source:
    """What all requests of one origin share. start: their beginning, with the visitor. traits: for dimensions."""

    start: str
    traits: Mapping[str, str]


def translate_visits(events: Sequence[UsageEvent], rules: VisitRules, *, now_ns: int) -> Translation:
    """Return the requests for *events*, in the order of their times: both vendors build visits of what comes in order.

    A time ahead of the clock is now: Matomo would count it as now, too, and not say so.
    Dropped: future, too_old. Altered: renamed, cut, value, time.
    """
    altered: Altered = Counter()
    gone: dict[int, str] = {}
    newest_ns = now_ns + MAX_AHEAD_S * 10**9
    sources: dict[int, _Source] = {}  # by the origin object's id: equal origins are one object, see usage_event.py
    units: list[Unit] = []
    for event in sorted(events, key=lambda event: event.end_ns):
        if event.end_ns > newest_ns or event.end_ns < rules.oldest_ns:
            gone[event.position] = "future" if event.end_ns > newest_ns else "too_old"
            continue
        if event.end_ns > now_ns:
            altered["time"] += 1
        source = sources.get(id(event.origin))
        if source is None:
            source = sources[id(event.origin)] = _source(event.origin, rules)
        at_s = min(event.end_ns, now_ns) // 10**9
        query = f'"{source.start}&cdt={at_s}{_what(event, rules, altered)}{_dimensions(event, source, rules, altered)}"'
        units.append(Unit(event.position, (query.encode("ascii"),)))
    groups = pack(units, max_events=MAX_REQUESTS, max_bytes=MAX_BYTES)
    return Translation(tuple([Request(group, HEAD) for group in groups]), Counter(gone.values()), altered, gone=gone)


def _source(origin: Origin, rules: VisitRules) -> _Source:
    start = f"{rules.start}&_id={rules.visitor(origin.installation_id)}"
    user = cut(origin.user_id, MAX_ID).strip()
    if user:
        start += "&uid=" + _quoted(user)
    return _Source(start, traits_of(origin) if rules.dimensions else {})


def _what(event: UsageEvent, rules: VisitRules, altered: Altered) -> str:
    """Return the parameters that say what happened: a run is a page, whose title says how it ended if it failed."""
    app = _text(event.origin.app, altered)
    if event.kind == "run":
        command = _text(event.command, altered)
        failed = "" if event.outcome == "success" else f" ({cut(_text(event.outcome, altered), MAX_OUTCOME)})"
        title = cut(command, MAX_TEXT - len(failed)).strip() + failed
        return f"&url={_page(app, command)}&action_name={_quoted(title)}"
    action = event_name(event, rules.names, altered)
    if event.kind in ("error", "heartbeat"):
        action = rules.names.get(event.name, event.name)
    category = _CATEGORIES.get(event.kind, "Service")
    what = f"{rules.of_event}&url={_page(app, '')}&e_c={_quoted(category)}&e_a={_quoted(_text(action, altered))}"
    if event.error_type:
        what += "&e_n=" + _quoted(_text(event.error_type, altered))
    value = _value(event, rules.largest, altered)
    # A float may be written with a plus, which means a space there.
    return what if value is None else f"{what}&e_v={quote(str(value))}"


def _value(event: UsageEvent, largest: float, altered: Altered) -> int | float | None:
    """Return the number that an event has: how many, or how many milliseconds it took."""
    value: object = None
    if event.kind in ("count", "dropped", "derived"):
        value = scalar(event.count if event.count < 2**53 else float(event.count))
    elif event.kind in ("action", "span"):
        value = event.duration_ms
        largest = min(largest, MAX_DURATION_MS)
    if not isinstance(value, (int, float)) or value > largest:
        altered["value"] += value is not None
        return None
    return value


def _dimensions(event: UsageEvent, source: _Source, rules: VisitRules, altered: Altered) -> str:
    """Return the custom dimensions of *event*: of the properties that it has at Segment, those that the settings name."""
    if not rules.dimensions:
        return ""
    properties = properties_of(event, source.traits, Counter())  # what is cut of others does not matter here
    texts = []
    for name, number in rules.dimensions.items():
        value = properties.get(name)
        if value is None:
            continue
        plain = str(value).lower() if isinstance(value, bool) else str(value)
        text = cut(plain, MAX_DIMENSION)
        if text != plain:
            altered["cut"] += 1
        texts.append(f"&dimension{number}={_quoted(text)}")
    return "".join(texts)


def _text(text: str, altered: Altered) -> str:
    """Return *text* as it is sent, `UNKNOWN` where nothing is left of it, and count it if it was cut."""
    short = cut(text, MAX_TEXT)
    if short != text:
        altered["cut"] += 1
    return short.strip() or UNKNOWN


@lru_cache(maxsize=4_096)
def _quoted(text: str) -> str:
    """Return *text*, of at most `MAX_TEXT` characters, as a parameter's value."""
    return quote(text, safe="")


@lru_cache(maxsize=4_096)
def _page(app: str, command: str) -> str:
    """Return the address of *command*, as a parameter's value: each word of it is a step of its path."""
    return quote("/".join([SITE, quote(app, safe=""), *[quote(word, safe="()") for word in command.split()]]), safe="")
