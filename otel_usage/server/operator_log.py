"""What the log says of requests that are lost and of destinations that fail: each at most once a minute.

The log is for the operator. Clients can cause either as often as they like, and must not be able to fill a disk.
Used from the event loop only.
"""

from __future__ import annotations

import logging
import time

from .outcome import RelayOutcome

log = logging.getLogger("otel_usage.relay")

LOG_INTERVAL_S = 60.0


class RefusalLog:
    """Warns of requests that clients will not send again: their records are lost."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[float, int]] = {}  # {status: (when the log mentioned it, how many since)}

    def warn(self, status: int, why: str) -> None:
        """Log that a request was refused with *status*, unless it was logged a moment ago or the client tries again."""
        if status in (408, 429, 503):
            return
        logged_at_s, n_since = self._last.get(status, (float("-inf"), 0))
        now = time.monotonic()
        if now - logged_at_s < LOG_INTERVAL_S:
            self._last[status] = (logged_at_s, n_since + 1)
            return
        self._last[status] = (now, 0)
        more = f", and {n_since} more since it was last said" if n_since else ""
        log.warning("refused a request for good, its data is lost: HTTP %d, %s%s", status, why, more)


class DestinationLog:
    """Warns when a destination stops taking what it gets, and says when it delivers again.

    failing: True if the last delivery left something to be sent again.
    """

    def __init__(self, destination: str) -> None:
        self._destination = destination
        self.failing = False
        self._warned = False  # the log's last word is that it fails
        self._warned_at_s = float("-inf")  # on the monotonic clock

    def update(self, outcome: RelayOutcome) -> None:
        """Take note of what became of one request."""
        if outcome.again > outcome.busy:
            self._warn(outcome)
            self.failing = True
        elif outcome.sent and self.failing:
            self.failing = False
            if self._warned:
                self._warned = False
                log.info("%s: delivers again", self._destination)

    def _warn(self, outcome: RelayOutcome) -> None:
        now = time.monotonic()
        # A destination that comes and goes is in the log once an interval.
        if self.failing or now - self._warned_at_s < LOG_INTERVAL_S:
            return
        status = outcome.status if outcome.status is not None and outcome.status >= 300 else None
        cause = f"HTTP {status}" if status else outcome.reason or "no answer in time"
        log.warning("%s: can't deliver (%s); clients are told to try again", self._destination, cause)
        self._warned_at_s, self._warned = now, True
