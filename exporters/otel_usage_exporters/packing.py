"""What a translation returns: requests made of units, packed within a vendor's limits. Pure.

A usage event becomes a `Unit`: one or more encoded events of the vendor's, such as Segment's ``identify`` and ``track``.
`pack` groups units, and each group becomes a `Request`. All requests of one call are a `Translation`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Altered = Counter[str]  # how many events were changed on the way, by reason: renamed, cut, value, …


@dataclass(frozen=True, slots=True)
class Unit:
    """What one span or data point became: encoded events that are sent together or not at all.

    position: of the span or data point among those that were to be translated.
    """

    position: int
    parts: tuple[bytes, ...]

    @property
    def size_bytes(self) -> int:
        """Their size in a JSON list, one comma each included."""
        return sum(map(len, self.parts)) + len(self.parts)


@dataclass(frozen=True, slots=True)
class Request:
    """Units that share a request.

    head: the body's beginning, up to the list of events.
    learned: what to remember once the request was delivered, such as the traits that it holds. Any: JSON.
    """

    units: tuple[Unit, ...]
    head: bytes
    learned: Mapping[str, Any] = field(default_factory=dict)

    def body(self, tail: bytes) -> bytes:
        """Return the whole body, which ends with *tail*."""
        return self.head + b",".join([part for unit in self.units for part in unit.parts]) + tail


@dataclass(frozen=True, slots=True)
class Translation:
    """The requests for some events, in the order in which they are to be sent.

    dropped: how many events became no request, by reason; gone: the same events by position, ``{position: reason}``.
    altered: how many were changed on the way, by reason.
    learned: what to remember whatever becomes of the requests. Any: JSON.
    """

    requests: tuple[Request, ...]
    dropped: Mapping[str, int]
    altered: Mapping[str, int]
    learned: Mapping[str, Any] = field(default_factory=dict)
    gone: Mapping[int, str] = field(default_factory=dict)


def pack(units: Iterable[Unit], *, max_events: int, max_bytes: int) -> Iterator[tuple[Unit, ...]]:
    """Yield groups of *units* of at most *max_events* events and *max_bytes*, decided before a unit is added.

    A unit that is larger than the limits is a group of its own: it is never split.
    """
    group: list[Unit] = []
    events = size = 0
    for unit in units:
        more = unit.size_bytes
        if group and (events + len(unit.parts) > max_events or size + more > max_bytes):
            yield tuple(group)
            group, events, size = [], 0, 0
        group.append(unit)
        events += len(unit.parts)
        size += more
    if group:
        yield tuple(group)
