"""Wrong tokens of viewers: how many are answered one by one, of one address and of all.

ALGORITHM  Each address may be wrong `EACH` times at once, and gets one time back every `BACK_S`; all together `TOGETHER` times as
           often. Beyond that a wrong token is answered 429, in a line, and costs next to nothing.
RACES      None: it is used from the event loop only.

A right token is taken all the same. Otherwise whoever guesses could lock out its owner, who may come from the same address, such
as that of a proxy. So this saves work, and it is the length of tokens that makes guessing hopeless: see `access.MIN_TOKEN`.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable

EACH = 10
BACK_S = 6.0
TOGETHER = 10
MAX_ADDRESSES = 4_096  # that are remembered, those of IPv6 by their first half; beyond, all share what all together may
_ALL = ""


class Guesses:
    """Counts wrong tokens. clock: seconds that only go forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._settled_s: dict[str, float] = {}  # {address: when all its times are back}

    def add(self, address: str) -> bool:
        """Count a wrong token that came from *address*; return True if there were too many lately."""
        now = self._clock()
        own = _network_of(address)
        if own not in self._settled_s and len(self._settled_s) > MAX_ADDRESSES:
            self._settled_s = {one: settled_s for one, settled_s in self._settled_s.items() if settled_s > now}
        spent = [self._spend(_ALL, BACK_S / TOGETHER, EACH * TOGETHER, now)]
        if own in self._settled_s or len(self._settled_s) <= MAX_ADDRESSES:
            spent.append(self._spend(own, BACK_S, EACH, now))
        return not all(spent)

    def _spend(self, who: str, back_s: float, times: int, now: float) -> bool:
        """Take one of the times of *who*; False if none is left."""
        settled_s = max(now, self._settled_s.get(who, now)) + back_s
        if settled_s - now > times * back_s:
            return False
        self._settled_s[who] = settled_s
        return True


def _network_of(address: str) -> str:
    """Return whose *address* it is: of IPv6 one customer has 2**64 of them."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address
