"""What the log says of requests that are lost, of destinations and of handshakes that fail: each at most once a minute.

The log is for the operator. Clients can cause either as often as they like, and must not be able to fill a disk.
Used from the event loop only.
"""

from __future__ import annotations

import logging
import time
from enum import Enum

from .outcome import RelayOutcome

log = logging.getLogger("otel_usage.relay")

LOG_INTERVAL_S = 60.0


class HandshakeFailure(Enum):
    """Why a handshake ended without a connection. The values are words of metrics."""

    NOT_TLS = "not_tls"  # its first bytes are no hello of usual size
    REFUSED = "refused"  # by OpenSSL, or by the client: no common version, a certificate that is not trusted
    TOO_LONG = "too_long"  # in time or in bytes
    LEFT = "left"  # the client has begun, and closed the connection
    NO_ROOM = "no_room"  # it had to make way for others


HANDSHAKE_FAILURES = {
    HandshakeFailure.NOT_TLS: "a client does not speak TLS, or announces a message that is too large",
    HandshakeFailure.REFUSED: "TLS of the client and of the relay do not agree, or the client refuses the certificate",
    HandshakeFailure.TOO_LONG: "a client took too long, or sent too much",
    HandshakeFailure.LEFT: "a client went away in the middle of it",
    HandshakeFailure.NO_ROOM: "others needed its place",
}


class _OncePerInterval:
    """Lets one line of each kind pass in `LOG_INTERVAL_S`, and counts the others."""

    def __init__(self) -> None:
        self._last: dict[int | str, tuple[float, int]] = {}  # {kind: (when one passed, how many have not since)}

    def admit(self, kind: int | str) -> str | None:
        """Return None if a line of that kind is not to be logged, else what to end it with."""
        logged_at_s, n_since = self._last.get(kind, (float("-inf"), 0))
        now = time.monotonic()
        if now - logged_at_s < LOG_INTERVAL_S:
            self._last[kind] = (logged_at_s, n_since + 1)
            return None
        self._last[kind] = (now, 0)
        return f", and {n_since} more since it was last said" if n_since else ""


class RefusalLog:
    """Warns of requests that clients will not send again: their records are lost."""

    def __init__(self) -> None:
        self._lines = _OncePerInterval()

    def warn(self, status: int, why: str) -> None:
        """Log that a request was refused with *status*, unless it was logged a moment ago or the client tries again."""
        if status in (408, 429, 503):
            return
        more = self._lines.admit(status)
        if more is not None:
            log.warning("refused a request for good, its data is lost: HTTP %d, %s%s", status, why, more)


class HandshakeLog:
    """Says that TLS handshakes fail: a certificate that clients do not trust shows nowhere else."""

    def __init__(self) -> None:
        self._lines = _OncePerInterval()

    def warn(self, failure: HandshakeFailure) -> None:
        """Log that a handshake failed, unless it was logged a moment ago."""
        more = self._lines.admit(failure.value)
        if more is not None:
            log.warning("a TLS handshake failed: %s%s", HANDSHAKE_FAILURES[failure], more)


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
