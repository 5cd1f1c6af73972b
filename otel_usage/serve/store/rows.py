"""Rows as the writer takes them: what each event has of its own, and what it shares with many others.

Binding a value to a statement costs about as much as all else about it, and a row has 26. But events of one release and
command differ in five of them only, so the others are bound once for each batch: see writer.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from .tables import names_of

OWN = ("at", "installation", "duration_us", "event")  # of each event; ``received`` is the writer's
SHARED = tuple(name for name in names_of("events") if name not in (*OWN, "received"))

_POSITIONS = {name: position for position, name in enumerate(names_of("events"))}
_SHARED_POSITIONS = [_POSITIONS[name] for name in SHARED]
_EPOCH = datetime(1970, 1, 1)

# Any: text, number, boolean or list, as the column's type says.
Shape = tuple[Any, ...]  # the values of SHARED, in order


class EventRow(NamedTuple):
    """One event. at_us: UTC, since the epoch. shape: one object for all events that share it, as far as that is known."""

    at_us: int
    installation: str | None
    duration_us: int
    event: int
    shape: Shape


class CountRow(NamedTuple):
    """One data point of a declared counter."""

    at_us: int
    app: str
    name: str
    installation: str | None
    ephemeral: bool
    version: str
    ci: bool
    surface: str
    amount: int
    fields: dict[str, str]
    point: int


class DropRow(NamedTuple):
    """Records that a program could not send."""

    at_us: int
    app: str
    reason: str
    version: str
    amount: int
    point: int


def rows_from_columns(rows: Iterable[Sequence[Any]]) -> list[EventRow]:
    """Return rows of ``events``, each a sequence of values in the order of its columns, as the writer takes them.

    Any: of the column's type in Python. ``at`` is a naive datetime in UTC; ``received`` is not looked at, as the writer sets it.
    """
    shapes: dict[str, Shape] = {}
    result = []
    for row in rows:
        shape = tuple(row[position] for position in _SHARED_POSITIONS)
        shape = shapes.setdefault(repr(shape), shape)
        installation = row[_POSITIONS["installation"]]
        result.append(
            EventRow(
                microseconds_of(row[_POSITIONS["at"]]),
                None if installation is None else str(installation),
                row[_POSITIONS["duration_us"]],
                row[_POSITIONS["event"]],
                shape,
            )
        )
    return result


def microseconds_of(moment: datetime) -> int:
    """Return *moment* in microseconds since the epoch. A naive one is in UTC.

    >>> microseconds_of(datetime(1970, 1, 1, 0, 0, 1))
    1000000
    """
    if moment.tzinfo is not None:
        moment = moment.astimezone(timezone.utc).replace(tzinfo=None)
    passed = moment - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds
