"""Which events the store has: the ids of the latest in memory, of all others in the table.

ALGORITHM
  1. The window holds the ids of the latest events that were stored, up to *size*, and knows since when it holds all:
     the `since_us` of the oldest commit in it.
  2. An id in the window is known. One that is not, of an event which began at or after `since_us`, is new: had it come
     before, it would have come after it began, so it would be in the window.
  3. An older one, which waited at its client, is looked for in the table (writer.py).
  What is left: the clock of a client is ahead by more than the window reaches back, and its event comes again after that
  long. At 100 million events a year half a million are two days.
FORGETTING takes no search: ids are in two sets, and when the newer one has half of *size* it becomes the older one.
"""

from __future__ import annotations

from collections.abc import Iterable

# Ids are of one table: each has a range of its own in the window.
OFFSETS = {"events": 0, "counts": 1 << 64, "drops": 2 << 64}


class IdWindow:
    """Concurrency: used by the writer's thread alone. since_us: see ALGORITHM; everything before *since_us* may be unknown."""

    def __init__(self, size: int, since_us: int) -> None:
        self._half = max(1, size // 2)
        self._recent: set[int] = set()
        self._older: set[int] = set()
        self._recent_since_us = since_us
        self.since_us = since_us

    def __len__(self) -> int:
        return len(self._recent) + len(self._older)

    def __contains__(self, one: int) -> bool:
        return one in self._recent or one in self._older

    def add(self, ids: Iterable[int], received_us: int) -> None:
        """Remember *ids*, with their tables' offsets: those of one commit at *received_us*, all at once."""
        if len(self._recent) >= self._half:
            self._older, self._recent = self._recent, set()
            self.since_us, self._recent_since_us = self._recent_since_us, received_us
        self._recent.update(ids)
