"""Remove what an app has on disk, while its programs go on running.

ALGORITHM
1. The user's choice is stored first (consent/choice.py), so that programs which start from now on write nothing.
2. `clear_folder` removes everything but the choice, and looks again after `SETTLE_S`, until a look finds nothing.
3. A folder is moved to a name that nobody knows before it is emptied. A program that wants to put a file into it then finds
   no folder of the old name: it fails, and fails silently.
RACES
1. A program that had read the choice before it was changed may begin its run meanwhile, and make the folders anew: the next
   look removes them. If `TRIES` looks in a row found something new, the user is told to try again.
2. A program may put a file into a folder just as it is moved. Then the folder is not empty when it is to be removed, and
   `discard` empties it again: nobody finds the folder any more, so this ends.
3. Two users' commands may remove the same things: what one of them does not find, the other has removed.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Collection

from .files import list_folder
from .layout import DISCARDED, PROBE

TRIES = 20
SETTLE_S = 0.1  # a program that had read the choice before it was changed may begin its run within this

ADVICE = {
    errno.EACCES: "look at who owns it",
    errno.EPERM: "look at who owns it",
    errno.EROFS: "it can only be read there",
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.ENOTEMPTY: "programs keep writing there; try again once they have ended",
    errno.EEXIST: "something else is in the way",
    errno.ENOTDIR: "something else is in the way",
    errno.ENOENT: "no folder can be made there; set OTEL_USAGE_HOME, or HOME, to where one can",
}


def explain_os_error(exc: OSError) -> str:
    """Return what stood in the way, and what to do about it: ``Permission denied: look at who owns it``."""
    if exc.errno is None:  # raised by consent.choice.store_choice, under sudo
        return "it would be root's, in another user's folder; do it as that user"
    advice = ADVICE.get(exc.errno)
    return f"{exc.strerror}" + (f": {advice}" if advice else "")


def find_obstacle(folder: str) -> str:
    """Return why no file can be made in *folder*, which need not exist; "" if one can. Leaves no trace."""
    above = folder
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    try:
        owner = os.stat(above).st_uid
        if hasattr(os, "geteuid") and owner != os.geteuid() and (above == folder or os.geteuid() == 0):
            return "it is another user's"
        probe = os.path.join(above, f"{PROBE}{os.getpid()}")
        os.mkdir(probe, 0o700)
        os.rmdir(probe)
    except OSError as exc:
        return explain_os_error(exc)
    return ""


def clear_folder(folder: str, keep: Collection[str], stop: Callable[[], None]) -> None:
    """Remove all that is in *folder* but the names in *keep*, until nothing new appears.

    stop: ends the sender that works in the folder; called before each round. Raises OSError.
    """
    for _ in range(TRIES):
        names = [name for name in list_folder(folder) if name not in keep]
        if not names:
            return
        stop()
        for name in names:
            discard(folder, name)
        time.sleep(SETTLE_S)
    raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), folder)


def discard(folder: str, path: str) -> None:
    """Remove *path*, relative to *folder*, if it is there: a file, a link or a folder with all that it holds.

    See ALGORITHM 3 and RACE 2 for how a folder is removed into which programs still write. Raises OSError.
    """
    doomed = os.path.join(folder, path)
    try:
        if os.path.islink(doomed) or not os.path.isdir(doomed):
            os.unlink(doomed)
            return
        if not path.startswith(DISCARDED):  # else an earlier removal was cut off after the renaming
            former, doomed = doomed, os.path.join(folder, f"{DISCARDED}{os.getpid()}-{time.monotonic_ns()}")
            os.rename(former, doomed)
    except FileNotFoundError:  # somebody else removes it too
        return
    for n in range(TRIES):
        try:
            shutil.rmtree(doomed)
            return
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ENOTEMPTY) or n == TRIES - 1:
                raise
            if not os.path.lexists(doomed):
                return
