"""An event as product analytics take it: a name for people, and flat properties of snake_case names. Pure.

Segment, PostHog, Mixpanel and Amplitude get the same names and properties, so that a report can be built alike at each of
them, and so that it stays as it is where one is fed by another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid5

from .packing import Altered
from .text import cached, clean, cut, distinct, encode_json, flat, scalar, shortened, truncate
from .usage_event import NAMESPACE, Origin, UsageEvent

MAX_EVENT = 64  # characters of an event's name: Jitsu takes no more
MAX_PROPERTY_NAME = 64  # ours: a warehouse's column
MAX_VALUE = 1_000  # ours: characters of a property's value
MAX_PROPERTIES = 250  # ours: Segment takes 10,000, its warehouses fewer
MAX_ID = 100  # characters of Segment's messageId; who the client is has no more anywhere
MAX_AHEAD_S = 24 * 3600  # ours: vendors take any time, and a warehouse then has events of the year 9999
EARLIEST_NS = 31_536_000 * 10**9  # 1971-01-01: Mixpanel refuses what is earlier, and so may others
MAX_DURATION_MS = 366 * 24 * 3_600_000  # ours: a longer one is a wrong clock, and spoils every average
MAX_TRAIT = 100  # ours: characters of what describes app and system
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
# Ids that stand for nobody, so that a vendor refuses them, or counts all who have one as one person; in lower case. Of PostHog
# (posthog.com, "illegal distinct ids"), Mixpanel (docs.mixpanel.com, import-events) and Amplitude (http-v2), read 2026-11-26.
NOBODY = frozenset(
    """0 -1 00000000-0000-0000-0000-000000000000 anon anonymous anonymous-user backend distinct_id distinctid email false guest
    id lmy47d n/a na nan nil none not_authenticated null system true undefined unknown user [] {}""".split()  # noqa: SIM905
) | {"[object object]"}
RESERVED_PREFIXES = ("firebase_", "ga_", "google_", "gtag_")


def timestamp(at_ns: int) -> str:
    """Return ISO 8601 with milliseconds, UTC; the ends of what it can say for what is beyond."""
    days, ms = divmod(milliseconds(at_ns), 86_400_000)
    seconds, ms = divmod(ms, 1_000)
    return f"{_day(days)}T{seconds // 3_600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{ms:03d}Z"


def milliseconds(at_ns: int) -> int:
    """Return Unix milliseconds, within the years 1970 to 9999."""
    return max(0, min(at_ns // 1_000_000, 253_402_300_799_999))


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


def event_name(event: UsageEvent, names: Mapping[str, str], altered: Altered) -> str:
    """Return what *event* is called. names: ``{declared name: the one to use}``."""
    if event.kind in _EVENT_NAMES and event.name not in names:
        return _EVENT_NAMES[event.kind]
    if event.kind in ("dropped", "derived"):
        return _capitalized(event.name.split("."))
    chosen = names.get(event.name)
    name = shortened(clean(truncate(chosen)), MAX_EVENT, chosen) if chosen else title(event.name)
    if len(event.name) > MAX_EVENT:
        altered["renamed"] += 1
    return name


def properties_of(
    event: UsageEvent,
    traits: Mapping[str, str],
    altered: Altered,
    *,
    reserved: Collection[str] = (),
    prefix: str = "\0",
    most: int = MAX_PROPERTIES,
) -> dict[str, Any]:
    """Return the properties of *event*. Any: text, a number or a truth value.

    traits: of `traits_of`, which all events have. reserved: names of a vendor's own, for which a host's field gets ``field_``
    before it, as for `RESERVED_PROPERTIES`; prefix: with which such names begin. most: so many at most.
    """
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
        if len(properties) >= most:
            altered["properties"] += 1
            continue
        snake_case = snake(name)
        if snake_case in reserved or snake_case.startswith(prefix):
            snake_case = "field_" + snake_case
        key = distinct(snake_case, properties, MAX_PROPERTY_NAME)
        if key != name:
            altered["renamed"] += 1
        properties[key] = _cut(value, altered) if isinstance(value, str) else value
    return properties


def encoded_within(properties: dict[str, Any], encode: Callable[[], bytes], max_bytes: int, altered: Altered) -> bytes:
    """Return what *encode* makes of *properties*, which loses its last ones, counted, until that has at most *max_bytes*."""
    encoded = encode()
    over = len(encoded) - max_bytes
    if over <= 0:
        return encoded
    while over > 0 and properties:  # the last first: the host's fields come after those that all events have
        over -= len(encode_json(dict([properties.popitem()])).encode()) - 1  # its braces, but for a comma
        altered["properties"] += 1
    return encode()


def client_of(installation_id: str) -> str:
    """Return *installation_id*, or a UUID made of it if it is too long, holds what no id should or stands for nobody."""
    plain = 0 < len(installation_id) <= MAX_ID and installation_id.isascii() and installation_id.isprintable()
    if plain and installation_id.strip().lower() not in NOBODY:
        return installation_id
    return derived_uuid("installation " + installation_id)


def derived_uuid(name: str) -> str:
    """Return the UUID of version 5 of *name*, whatever characters it has."""
    return str(uuid5(UUID(bytes=NAMESPACE), name.encode("utf-8", "replace").decode()))


def known(**pairs: str) -> dict[str, str]:
    """Return those of *pairs* that are known, cut."""
    return {key: cut(value, MAX_TRAIT) for key, value in pairs.items() if value}


def traits_of(origin: Origin) -> dict[str, str]:
    """Return what describes the installation: it is in every event."""
    return known(
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


def _cut(value: str, altered: Altered) -> str:
    """Return *value* as a vendor is given it, and count it if that is not all of it."""
    text = cut(value, MAX_VALUE)
    if text != value:
        altered["cut"] += 1
    return text
