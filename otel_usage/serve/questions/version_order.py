"""The order of versions, as their numbers say: 1.10 is after 1.9, and 2.0rc1 before 2.0."""

from __future__ import annotations

import re

_PART = re.compile(r"\d+|[a-z]+")
_BEFORE_RELEASE = ("dev", "a", "alpha", "b", "beta", "c", "rc", "pre", "preview", "snapshot")


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Return what a list of versions is sorted by. Any text has a place; what follows a ``+`` counts for nothing.

    >>> sorted(["1.10", "2.0", "1.9", "2.0rc1"], key=version_key)
    ['1.9', '1.10', '2.0rc1', '2.0']
    """
    key: list[tuple[int, int, str]] = []
    for part in _PART.findall(version.lower().removeprefix("v").split("+")[0]):
        if part.isdecimal():
            key.append((1, int(part), ""))
            continue
        _drop_zeros(key)
        if part in _BEFORE_RELEASE:
            # Below the end of a version that has nothing more; "dev" comes first, and the others are in alphabetical order.
            key.append((-1, _BEFORE_RELEASE.index(part), part))
        else:
            key.append((2, 0, part))
    _drop_zeros(key)
    return (*key, (0, 0, ""), (0, 0, version))  # two that are equal by number have an order, too


def _drop_zeros(key: list[tuple[int, int, str]]) -> None:
    """Take the zeros off the end: 2.0 is 2, and 2.0rc1 is 2rc1."""
    while key and key[-1] == (1, 0, ""):
        key.pop()
