"""The rules for text that all vendors need: what is cut, cleaned, shortened, and how names stay apart. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from math import isfinite
from typing import Any

MAX_READ = 200  # ours: characters of a name that are looked at; every vendor takes fewer
MAX_SAFE_INTEGER = 2**53 - 1  # RFC 8259, section 6: beyond it receivers disagree

# Any: JSON. Without spaces, and NaN is an error: nobody else's parser takes it.
encode_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


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
    joined = ""
    for word in words:
        longer = f"{joined},{word}" if joined else word
        if len(longer) > limit or cut(longer, limit) != clean(longer):
            break
        joined = longer
    return clean(joined)


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
    """Return *name* within *limit* characters. What had to be cut ends with a digest of *whole*, so that names stay apart.

    name: what was made of `truncate` of *whole*, by a vendor's rules. whole: the name as it was declared.
    """
    if len(name) <= limit and len(whole) <= MAX_READ:
        return name
    return name[: limit - 5] + "_" + sha256(whole.encode("utf-8", "replace")).hexdigest()[:4]


def truncate(name: str) -> str:
    """Return the first `MAX_READ` characters of *name*: no rule looks at more, so that a huge name costs little."""
    return name[:MAX_READ]


def cached(rule: Callable[[str], str]) -> Callable[[str], str]:
    """Return *rule*, a pure function of a name, with its results remembered for names as people write them.

    A name of more than 100 characters is not remembered: 4,096 of them could fill the memory.
    """
    cached_rule = lru_cache(maxsize=4_096)(rule)

    def apply(name: str) -> str:
        return cached_rule(name) if len(name) <= 100 else rule(name)

    apply.__doc__ = rule.__doc__
    return apply


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
