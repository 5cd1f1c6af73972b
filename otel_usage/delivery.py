"""What became of a delivery, as exporters tell the sender and the relay.

Ring 1 (background).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the spans or data points given to an exporter's ``deliver``.

    unsent: positions, in what was given, of those to try again; all others were sent or dropped.
    retry_after_s: how long to wait before that, None if the destination did not say.
    dropped: ``{reason: how many}`` of those that will never be sent; skipped: how many were not meant for it.
    status: the last HTTP status seen, None if there was no answer. Holds no address, key or payload.
    """

    unsent: tuple[int, ...] = ()
    retry_after_s: float | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    status: int | None = None
    skipped: int = 0
