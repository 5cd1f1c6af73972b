"""The file ``wake``: until when hosts start no sender.

FORMAT  ``<spool>/wake``. Its modification time is the moment before which no host starts a sender. Its content is empty; or,
        where the settings are to blame, two lines: their fingerprint (recording/fingerprint.py) and what is wrong. The second
        is empty where another version of the program is in use too, for which the pause is none.
ALGORITHM
1. A host that starts a sender sets the time a few seconds ahead (recording/sender_start.py), so that runs in quick
   succession start one sender between them.
2. A sender that finds every destination failing sets it to the end of the shortest pause: no host starts another one in
   vain. It does the same, with a fingerprint, if the settings are wrong or name no destination.
3. A host whose settings have another fingerprint starts a sender all the same: somebody may have put them right.
RACES
1. A sender and a host may set the time at once. The earlier time may win: then one sender more is started, finds its
   destinations paused, and postpones the next one again.
2. A host may read while a sender writes, and find half a fingerprint. It differs from the host's own, and a sender is started.
3. The clock may be put back. A time more than `MAX_AHEAD_S` ahead can only come from that, and is taken for none. So is one
   that was set in the future: the time of change, which is the kernel's, says so.
"""

from __future__ import annotations

import os

from .files import open_plain
from .layout import WAKE

WRONG_SETTINGS_PAUSE_S = 3600.0  # while the settings are wrong, or name no destination; ends at once when they change
MAX_AHEAD_S = 86_400.0  # no pause is longer, so that a moment further ahead is a clock that has jumped
MAX_SKEW_S = 60.0  # what was written by a clock further ahead than this is not believed


def postpone_senders(
    spool: str, until_s: float, fingerprint: str = "", problem: str = "", *, shared: bool = False
) -> None:
    """Have hosts start no sender before *until_s*; with a *problem*, only those hosts whose settings have *fingerprint*.

    shared: likewise, since another version of the program is in use too.

    >>> postpone_senders(spool, time.time() + 600)  # doctest: +SKIP
    """
    token = os.path.join(spool, WAKE)
    with open(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(f"{fingerprint}\n{problem}\n" if problem or shared else "")
    os.utime(token, (until_s, until_s))


def senders_postponed_until(spool: str, now_s: float) -> tuple[float, str]:
    """Return (until when hosts start no sender, what is wrong if the settings are to blame).

    (0, "") if the next run starts one.
    """
    token = os.path.join(spool, WAKE)
    try:
        status = os.stat(token)
        until_s = status.st_mtime if status.st_ctime < now_s + MAX_SKEW_S else 0.0
    except OSError:
        return 0.0, ""
    return (until_s, read_blamed(spool)[1]) if now_s < until_s <= now_s + MAX_AHEAD_S else (0.0, "")


def read_blamed(spool: str) -> tuple[str, str]:
    """Return (fingerprint, problem) of the settings with which a sender could not send, whether its pause is over or not."""
    try:
        with open(os.path.join(spool, WAKE), encoding="utf-8", errors="replace", opener=open_plain) as file:
            fingerprint, _, problem = file.read().partition("\n")
    except OSError:
        return "", ""
    return fingerprint, problem.strip()
