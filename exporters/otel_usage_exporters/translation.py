"""What translations are made of, and the rules for text that all vendors need.

Ring 1 (background): pure.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from math import isfinite
from typing import Any

MAX_READ = 200  # ours: characters of a name that are looked at; every vendor takes fewer
MAX_SAFE_INTEGER = 2**53 - 1  # RFC 8259, section 6: beyond it receivers disagree

# Any: JSON. Without spaces, and NaN is an error: nobody else's parser takes it.
encode_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class Unit:
    """What one span or data point became: encoded events that are sent together or not at all."""

    position: int
    parts: tuple[bytes, ...]

    @property
    def size_bytes(self) -> int:
        """Their size in a JSON list, one comma each included."""
        return sum(map(len, self.parts)) + len(self.parts)


@dataclass(frozen=True, slots=True)
class Request:
    """Units that share a request.

    head: the body's beginning, up to the list of events. learned: what to remember once it was delivered.
    """

    units: tuple[Unit, ...]
    head: bytes
    learned: Mapping[str, Any] = field(default_factory=dict)

    def body(self, tail: bytes) -> bytes:
        """Return the whole body."""
        return self.head + b",".join([part for unit in self.units for part in unit.parts]) + tail


@dataclass(frozen=True, slots=True)
class Translation:
    """Requests to send, in order; how many events became none, and what was altered in others, by reason.

    learned: what to remember whatever becomes of the requests. gone: ``{position: reason}`` of what was dropped.
    """

    requests: tuple[Request, ...]
    dropped: Mapping[str, int]
    altered: Mapping[str, int]
    learned: Mapping[str, Any] = field(default_factory=dict)
    gone: Mapping[int, str] = field(default_factory=dict)


def pack(units: Iterable[Unit], *, max_events: int, max_bytes: int) -> Iterator[tuple[Unit, ...]]:
    """Yield groups of *units* of at most *max_events* events and *max_bytes*, decided before a unit is added."""
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


def clean(text: str) -> str:
    """Return *text* with a space for each character that is not printable: controls, lone surrogates."""
    return text if text.isprintable() else "".join([c if c.isprintable() else " " for c in text])


def cut(text: str, limit: int) -> str:
    """Return the beginning of *text*, cleaned, that fits: a character beyond ASCII counts as it is URL-encoded.

    Vendors say "characters" and leave open which; this is within the limit however they count.
    """
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    if len(text) > limit:
        text = text[:limit]  # no character counts less than 1
    text = clean(text)
    if text.isascii():
        return text
    used = 0
    for at, character in enumerate(text):
        used += 1 if character < "\x80" else 3 * len(character.encode())
        if used > limit:
            return text[:at]
    return text


def comma_list(words: Sequence[str], limit: int) -> str:
    """Return as many whole *words* as fit, separated by commas."""
    whole = ",".join(words)
    if cut(whole, limit) == whole:
        return whole
    kept = ""
    for word in words:
        longer = f"{kept},{word}" if kept else word
        if len(longer) > limit or cut(longer, limit) != clean(longer):
            break
        kept = longer
    return clean(kept)


def scalar(value: object) -> str | int | float | bool | None:
    """Return *value* if a vendor can take it, None if not.

    Lists of scalars become comma lists; whole numbers beyond 2**53 become text; NaN, bytes and maps nothing.
    """
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        if abs(value) <= MAX_SAFE_INTEGER:
            return value
        return str(value) if abs(value) < 2**64 else None
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, (list, tuple)):
        words = [scalar(each) if isinstance(each, (str, int, float)) else None for each in value[:1_000]]
        return ",".join([_word(word) for word in words if word is not None]) or None
    return None


def _word(value: str | int | float | bool) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def shortened(name: str, limit: int, whole: str) -> str:
    """Return *name*, made of `start` of *whole*, cut to *limit*; what is cut ends with a digest: names stay apart."""
    if len(name) <= limit and len(whole) <= MAX_READ:
        return name
    return name[: limit - 5] + "_" + sha256(whole.encode("utf-8", "replace")).hexdigest()[:4]


def start(name: str) -> str:
    """Return as much of a name as is looked at."""
    return name[:MAX_READ]


def cached(make: Callable[[str], str]) -> Callable[[str], str]:
    """Return *make*, a pure function, remembering its results for names as people write them."""
    remembered = lru_cache(maxsize=4_096)(make)

    def made(name: str) -> str:
        return remembered(name) if len(name) <= 100 else make(name)

    made.__doc__ = make.__doc__
    return made


def distinct(name: str, taken: Mapping[str, Any], limit: int) -> str:
    """Return *name*, with ``_2``, ``_3``, … at its end if it is taken."""
    if name not in taken:
        return name
    number = 2
    while True:
        end = f"_{number}"
        other = name[: limit - len(end)] + end
        if other not in taken:
            return other
        number += 1


Altered = Counter[str]
