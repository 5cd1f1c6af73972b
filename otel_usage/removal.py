"""Remove what an app keeps, while its programs go on running.

Ring 1 (background).
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Collection

from .queue import entries

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


def why(exc: OSError) -> str:
    """Return what stood in the way, and what to do about it."""
    if exc.errno is None:  # ours: see `spool.own`
        return "it would be root's, in another user's folder; do it as that user"
    advice = ADVICE.get(exc.errno)
    return f"{exc.strerror}" + (f": {advice}" if advice else "")


def obstacle(folder: str) -> str:
    """Return why nothing can be kept in *folder*, which need not be there; "" if something can. Leaves nothing."""
    above = folder
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    try:
        owner = os.stat(above).st_uid
        if hasattr(os, "geteuid") and owner != os.geteuid() and (above == folder or os.geteuid() == 0):
            return "it is another user's"
        probe = os.path.join(above, f".otel-usage-{os.getpid()}")
        os.mkdir(probe, 0o700)
        os.rmdir(probe)
    except OSError as exc:
        return why(exc)
    return ""


def clear(folder: str, keep: Collection[str], stop: Callable[[], None]) -> None:
    """Remove all that is in *folder* but *keep*, until nothing new appears. stop: ends who works in it. Raises OSError."""
    for _ in range(TRIES):
        found = [name for name in entries(folder) if name not in keep]
        if not found:
            return
        stop()
        for name in found:
            discard(folder, name)
        time.sleep(SETTLE_S)
    raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), folder)


def discard(folder: str, path: str) -> None:
    """Remove *path*, relative to *folder*, if it is there. Raises OSError.

    A folder is first moved to a name that nobody knows: what programs want to put into it finds no place, so that it
    gets empty, and stays so. Who was about to put something there as it was moved makes us look once more.
    """
    whole = os.path.join(folder, path)
    try:
        if os.path.islink(whole) or not os.path.isdir(whole):
            os.unlink(whole)
            return
        if not path.startswith(".gone-"):
            whole, place = os.path.join(folder, f".gone-{os.getpid()}-{time.monotonic_ns()}"), whole
            os.rename(place, whole)
    except FileNotFoundError:  # somebody else removes it too
        return
    for n in range(TRIES):
        try:
            shutil.rmtree(whole)
            return
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ENOTEMPTY) or n == TRIES - 1:
                raise
            if not os.path.lexists(whole):
                return
