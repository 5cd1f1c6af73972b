"""Turn usage events into messages of Segment's HTTP Tracking API.

Pure and deterministic: the clock, the identities and what was learned before are passed in.

Limits without a source of their own: segment-docs 747b35d, http-api/index.md and spec/common.md, read 2026-11-22.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from otel_usage import __version__
from otel_usage_exporters.named_event import (
    MAX_AHEAD_S,
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

MAX_MESSAGE_BYTES = 32_000  # "32 KB" per message: the smaller reading
MAX_BATCH_BYTES = 475_000  # of 500 kB; what analytics-python and Segment's other libraries keep to
MAX_MESSAGES = 100  # per batch, as analytics-python; the API takes 2,500
NO_ADDRESS = "0.0.0.0"  # noqa: S104  # no server fills in one where one is
HEAD = b'{"batch":['
ENVELOPE_BYTES = 1_000  # for HEAD and `tail`


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
    new: dict[str, str] = {}  # besides what was sent before
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
        if not event.origin.ci_system and (new.get(source.who) or sent.get(source.who)) != source.digest:
            new[source.who] = source.digest
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


def digest_of(traits: Mapping[str, str]) -> str:
    """Return a short digest that changes when *traits* do."""
    return sha256(encode_json(dict(traits)).encode()).hexdigest()[:16]


def _source(origin: Origin, options: SegmentOptions) -> _Source:
    traits = traits_of(origin)
    # RudderStack's: its documentation requires a channel, and its newer servers write the connection's address into
    # request_ip where a message has none; older ones do so in any case.
    shared = {"channel": "server", "request_ip": NO_ADDRESS, "context": _context(origin, traits)}
    who = client_of(options.anonymous_id or origin.installation_id)
    return _Source(who, traits, digest_of(traits), "," + encode_json(shared)[1:])


def _context(origin: Origin, traits: Mapping[str, str]) -> dict[str, Any]:
    context: dict[str, Any] = {"library": {"name": "otel-usage", "version": __version__}, "ip": NO_ADDRESS}
    app = known(name=origin.app, version=origin.app_version)
    system = known(name=SYSTEMS.get(origin.os_type, origin.os_type), version=origin.os_version)
    if app:
        context["app"] = app
    if system:
        context["os"] = system
    if traits:
        context["traits"] = traits
    return context


def _user(origin: Origin) -> dict[str, str]:
    """Return a user's own id, where it may leave as it is."""
    return {"userId": cut(origin.user_id, MAX_ID)} if origin.user_id else {}


def _identify(event: UsageEvent, source: _Source) -> bytes:
    return _message(
        {
            "type": "identify",
            "anonymousId": source.who,
            "messageId": derived_uuid(f"identify {event.event_id} {source.digest}"),
            "timestamp": timestamp(event.end_ns),
            "traits": source.traits,
            **_user(event.origin),
        },
        source,
    )


def _track(event: UsageEvent, source: _Source, options: SegmentOptions, altered: Altered) -> bytes:
    properties = properties_of(event, source.traits, altered)
    message = {
        "type": "track",
        "event": event_name(event, options.names, altered),
        "anonymousId": source.who,
        "messageId": event.event_id,
        "timestamp": timestamp(event.end_ns),
        "properties": properties,
        **_user(event.origin),
    }
    return encoded_within(properties, lambda: _message(message, source), MAX_MESSAGE_BYTES, altered)


def _message(message: Mapping[str, Any], source: _Source) -> bytes:
    return (encode_json(message)[:-1] + source.ending).encode()
