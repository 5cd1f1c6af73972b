"""What became of a request's records, and of which share of a delivery made for several requests."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from otel_usage.delivery.verdict import MAYBE_SENT, NOT_SENT, Verdict

from .received import Received
from .window import Claim

MEND_S = 60.0  # until a client asks again whether a destination's address or key has been mended
REASONS = frozenset((*NOT_SENT, *MAYBE_SENT))
_HTTP_REASON = re.compile(r"http_[1-5][0-9]{2}")


@dataclass(frozen=True, slots=True)
class RelayOutcome:
    """What became of one request. All numbers are about the request's own spans or data points.

    sent: delivered now.
    known: delivered before.
    again: the client is to send them once more, with the whole request; of these, busy: another request is
    delivering them.
    retry_after_s: how long the client is to wait before that, None if the destination did not say.
    dropped: ``{reason: how many}`` that will never be delivered.
    skipped: not meant for the destination, and no loss.
    status: the destination's last HTTP status, None if there was no answer.
    reason: why not all was delivered, in a word: see `otel_usage.delivery.verdict`.
    failed: the exporter raised, and what it had is dropped.
    explanation: why it is to come again, for the client; "" if that is the destination's affair.
    """

    sent: int = 0
    known: int = 0
    again: int = 0
    busy: int = 0
    retry_after_s: float | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    skipped: int = 0
    status: int | None = None
    reason: str = ""
    failed: bool = False
    explanation: str = ""


def name_reason(verdict: Verdict) -> str:
    """Return why a delivery failed, in a word of a closed list: it is a label of a metric. "" if nobody says."""
    reason = verdict.reason or (f"http_{verdict.status}" if verdict.status and verdict.status >= 300 else "")
    return reason if not reason or reason in REASONS or _HTTP_REASON.fullmatch(reason) else "other"


def count_rejected(received: Received, outcome: RelayOutcome) -> dict[str, int]:
    """Return ``{reason: how many}`` of a request's records that will never be delivered.

    Some were rejected when the request was decoded, others dropped when it was delivered.
    """
    rejected = {**received.rejected}
    for reason, n in outcome.dropped.items():
        rejected[reason] = rejected.get(reason, 0) + n
    return rejected


def split_verdict(claims: Sequence[Claim], verdict: Verdict) -> list[RelayOutcome]:
    """Return one outcome for each claim. verdict: about the fresh records of all *claims*, one after the other.

    An exporter may tell how many it dropped or skipped, and not which. Then nobody knows whose they were, and the
    first claims get them: the sum over all outcomes is right.
    """
    unsent = set(verdict.unsent)
    unplaced = Counter(verdict.dropped)  # drops of which no position is known
    unplaced.subtract(verdict.gone.values())
    skipped_left = verdict.skipped
    wait_s = verdict.retry_after_s
    if wait_s is None and verdict.wrong_settings:
        wait_s = MEND_S
    outcomes, start = [], 0
    for claim in claims:
        own = range(start, start + len(claim.fresh))
        start = own.stop
        again = len(unsent.intersection(own)) if unsent else 0
        dropped = Counter([verdict.gone[position] for position in own if position in verdict.gone])
        unexplained = len(own) - again - dropped.total()
        for reason, n in unplaced.items():
            share = max(0, min(n, unexplained))
            if share:
                dropped[reason] += share
                unplaced[reason] -= share
                unexplained -= share
        skipped = max(0, min(skipped_left, unexplained))
        skipped_left -= skipped
        outcomes.append(
            RelayOutcome(
                sent=max(0, unexplained - skipped),
                known=claim.known,
                again=again + claim.busy,
                busy=claim.busy,
                retry_after_s=wait_s,
                dropped=dict(dropped),
                skipped=skipped,
                status=verdict.status,
                reason=name_reason(verdict),
            )
        )
    return outcomes
