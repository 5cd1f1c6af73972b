"""Turn usage events into PostHog's ``/batch/``.

Pure and deterministic: the clock and the identities are passed in.

Limits without a source of their own: posthog.com contents/docs/api/capture.mdx, and PostHog/posthog rust/capture/src
(v0_request.rs, events/analytics.rs, api.rs), read 2026-11-26.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from otel_usage import __version__
from otel_usage_exporters.named_event import (
    MAX_ID,
    SYSTEMS,
    client_of,
    derived_uuid,
    encoded_within,
    event_name,
    known,
    properties_of,
    timestamp,
    traits_of,
)
from otel_usage_exporters.packing import Altered, Request, Translation, Unit, pack
from otel_usage_exporters.text import cut, encode_json
from otel_usage_exporters.usage_event import Origin, UsageEvent

MAX_EVENTS = 100  # per batch, as posthog-python 7.91.1; the API names no limit
MAX_BATCH_BYTES = 5_000_000  # posthog-python 7.91.1 keeps to 5 MiB; the API takes 20 MB
MAX_EVENT_BYTES = 100_000  # ours: PostHog's Kafka takes 1,000,000, and of an event's properties nobody reads as many
MAX_AHEAD_S = 23 * 3600  # what is further ahead PostHog dates to its arrival: rust/common/types/src/timestamp.rs
LATE_S = 86_400  # what is older counts as history: capture's own limit for its historical topic is a day
HEAD = b'{"batch":['
HEAD_LATE = b'{"historical_migration":true,"batch":['
ENVELOPE_BYTES = 1_000  # for a head and `tail`
# Of a host's fields: what the capture service reads from properties when it looks for a key or an id.
RESERVED = frozenset({"token", "api_key", "distinct_id"})
EXCEPTIONS = frozenset({"error", "crash"})  # kinds that error tracking can have


@dataclass(frozen=True, slots=True)
class PostHogOptions:
    """How to write events.

    distinct_id: instead of one per installation. names: ``{declared name: PostHog's}``. person_profiles: have PostHog keep a
    profile per installation. groups: say to which installation and cluster a service's events belong. exceptions: write
    errors as error tracking takes them.
    """

    distinct_id: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    person_profiles: bool = False
    groups: bool = False
    exceptions: bool = False


@dataclass(frozen=True, slots=True)
class _Source:
    """What all events of one origin share. who: the distinct id. ending: of each event's properties, as JSON, encoded once."""

    who: str
    traits: Mapping[str, str]
    ending: str


def translate(events: Sequence[UsageEvent], options: PostHogOptions, *, now_ns: int) -> Translation:
    """Return the batches for *events*: those that are late first, in their order, and then the others.

    Dropped: future. Altered: renamed, cut, value, properties.
    """
    altered: Altered = Counter()
    gone: dict[int, str] = {}
    newest_ns, late_ns = now_ns + MAX_AHEAD_S * 10**9, now_ns - LATE_S * 10**9
    sources: dict[int, _Source] = {}  # by the origin object's id: equal origins are one object, see usage_event.py
    late: list[Unit] = []
    current: list[Unit] = []
    for event in events:
        if event.end_ns > newest_ns:
            gone[event.position] = "future"
            continue
        source = sources.get(id(event.origin))
        if source is None:
            source = sources[id(event.origin)] = _source(event.origin, options)
        unit = Unit(event.position, (_event(event, source, options, altered),))
        (late if event.end_ns < late_ns else current).append(unit)
    requests = []
    for head, units in ((HEAD_LATE, late), (HEAD, current)):
        groups = pack(units, max_events=MAX_EVENTS, max_bytes=MAX_BATCH_BYTES - ENVELOPE_BYTES)
        requests += [Request(group, head) for group in groups]
    return Translation(tuple(requests), Counter(gone.values()), altered, gone=gone)


def tail(api_key: str, now_ns: int) -> bytes:
    """Return the end of a body. sent_at is of the clock that made the timestamps: PostHog corrects one by the other."""
    return ("]," + encode_json({"sent_at": timestamp(now_ns), "api_key": api_key})[1:]).encode()


def _source(origin: Origin, options: PostHogOptions) -> _Source:
    traits = traits_of(origin)
    who = options.distinct_id or cut(origin.user_id, MAX_ID) or origin.installation_id
    shared: dict[str, Any] = {
        "$lib": "otel-usage",
        "$lib_version": __version__,
        "$geoip_disable": True,  # or the sender's address is looked up on a map
        **{f"${name}": value for name, value in _system(origin).items()},
    }
    if not options.person_profiles or origin.ci_system:  # in CI all containers of a vendor are one
        shared["$process_person_profile"] = False
    elif traits:
        shared["$set"] = traits
    if options.groups:
        shared |= _groups(origin)
    return _Source(client_of(who), traits, "," + encode_json(shared)[1:])


def _system(origin: Origin) -> dict[str, str]:
    """Return what PostHog has properties of its own for, without their ``$``."""
    return known(
        app_name=origin.app,
        app_version=origin.app_version,
        os=SYSTEMS.get(origin.os_type, origin.os_type),
        os_version=origin.os_version,
    )


def _groups(origin: Origin) -> dict[str, Any]:
    installation = origin.service or ("" if origin.ci_system or origin.user_id else origin.installation_id)
    of = {"installation": client_of(installation)} if installation else {}
    if origin.cluster:
        of["cluster"] = client_of(origin.cluster)
    return {"$groups": of} if of else {}


def _event(event: UsageEvent, source: _Source, options: PostHogOptions, altered: Altered) -> bytes:
    properties = properties_of(event, source.traits, altered, reserved=RESERVED)
    name = event_name(event, options.names, altered)
    own: dict[str, Any] = {}
    if options.exceptions and event.kind in EXCEPTIONS:
        name, own = "$exception", _exception(event, properties)
    head = {
        "event": name,
        "distinct_id": source.who,
        "uuid": event.event_id,
        "timestamp": timestamp(event.end_ns),
    }
    start = encode_json(head)[:-1] + ',"properties":'

    def encode() -> bytes:
        inner = encode_json({**properties, **own})[:-1]
        # Without properties of its own an event's begin with those that all share: no comma before them.
        ending = source.ending if len(inner) > 1 else source.ending[1:]
        return (start + inner + ending + "}").encode()

    return encoded_within(properties, encode, MAX_EVENT_BYTES, altered)


def _exception(event: UsageEvent, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return what error tracking groups by: rust/cymbal/src/types/mod.rs, read 2026-11-26. There is no message: none leaves.

    The type is the declared code of an error, and the class or the signal of what ended a process. All of one type are one
    issue, and crashes of one type with other frames are another. properties: of the event, which have signal and frames.
    """
    crashed = event.kind == "crash"
    kind = cut((event.error_type or str(properties.get("signal", "")) if crashed else event.name) or "unknown", MAX_ID)
    frames = properties.get("frames", "") if crashed else ""
    mechanism = {"type": "generic", "handled": not crashed, "synthetic": True}
    return {
        "$exception_list": [{"type": kind, "value": "", "mechanism": mechanism}],
        "$exception_fingerprint": derived_uuid(
            f"exception {event.origin.app} {event.kind} {event.name} {kind} {frames}"
        ),
        "$exception_level": "fatal" if crashed else "error",
    }
