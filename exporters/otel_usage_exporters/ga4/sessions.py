"""Which session an event belongs to, in whatever order events come. Pure.

GA4 takes the number of a session with each event, and never changes it afterwards. So the first event of a session that we
hear of gives it its number, and all others that belong to it must get the same one, whether they are later or earlier.

FORMAT     What is remembered of a client: a list of whole numbers, three for each session, that which was used last at the end:

               number   Unix seconds of the event that was heard of first; after the first session, less the number before it
               before   seconds from the session's earliest event to its number
               after    seconds from its number to its latest event

           So one session is ``[1764170000, 0, 500]``. What is no such list counts as none.

ALGORITHM  1. An event belongs to the session that it lies in, or to the nearest that it is at most 30 minutes away from; that
              session then reaches as far as the event. Otherwise it begins a session, and its second is the number.
           2. The `MAX_SESSIONS` that were used last are remembered, and none that no event can belong to any more.

WHAT HOLDS Events in the order in which they happened get the sessions that GA4's own rule gives them: one ends after 30
           minutes without an event. In any other order two events of different sessions never get one number, and a session
           that took no longer than 30 minutes gets one number, as long as no more than `MAX_SESSIONS` others were heard of
           meanwhile. One that took longer may be counted once more for each full 30 minutes that it took, where its parts
           come in the wrong order: what joins them comes when both have been sent.
"""

from __future__ import annotations

from typing import Any

SESSION_S = 30 * 60  # GA4's default session timeout
MAX_SESSIONS = 16  # remembered of a client; of 72 hours


class Sessions:
    """The sessions of one client.

    remembered: what `to_remember` returned, or anything: then there are none. Any: JSON.
    """

    def __init__(self, remembered: Any) -> None:
        self._spans: list[tuple[int, int, int]] = []  # (number, first, last); that which was used last at the end
        numbers = remembered if isinstance(remembered, list) and len(remembered) % 3 == 0 else []
        if len(numbers) <= 3 * MAX_SESSIONS and all(type(one) is int for one in numbers):
            number = 0
            for at in range(0, len(numbers), 3):
                number += numbers[at]
                self._spans.append((number, number - numbers[at + 1], number + numbers[at + 2]))

    def number_of(self, at_s: int) -> int:
        """Return the number of the session of an event at that time, in Unix seconds, and remember it."""
        at_s = max(at_s, 1)
        nearest, distance = -1, SESSION_S + 1
        for index, (_, first, last) in enumerate(self._spans):
            away = max(first - at_s, at_s - last, 0)
            if away < distance:
                nearest, distance = index, away
        if nearest < 0:
            session = (at_s, at_s, at_s)
        else:
            number, first, last = self._spans.pop(nearest)
            session = (number, min(first, at_s), max(last, at_s))
        self._spans.append(session)
        del self._spans[:-MAX_SESSIONS]
        return session[0]

    def to_remember(self, oldest_s: int) -> list[int]:
        """Return what to remember, but for sessions that no event at *oldest_s* or later can belong to."""
        numbers: list[int] = []
        before = 0
        for number, first, last in self._spans:
            if last + SESSION_S >= oldest_s:
                numbers += (number - before, number - first, last - number)
                before = number
        return numbers
