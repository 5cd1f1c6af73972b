"""The rules for text that all vendors need: what is cut, cleaned, shortened, and how names stay apart. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from math import isfinite
from typing import Any

MAX_READ = 200  # ours: characters of a name that are looked at; every vendor takes fewer
# Characters of a list as text: the least that any receiver takes of a value, GA4's 100, since lists that reach Segment go on
# to GA4 and others from there.
MAX_LIST = 100
MAX_WORDS = 1_000  # ours: items of a list that are looked at
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


def flat(recorded: Mapping[str, object], altered: Counter[str]) -> Iterator[tuple[str, str | int | float | bool]]:
    """Yield (name, value) of all in *recorded* that every vendor takes, and of no list: Segment's GA4 destination refuses an
    event for one, and RudderStack's makes as many parameters of it.

    A list becomes two: the text of its whole words that fit, separated by commas, and ``<name>_count``, how many there are.
    altered: what is left out is counted there, as cut or value.

    >>> list(flat({"options": ("--format", "--quiet")}, Counter()))
    [('options', '--format,--quiet'), ('options_count', 2)]
    """
    for name, value in recorded.items():
        if isinstance(value, (list, tuple)):
            words = [word for word in map(_word, value[:MAX_WORDS]) if word]
            text = comma_list(words, MAX_LIST)
            if len(words) < len(value):
                altered["value"] += 1
            if text != ",".join(words):
                altered["cut"] += 1
            if text:
                yield name, text
            yield name + "_count", len(value)
            continue
        plain = scalar(value)
        if plain is None:
            altered["value"] += 1
        else:
            yield name, plain


def scalar(value: object) -> str | int | float | bool | None:
    """Return *value* if a vendor can take it, None if not: lists, maps, bytes, NaN. Whole numbers beyond 2**53 become text."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        if abs(value) <= MAX_SAFE_INTEGER:
            return value
        return str(value) if abs(value) < 2**64 else None
    if isinstance(value, float):
        return value if isfinite(value) else None
    return None


def _word(value: object) -> str:
    """Return an item of a list as text, "" if it is none that a vendor could take."""
    if isinstance(value, bool):
        return "true" if value else "false"
    plain = scalar(value)
    return "" if plain is None else str(plain)[: MAX_LIST + 1]


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
