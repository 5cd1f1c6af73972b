"""Remember which events were delivered, so that a redelivery is not a second event.

Ring 2 (extra ``[relay]``).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """fresh: positions to deliver now; busy: how many another request is delivering; known: how many are done."""

    fresh: tuple[int, ...]
    busy: int
    known: int


class Window:
    """The ids of the most recent events that were delivered or dropped for good: at least size / 2, at most size.

    In memory only: what was delivered just before the relay dies may be delivered again. Two sets take turns, so
    that forgetting costs nothing. Concurrency: safe in threads; an id is claimed by one request at a time.
    """

    def __init__(self, size: int) -> None:
        self._half = max(1, size // 2)
        self._recent: set[int] = set()
        self._older: set[int] = set()
        self._busy: set[int] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._recent) + len(self._older)

    def claim(self, ids: Sequence[int]) -> Claim:
        """Return which of *ids* to deliver, which then are nobody else's until `settle`. A repetition is known."""
        fresh: list[int] = []
        busy = known = 0
        mine: set[int] = set()
        with self._lock:
            recent, older, elsewhere = self._recent, self._older, self._busy
            for position, one in enumerate(ids):
                if one in recent or one in older or one in mine:
                    known += 1
                elif one in elsewhere:
                    busy += 1
                else:
                    mine.add(one)
                    fresh.append(position)
            elsewhere |= mine
        return Claim(tuple(fresh), busy, known)

    def settle(self, done: Iterable[int], again: Iterable[int]) -> None:
        """Let go of claimed ids: *done* are remembered, *again* are to be delivered another time."""
        with self._lock:
            done = set(done)
            self._busy -= done
            self._busy.difference_update(again)
            self._recent |= done
            if len(self._recent) >= self._half:
                self._recent, self._older = set(), self._recent
