"""Turn usage events into messages of Segment's HTTP Tracking API.

Pure and deterministic: the clock, the identities and what was learned before are passed in.

Limits without a source of their own: segment-docs 747b35d, http-api/index.md and spec/common.md, read 2026-11-22.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid5

from otel_usage import __version__
from otel_usage_exporters.packing import Altered, Request, Translation, Unit, pack
from otel_usage_exporters.text import cached, clean, cut, distinct, encode_json, flat, scalar, shortened, truncate
from otel_usage_exporters.usage_event import NAMESPACE, Origin, UsageEvent

MAX_MESSAGE_BYTES = 32_000  # "32 KB" per message: the smaller reading
MAX_BATCH_BYTES = 475_000  # of 500 kB; what analytics-python and Segment's other libraries keep to
MAX_MESSAGES = 100  # per batch, as analytics-python; the API takes 2,500
MAX_ID = 100  # characters of messageId; anonymousId is kept to the same
MAX_EVENT = 64  # characters of an event's name: Jitsu takes no more
MAX_PROPERTY_NAME = 64  # ours: a warehouse's column
MAX_VALUE = 1_000  # ours: characters of a property's value
MAX_PROPERTIES = 250  # ours: Segment takes 10,000, its warehouses fewer
MAX_AHEAD_S = 24 * 3600  # ours: Segment takes any time, and a warehouse then has events of the year 9999
MAX_DURATION_MS = 366 * 24 * 3_600_000  # ours: a longer one is a wrong clock, and spoils every average
MAX_TRAIT = 100  # ours: characters of what describes app and system
NO_ADDRESS = "0.0.0.0"  # noqa: S104  # no server fills in one where one is
HEAD = b'{"batch":['
ENVELOPE_BYTES = 1_000  # for HEAD and `tail`
SYSTEMS = {"linux": "Linux", "darwin": "macOS", "windows": "Windows"}
# What a compatible server (Jitsu) rejects in a name, and what Segment's style has spaces for.
_BREAKS = re.compile(r"[\s._\-;=/*]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_SNAKE = re.compile(r"[\W_]+", re.ASCII)
_EPOCH = date(1970, 1, 1).toordinal()
_EVENT_NAMES = {
    "run": "Command Run",
    "error": "CLI Error",
    "heartbeat": "Heartbeat",
    "first_run": "First Run",
    "start": "Service Start",
    "stop": "Service Stop",
    "crash": "Service Crash",
}
# Names, in snake_case, that an event of a host's does not get: ours, and those for which RudderStack's GA4 destination
# refuses an event, whatever its case: rudder-transformer, destinations/ga4/utils.js, read 2026-11-26.
RESERVED_EVENTS = frozenset(
    """command_run cli_error heartbeat first_run service_start service_stop service_crash usage_dropped usage_runs
    usage_run_duration usage_actions usage_errors
    ad_activeview ad_click ad_exposure ad_impression ad_query adunit_exposure app_clear_data app_install app_remove
    app_store_refund app_store_subscription_cancel app_store_subscription_convert app_store_subscription_renew app_update
    error first_open first_visit in_app_purchase notification_dismiss notification_foreground notification_open
    notification_receive os_update screen_view session_start user_engagement""".split()  # noqa: SIM905
)
# Names to which a destination gives a type or meaning of its own, so that it refuses or counts wrongly what is another thing:
# Amplitude's revenue (action-destinations 3.497.0, amplitude/event-schema.ts), and of GA4's parameters those of money, items
# and sessions.
RESERVED_PROPERTIES = frozenset(
    "price quantity revenue products currency value items session_id engagement_time_msec debug_mode".split()  # noqa: SIM905
)
RESERVED_PREFIXES = ("firebase_", "ga_", "google_", "gtag_")


@dataclass(frozen=True, slots=True)
class SegmentOptions:
    """How to write events. anonymous_id: instead of one per installation. names: ``{declared name: Segment's}``."""

    anonymous_id: str = ""
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Source:
    """What all messages of one origin share.

    who: the anonymous id. traits: what describes the installation; in every event, since of what Segment passes on only an
    event's properties reach every destination, in ``context``, and in ``identify``. digest: of the traits. ending: of each
    message, as JSON, encoded once.
    """

    who: str
    traits: Mapping[str, str]
    digest: str
    ending: str


def translate(
    events: Sequence[UsageEvent],
    options: SegmentOptions,
    *,
    traits: Mapping[str, Any] | None = None,
    now_ns: int | None = None,
) -> Translation:
    """Return the batches for *events*, in their order.

    traits: ``{anonymous id: digest of its traits}`` as delivered before; an installation whose traits are others is
    identified first, and each request says what is learned by its delivery.
    Dropped: future, if *now_ns* is given. Altered: renamed, cut, value, properties.
    """
    altered: Altered = Counter()
    gone: dict[int, str] = {}
    newest_ns = (1 << 64) if now_ns is None else now_ns + MAX_AHEAD_S * 10**9
    sent: Mapping[str, Any] = traits or {}
    known: dict[str, str] = {}  # besides what was sent before
    sources: dict[int, _Source] = {}  # by the origin object's id: equal origins are one object, see usage_event.py
    units: list[Unit] = []
    learned_at: dict[int, tuple[str, str]] = {}
    for event in events:
        if event.end_ns > newest_ns:
            gone[event.position] = "future"
            continue
        source = sources.get(id(event.origin))
        if source is None:
            source = sources[id(event.origin)] = _source(event.origin, options)
        parts = []
        # In CI all containers of a vendor are one client, and each would have its own traits.
        if not event.origin.ci_system and (known.get(source.who) or sent.get(source.who)) != source.digest:
            known[source.who] = source.digest
            learned_at[event.position] = (source.who, source.digest)
            parts.append(_identify(event, source))
        parts.append(_track(event, source, options, altered))
        units.append(Unit(event.position, tuple(parts)))
    requests = []
    for group in pack(units, max_events=MAX_MESSAGES, max_bytes=MAX_BATCH_BYTES - ENVELOPE_BYTES):
        learned = dict([learned_at[unit.position] for unit in group if unit.position in learned_at])
        requests.append(Request(group, HEAD, learned))
    return Translation(tuple(requests), Counter(gone.values()), altered, gone=gone)


def tail(write_key: str, now_ns: int) -> bytes:
    """Return the end of a body. sentAt is of the clock that made the timestamps: Segment corrects one by the other."""
    return ("]," + encode_json({"sentAt": timestamp(now_ns), "writeKey": write_key})[1:]).encode()


def timestamp(at_ns: int) -> str:
    """Return ISO 8601 with milliseconds, UTC; the ends of what it can say for what is beyond."""
    days, ms = divmod(max(0, min(at_ns // 1_000_000, 253_402_300_799_999)), 86_400_000)
    seconds, ms = divmod(ms, 1_000)
    return f"{_day(days)}T{seconds // 3_600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{ms:03d}Z"


@lru_cache(maxsize=16)
def _day(days: int) -> str:
    return date.fromordinal(_EPOCH + days).isoformat()


@cached
def title(name: str) -> str:
    """Return *name* in Segment's style: ``report.upload`` → ``Report Upload``, ``session.start`` → ``Event Session Start``."""
    words = [word for word in _BREAKS.split(_HUMP.sub(" ", clean(truncate(name)))) if word]
    snake_case = "_".join(words).lower()
    if not words or snake_case in RESERVED_EVENTS or snake_case.startswith(RESERVED_PREFIXES):
        words.insert(0, "Event")
    return shortened(_capitalized(words), MAX_EVENT, name)


def _capitalized(words: Sequence[str]) -> str:
    return " ".join([word[:1].upper() + word[1:] for word in words])


@cached
def snake(name: str) -> str:
    """Return *name* in snake_case: ``channelName`` → ``channel_name``, ``price`` → ``field_price``."""
    snake_case = _NOT_SNAKE.sub("_", _HUMP.sub("_", truncate(name))).strip("_").lower() or "field"
    if snake_case in RESERVED_PROPERTIES:
        snake_case = "field_" + snake_case
    return shortened(snake_case, MAX_PROPERTY_NAME, name)


def anonymous_id(installation_id: str) -> str:
    """Return *installation_id*, or a UUID made of it if it is too long or holds what no id should."""
    if 0 < len(installation_id) <= MAX_ID and installation_id.isascii() and installation_id.isprintable():
        return installation_id
    return _uuid("installation " + installation_id)


def digest_of(traits: Mapping[str, str]) -> str:
    """Return a short digest that changes when *traits* do."""
    return sha256(encode_json(dict(traits)).encode()).hexdigest()[:16]


def _uuid(name: str) -> str:
    return str(uuid5(UUID(bytes=NAMESPACE), name.encode("utf-8", "replace").decode()))


def _known(**pairs: str) -> dict[str, str]:
    """Return those of *pairs* that are known, cut."""
    return {key: cut(value, MAX_TRAIT) for key, value in pairs.items() if value}


def _source(origin: Origin, options: SegmentOptions) -> _Source:
    traits = _traits(origin)
    # RudderStack's: its documentation requires a channel, and its newer servers write the connection's address into
    # request_ip where a message has none; older ones do so in any case.
    shared = {"channel": "server", "request_ip": NO_ADDRESS, "context": _context(origin, traits)}
    who = anonymous_id(options.anonymous_id or origin.installation_id)
    return _Source(who, traits, digest_of(traits), "," + encode_json(shared)[1:])


def _context(origin: Origin, traits: Mapping[str, str]) -> dict[str, Any]:
    context: dict[str, Any] = {"library": {"name": "otel-usage", "version": __version__}, "ip": NO_ADDRESS}
    app = _known(name=origin.app, version=origin.app_version)
    system = _known(name=SYSTEMS.get(origin.os_type, origin.os_type), version=origin.os_version)
    if app:
        context["app"] = app
    if system:
        context["os"] = system
    if traits:
        context["traits"] = traits
    return context


def _traits(origin: Origin) -> dict[str, str]:
    """Return what describes the installation."""
    return _known(
        app=origin.app,
        app_version=origin.app_version,
        os=origin.os_type,
        os_version=origin.os_version,
        arch=origin.arch,
        runtime=origin.runtime,
        python=origin.runtime_version,
        first_week=origin.first_week,
        ephemeral="true" if origin.ephemeral else "",
    )


def _user(origin: Origin) -> dict[str, str]:
    """Return a user's own id, where it may leave as it is."""
    return {"userId": cut(origin.user_id, MAX_ID)} if origin.user_id else {}


def _identify(event: UsageEvent, source: _Source) -> bytes:
    return _message(
        {
            "type": "identify",
            "anonymousId": source.who,
            "messageId": _uuid(f"identify {event.event_id} {source.digest}"),
            "timestamp": timestamp(event.end_ns),
            "traits": source.traits,
            **_user(event.origin),
        },
        source,
    )


def _track(event: UsageEvent, source: _Source, options: SegmentOptions, altered: Altered) -> bytes:
    properties = _properties(event, source.traits, altered)
    message = {
        "type": "track",
        "event": _name(event, options, altered),
        "anonymousId": source.who,
        "messageId": event.event_id,
        "timestamp": timestamp(event.end_ns),
        "properties": properties,
        **_user(event.origin),
    }
    encoded = _message(message, source)
    if len(encoded) > MAX_MESSAGE_BYTES:
        over = len(encoded) - MAX_MESSAGE_BYTES
        while over > 0 and properties:  # the last first: the host's fields come after those that all events have
            over -= len(encode_json(dict([properties.popitem()])).encode()) - 1  # its braces, but for a comma
            altered["properties"] += 1
        encoded = _message(message, source)
    return encoded


def _message(message: Mapping[str, Any], source: _Source) -> bytes:
    return (encode_json(message)[:-1] + source.ending).encode()


def _name(event: UsageEvent, options: SegmentOptions, altered: Altered) -> str:
    if event.kind in _EVENT_NAMES and event.name not in options.names:
        return _EVENT_NAMES[event.kind]
    if event.kind in ("dropped", "derived"):
        return _capitalized(event.name.split("."))
    chosen = options.names.get(event.name)
    name = shortened(clean(truncate(chosen)), MAX_EVENT, chosen) if chosen else title(event.name)
    if len(event.name) > MAX_EVENT:
        altered["renamed"] += 1
    return name


def _properties(event: UsageEvent, traits: Mapping[str, str], altered: Altered) -> dict[str, Any]:
    kind = event.kind
    properties: dict[str, Any] = {**traits}
    if kind == "run":
        properties["command"] = _cut(event.command or "(unknown)", altered)
        properties["outcome"] = _cut(event.outcome or "unknown", altered)
        if event.exit_code is not None:
            properties["exit_code"] = scalar(event.exit_code)
            if properties["exit_code"] is None:
                del properties["exit_code"]
                altered["value"] += 1
        if event.options:
            properties.update(flat({"options": event.options}, altered))
        if event.ci is not None:
            properties["ci"] = event.ci
        if event.tty is not None:
            properties["tty"] = event.tty
        if event.agent:
            properties["agent"] = _cut(event.agent, altered)
        if event.surface:
            properties["surface"] = _cut(event.surface, altered)
    elif kind == "error":
        properties["error_code"] = _cut(event.name, altered)
    elif kind == "heartbeat":
        properties["heartbeat_name"] = _cut(event.name, altered)
    elif kind in ("start", "crash"):
        particulars = {
            "start": event.start,
            "previous_version": event.previous_version,
            "signal": event.signal,
            "frames": event.frames,
        }
        properties.update({name: _cut(text, altered) for name, text in particulars.items() if text})
    elif kind in ("count", "dropped", "derived"):
        properties["count"] = scalar(event.count) if event.count < 2**53 else float(event.count)
    if kind in ("run", "action", "span"):
        if event.duration_ms <= MAX_DURATION_MS:
            properties["duration_ms"] = event.duration_ms
        else:
            altered["value"] += 1
    if event.error_type:
        properties["error_type"] = _cut(event.error_type, altered)
    for name, value in flat(event.fields, altered):
        if value == "":
            continue
        if len(properties) >= MAX_PROPERTIES:
            altered["properties"] += 1
            continue
        key = distinct(snake(name), properties, MAX_PROPERTY_NAME)
        if key != name:
            altered["renamed"] += 1
        properties[key] = _cut(value, altered) if isinstance(value, str) else value
    return properties


def _cut(value: str, altered: Altered) -> str:
    """Return *value* as Segment is given it, and count it if that is not all of it."""
    text = cut(value, MAX_VALUE)
    if text != value:
        altered["cut"] += 1
    return text
