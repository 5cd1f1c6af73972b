"""Turn usage events into Amplitude's HTTP V2 and Batch Event Upload requests.

Pure and deterministic: the clock and the identities are passed in.

Limits without a source of their own: amplitude.com/docs/apis/analytics/http-v2, http-api-batching-retries and
batch-event-upload, read 2026-11-26.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from otel_usage import __version__
from otel_usage_exporters.named_event import (
    EARLIEST_NS,
    MAX_AHEAD_S,
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
MAX_BATCH_BYTES = 900_000  # of 1 MB; /batch takes 20
MAX_EVENT_BYTES = 100_000  # ours
CI_DEVICES = 64  # for each vendor of CI, since a device may send 30 events a second; see `_device`
HEAD = b'{"events":['
ENVELOPE_BYTES = 1_000  # for HEAD and `tail`


@dataclass(frozen=True, slots=True)
class AmplitudeOptions:
    """How to write events. device_id: instead of one per installation. names: ``{declared name: Amplitude's}``."""

    device_id: str = ""
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Source:
    """What all events of one origin share. device: its id. ending: of each event, as JSON, encoded once."""

    device: str
    traits: Mapping[str, str]
    ending: str


def translate(events: Sequence[UsageEvent], options: AmplitudeOptions, *, now_ns: int) -> Translation:
    """Return the requests for *events*, in their order.

    Dropped: future, too_old. Altered: renamed, cut, value, properties.
    """
    altered: Altered = Counter()
    gone: dict[int, str] = {}
    newest_ns = now_ns + MAX_AHEAD_S * 10**9
    sources: dict[int, _Source] = {}  # by the origin object's id: equal origins are one object, see usage_event.py
    units: list[Unit] = []
    for event in events:
        if event.end_ns > newest_ns or event.end_ns < EARLIEST_NS:
            gone[event.position] = "future" if event.end_ns > newest_ns else "too_old"
            continue
        source = sources.get(id(event.origin))
        if source is None:
            source = sources[id(event.origin)] = _source(event.origin, options)
        units.append(Unit(event.position, (_event(event, source, options, altered),)))
    groups = pack(units, max_events=MAX_EVENTS, max_bytes=MAX_BATCH_BYTES - ENVELOPE_BYTES)
    requests = [Request(group, HEAD) for group in groups]
    return Translation(tuple(requests), Counter(gone.values()), altered, gone=gone)


def tail(api_key: str) -> bytes:
    """Return the end of a body. min_id_length: else an id of fewer than five characters is thrown away."""
    return ("]," + encode_json({"options": {"min_id_length": 1}, "api_key": api_key})[1:]).encode()


def _source(origin: Origin, options: AmplitudeOptions) -> _Source:
    shared: dict[str, Any] = {
        "library": f"otel-usage/{__version__}",
        **known(
            app_version=origin.app_version,
            os_name=SYSTEMS.get(origin.os_type, origin.os_type),
            os_version=origin.os_version,
        ),
    }
    if origin.user_id and not options.device_id:
        shared["user_id"] = client_of(cut(origin.user_id, MAX_ID))
    device = client_of(options.device_id or origin.installation_id)
    return _Source(device, traits_of(origin), "," + encode_json(shared)[1:])


def _device(event: UsageEvent, source: _Source, options: AmplitudeOptions) -> str:
    """Return the device of *event*. All runs in CI systems of one vendor are of one origin, and Amplitude refuses what one
    device sends beyond 30 events a second: they are spread over `CI_DEVICES`, by their ids, so that a repetition has the same.
    """
    if options.device_id or not event.origin.ci_system:
        return source.device
    return f"{source.device}.{int(event.event_id[:8], 16) % CI_DEVICES}"


def _event(event: UsageEvent, source: _Source, options: AmplitudeOptions, altered: Altered) -> bytes:
    properties = properties_of(event, source.traits, altered)
    head = {
        "device_id": _device(event, source, options),
        "event_type": event_name(event, options.names, altered),
        "time": milliseconds(event.end_ns),
        "insert_id": event.event_id,
    }
    start = encode_json(head)[:-1] + ',"event_properties":'
    return encoded_within(
        properties, lambda: (start + encode_json(properties) + source.ending).encode(), MAX_EVENT_BYTES, altered
    )
