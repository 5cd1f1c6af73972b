"""Turn usage events into Mixpanel's ``/track`` and ``/import``.

Pure and deterministic: the clock and the identities are passed in.

Limits without a source of their own: docs.mixpanel.com, reference/import-events and track-event, read 2026-11-26.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from otel_usage import __version__
from otel_usage_exporters.named_event import (
    EARLIEST_NS,
    MAX_ID,
    SYSTEMS,
    client_of,
    encoded_within,
    event_name,
    known,
    milliseconds,
    properties_of,
    traits_of,
)
from otel_usage_exporters.packing import Altered, Request, Translation, Unit, pack
from otel_usage_exporters.text import cut, encode_json
from otel_usage_exporters.usage_event import Origin, UsageEvent

# Per request, which takes 2,000: an answer that names all of them as refused still fits in what is read of one.
MAX_EVENTS = 100
MAX_BATCH_BYTES = 1_000_000  # ours: a request takes 10 MB, and took 2 MB before
MAX_EVENT_BYTES = 100_000  # ours: an event takes 1 MB
MAX_PROPERTIES = 240  # fewer than 255 with those of `translate`
MAX_AHEAD_S = 3_300  # a little less than the hour beyond which /import refuses an event
MAX_AGE_TRACK_S = 5 * 86_400 - 600  # a little less than the five days that /track takes
HEAD = b"["
TAIL = b"]"
# Of a host's fields: names that Mixpanel reads or overwrites, docs.mixpanel.com "reserved properties".
RESERVED = frozenset({"token", "time", "distinct_id", "ip", "length", "bucket", "campaign_id", "user_id", "device_id"})
RESERVED_PREFIX = "mp_"
# Stands for the token in each event, and for nothing else: in a text the quotes would be escaped, and no field has this name.
NO_TOKEN = b'"token":""'


@dataclass(frozen=True, slots=True)
class MixpanelOptions:
    """How to write events.

    distinct_id: instead of one per installation. names: ``{declared name: Mixpanel's}``. track: for ``/track``, with the token
    in each event, and nothing that is more than five days old; else for ``/import``.
    """

    distinct_id: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    track: bool = True


@dataclass(frozen=True, slots=True)
class _Source:
    """What all events of one origin share. ending: of each event's properties, as JSON, encoded once."""

    traits: Mapping[str, str]
    ending: str


def translate(events: Sequence[UsageEvent], options: MixpanelOptions, *, now_ns: int) -> Translation:
    """Return the requests for *events*, in their order.

    Dropped: future, too_old. Altered: renamed, cut, value, properties.
    """
    altered: Altered = Counter()
    gone: dict[int, str] = {}
    newest_ns = now_ns + MAX_AHEAD_S * 10**9
    oldest_ns = now_ns - MAX_AGE_TRACK_S * 10**9 if options.track else EARLIEST_NS
    sources: dict[int, _Source] = {}  # by the origin object's id: equal origins are one object, see usage_event.py
    units: list[Unit] = []
    for event in events:
        if event.end_ns > newest_ns or event.end_ns < oldest_ns:
            gone[event.position] = "future" if event.end_ns > newest_ns else "too_old"
            continue
        source = sources.get(id(event.origin))
        if source is None:
            source = sources[id(event.origin)] = _source(event.origin, options)
        units.append(Unit(event.position, (_event(event, source, options, altered),)))
    requests = [Request(group, HEAD) for group in pack(units, max_events=MAX_EVENTS, max_bytes=MAX_BATCH_BYTES)]
    return Translation(tuple(requests), Counter(gone.values()), altered, gone=gone)


def _source(origin: Origin, options: MixpanelOptions) -> _Source:
    who = client_of(options.distinct_id or cut(origin.user_id, MAX_ID) or origin.installation_id)
    shared: dict[str, Any] = {
        "distinct_id": who,
        "mp_lib": "otel-usage",
        "$lib_version": __version__,
        **{f"${name}": value for name, value in _system(origin).items()},
    }
    ending = encode_json(shared)[1:]
    return _Source(traits_of(origin), f',"token":"",{ending}' if options.track else f",{ending}")


def _system(origin: Origin) -> dict[str, str]:
    """Return what Mixpanel has default properties for, without their ``$``."""
    return known(
        app_version_string=origin.app_version,
        os=SYSTEMS.get(origin.os_type, origin.os_type),
        os_version=origin.os_version,
    )


def _event(event: UsageEvent, source: _Source, options: MixpanelOptions, altered: Altered) -> bytes:
    properties = properties_of(
        event, source.traits, altered, reserved=RESERVED, prefix=RESERVED_PREFIX, most=MAX_PROPERTIES
    )
    start = encode_json({"event": event_name(event, options.names, altered)})[:-1] + ',"properties":'
    own = {"time": milliseconds(event.end_ns), "$insert_id": event.event_id}

    def encode() -> bytes:
        return (start + encode_json({**properties, **own})[:-1] + source.ending + "}").encode()

    return encoded_within(properties, encode, MAX_EVENT_BYTES, altered)
