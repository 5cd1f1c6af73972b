"""Put facts into words for people: modes, who decided, times, amounts."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

MODE_MEANINGS = {
    "on": "recorded and sent",
    "local": "kept on this machine, never sent",
    "off": "nothing is recorded, kept or sent",
    "log": "printed at the end of each run, never sent",
}


def who(layer: str, source: str, value: str = "") -> str:
    """Return in words who decided, or who says something: ``DO_NOT_TRACK=1 in the environment``.

    layer, source: as in `Decision` and `Statement`. value: what the variable *source* holds, if it is one.
    """
    if layer == "flag":
        return f"the option {source}"
    if layer == "environment":
        return f"{source}{'=' + value if value else ''} in the environment"
    if layer == "machine":
        return f"{source}, for everybody on this machine"
    if layer == "host":
        return f"what was decided for {source}, the program that it was last a part of"
    if layer == "nowhere":
        return "nobody: there is no home folder"
    if layer == "stored":
        return f"your choice, kept in {_abbreviate_home(source)}"
    return {
        "opt-in": "the program's default: nothing until you say on",
        "opt-out": "the program's default: on, from the run after the one that shows its notice",
        "ask": "the program's default: nothing until you have said yes",
        "host": "the program that it is a part of, where that uses otel-usage: it has not said yes",
        "CI": "a CI system: nothing without an explicit on",
        "test runner": "a test runner: nothing without an explicit on",
    }.get(source, source)


def _abbreviate_home(path: str) -> str:
    user_home = os.path.expanduser("~")
    return "~" + path[len(user_home) :] if user_home != "/" and path.startswith(user_home + "/") else path


def iso_time(unix_s: float) -> str | None:
    """Return a time as programs read it, ``2026-11-26T09:30:00Z``; None for 0, which stands for "never"."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_s)) if unix_s else None


def readable_time(iso: str | None) -> str:
    """Return a time of `iso_time` as people read it, ``2026-11-26 09:30:00 UTC``; "" for None."""
    return (iso or "").replace("T", " ").replace("Z", " UTC")


def count_of(n: int, noun: str) -> str:
    """Return a number with its noun: ``1 record``, ``1,200 records``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def amount_in_words(amount: Mapping[str, Any]) -> str:
    """Return an amount of `status.amount_of` in words: ``3 records (1.2 kB), the oldest of …``."""
    if not amount["files"]:
        return "nothing"
    size = f"{amount['bytes'] / 1000:.1f} kB" if amount["bytes"] < 1_000_000 else f"{amount['bytes'] / 1e6:.1f} MB"
    return f"{count_of(amount['records'], 'record')} ({size}), the oldest of {readable_time(amount['oldest'])}"
