"""What became of a delivery, as exporters tell the sender and the relay.

Ring 1 (background).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timezone
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER_S = 86_400.0  # as far ahead as the sender's circuit breaker looks


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the spans or data points given to an exporter's ``deliver``.

    unsent: positions, in what was given, of those to try again; all others were sent or dropped.
    retry_after_s: how long to wait before that, None if the destination did not say.
    dropped: ``{reason: how many}`` of those that will never be sent; skipped: how many were not meant for it.
    gone: ``{position: reason}`` of those dropped whose position is known, so that each program's share can be told.
    status: the last HTTP status seen, None if there was no answer. Holds no address, key or payload.
    """

    unsent: tuple[int, ...] = ()
    retry_after_s: float | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    status: int | None = None
    skipped: int = 0
    gone: Mapping[int, str] = field(default_factory=dict, compare=False)  # says no more than dropped, of whose


def retry_after_s(text: str | None, *, now_s: float | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks for, between 0 and a day; None if it can't be understood."""
    if not text:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:12])
    else:
        try:
            moment = parsedate_to_datetime(text)
            if moment.tzinfo is None:  # "-0000": UTC, of whose place nothing is said
                moment = moment.replace(tzinfo=timezone.utc)
            seconds = moment.timestamp() - (time.time() if now_s is None else now_s)
        except (ValueError, TypeError, OverflowError, OSError):
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
