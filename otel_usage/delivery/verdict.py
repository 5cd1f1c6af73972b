"""What became of a delivery: the answer that exporters give to the sender and to the relay."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timezone
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER_S = 86_400.0  # as far ahead as a pause of a queue may reach

# Why a delivery failed, in one word. A closed list, so that no text of a library or of a stranger's server is in the ledger;
# an answer's status is a word too, ``http_503``.
NOT_SENT = ("dns", "refused", "tls", "proxy", "connect_timeout", "connection")  # nothing of the request has left
VALIDATED = "validated"  # in `Verdict.dropped`: the destination only checked it, as it was asked to; no loss
MAYBE_SENT = ("timeout", "lost", "fault")  # it may have arrived; "fault": an exception that nobody expected


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the spans or data points that were passed to an exporter's ``deliver``.

    A position is an index into what was passed. Every position that is in neither `unsent` nor `gone`, and is not counted in
    `dropped` or `skipped`, was sent. Holds no address, key or payload.

    unsent: positions of those to try again.
    retry_after_s: how long to wait before that, None if the destination did not say.
    dropped: ``{reason: how many}`` of those that will never be sent.
    status: the last HTTP status seen, None if there was no answer.
    skipped: how many were not meant for this destination.
    gone: ``{position: reason}`` of those in `dropped` whose position is known: the same drops, by position, so that the relay
    can tell each client which of its own were dropped.
    reason: why not everything was sent: a word of `NOT_SENT` or `MAYBE_SENT`, ``http_`` and a status, ``delta``, or "".
    wrong_settings: what is unsent waits until somebody has mended the address or the key: the answer says nothing about it.
    is_well: whatever the status, the destination is in order: it has refused these records for what they are.
    objections: what the destination objects to in the records, as codes and places; "" for nothing.

    >>> Verdict(unsent=(3, 4), retry_after_s=30.0, dropped={"too_old": 1}, status=429, gone={0: "too_old"}).status
    429
    """

    unsent: tuple[int, ...] = ()
    retry_after_s: float | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    status: int | None = None
    skipped: int = 0
    gone: Mapping[int, str] = field(default_factory=dict, compare=False)  # repeats what dropped counts
    reason: str = field(default="", compare=False)  # for people; nothing is decided by it
    objections: str = field(default="", compare=False)  # likewise
    wrong_settings: bool = False
    is_well: bool = False


def parse_retry_after(text: str | None, *, now_s: float | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks for, between 0 and a day; None if it can't be understood.

    >>> parse_retry_after("120"), parse_retry_after("soon")
    (120.0, None)
    """
    if not text:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:12])
    else:
        try:
            moment = parsedate_to_datetime(text)
            if moment.tzinfo is None:  # "-0000" means UTC; it only says nothing about the place
                moment = moment.replace(tzinfo=timezone.utc)
            seconds = moment.timestamp() - (time.time() if now_s is None else now_s)
        except (ValueError, TypeError, OverflowError, OSError):
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
