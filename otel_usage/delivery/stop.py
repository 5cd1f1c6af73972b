"""Whether a sender's process is to end, and how long one delivery may take.

ALGORITHM
1. A sender is told to end by SIGTERM or SIGHUP (logout, shutdown, a container that stops), or by its own alarm: no sender
   lives longer than `DEADLINE_S`. It begins nothing more, puts back what did not leave, and ends.
2. A delivery that is under way is cut short by an exception, if its destination can tell a repetition. If it can't, the one
   request that is under way may come to its end, within `GRACE_S`.
3. A delivery that takes longer than its limit is cut short in any case, whatever hangs or drips: a resolver, a proxy, an
   exporter of somebody else's.
RACES
1. A signal may come between two instructions, so `_handle` raises only between `begin` and `end` of a delivery, where an
   exception means that the answer is not known. Anywhere else it sets a flag, which is asked before each delivery.
2. A delivery may be over when the exception comes, its answer not yet read: it counts as not known. That is harmless, as with
   an answer that is lost on the way.
3. What takes no notice of any exception is ended by the system, `GRACE_S` later. That is as if it had been killed.
"""

from __future__ import annotations

import signal
import time
from types import FrameType

DEADLINE_S = 600.0  # no sender lives longer; what it leaves, the next one finds
GRACE_S = 15.0  # for a request that can't be repeated, once the process is to end


class DeliveryCutError(TimeoutError):
    """A delivery took too long, or the process is to end. An OSError, so that libraries take it for what a socket raises."""


class Stop:
    """Asked by a sender before each delivery. Without `install` nothing ever stops it: in the process of a command.

    asked: the process is to end.
    """

    def __init__(self) -> None:
        self.asked = False
        self._installed = False
        self._life_end = 0.0
        self._limit_end = 0.0  # of the delivery under way; 0: none is
        self._may_cut = False
        self._rounds = 0  # how often the alarm rang after the process was asked to end

    def install(self, life_s: float = DEADLINE_S) -> None:
        """Listen to signals from now on, and set the alarm. Concurrency: in the main thread."""
        self._installed = hasattr(signal, "setitimer")
        if not self._installed:
            return
        self._life_end = time.monotonic() + life_s
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):  # the host may have had any of them ignored
            signal.signal(number, self._handle)
        self._set_alarm()

    def begin(self, limit_s: float, *, may_cut: bool) -> None:
        """A delivery begins. may_cut: a repetition would do no harm."""
        self._may_cut = may_cut
        self._limit_end = time.monotonic() + limit_s
        self._set_alarm()

    def end(self) -> None:
        """The delivery is over."""
        self._limit_end = 0.0
        self._set_alarm()

    def _set_alarm(self) -> None:
        """Have the alarm ring at the next moment that counts."""
        if not self._installed or self._rounds:
            return
        ends = [end for end in (self._life_end, self._limit_end) if end]
        signal.setitimer(signal.ITIMER_REAL, max(min(ends) - time.monotonic(), 0.001))

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if number != signal.SIGALRM or now >= self._life_end or self._rounds:
            if self._rounds and number == signal.SIGALRM:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)  # RACE 3
            self.asked = True
            self._rounds += 1
            signal.setitimer(signal.ITIMER_REAL, GRACE_S)
            cut = self._may_cut or self._rounds > 1
        else:
            cut = now >= self._limit_end
            if not cut:  # it rang early, or for a delivery that is over
                self._set_alarm()
        if self._limit_end and cut:
            self._limit_end = 0.0
            raise DeliveryCutError("cut short")
