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
import re
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterator

from ..recording.folders import is_users
from . import layout
from .files import list_folder
from .layout import DISCARDED, PROBE

# What we make in an app's folder, and in its spool. Nothing else is ever removed: the folder may be a link to another one.
_IN_HOME = {layout.CONSENT, layout.HOST, layout.ID, layout.CLUSTER, layout.SETTINGS, layout.LEDGER, layout.OLDER_LEDGER}
_IN_SPOOL = {
    layout.OPEN, layout.NEW, layout.CELLS, layout.STARTS, layout.BEATS,
    layout.WAKE, layout.LOCK, layout.BATCH, layout.BATCH_DONE, layout.DROPPED, layout.TRIMMED, layout.BAD,
    layout.QUEUE, layout.LOCAL,
}  # fmt: skip
# Of an exporter that remembers something, and what its writer leaves when it dies. It is 0600, as few files of others are.
_MEMORY = re.compile(r"[a-z0-9_-]+\.json(\.[0-9]+\.[0-9]+)?")

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


def list_strangers(folder: str) -> list[str]:
    """Return the names of what is in an app's *folder* and is not ours."""
    return sorted(name for name in list_folder(folder) if not _is_ours(folder, name))


def _is_ours(folder: str, name: str) -> bool:
    path = os.path.join(folder, name)
    name = name.removesuffix(layout.PART)
    choice, _, process = name.partition(".")
    return (
        name in _IN_HOME
        or name.isdigit()  # a spool: the number of its format
        or name.startswith((DISCARDED, PROBE))
        or (choice in (layout.CONSENT, layout.ID, layout.CLUSTER) and process.isdigit())  # of a writer that was killed
        or (_MEMORY.fullmatch(name) is not None and stat.S_IMODE(os.lstat(path).st_mode) == 0o600)
    )


def _list_ours(folder: str) -> Iterator[str]:
    """Yield the paths of what is ours in an app's *folder*; a spool in parts, if something else lies in it."""
    for name in list_folder(folder):
        if name.isdigit():
            inside = list_folder(os.path.join(folder, name))
            ours = [inner for inner in inside if inner.removesuffix(layout.PART) in _IN_SPOOL]
            if len(ours) < len(inside):
                yield from [os.path.join(name, inner) for inner in ours]
                continue
        if _is_ours(folder, name):
            yield name


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
        if hasattr(os, "geteuid"):
            foreign = os.stat(above).st_uid != os.geteuid() and os.geteuid() == 0
            if foreign or (above == folder and not is_users(folder)):
                return "it is another user's, or a link that another user made"
        probe = os.path.join(above, f"{PROBE}{os.getpid()}")
        os.mkdir(probe, 0o700)
        try:
            if not _can_lock(os.path.join(probe, layout.LOCK)):
                return "files can't be locked on that file system; set OTEL_USAGE_HOME to a folder on a local disk"
        finally:
            os.rmdir(probe)
    except OSError as exc:
        return explain_os_error(exc)
    return ""


def _can_lock(path: str) -> bool:
    """Try to lock a file that is made for that at *path*. Raises OSError if it can't be made."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.lockf(descriptor, os.F_TLOCK, 0)
    except OSError:
        return False
    finally:
        os.close(descriptor)
        os.unlink(path)
    return True


def clear_folder(folder: str, keep: Collection[str], stop: Callable[[], None]) -> None:
    """Remove all that is ours in an app's *folder* but the names in *keep*, until nothing new appears.

    stop: ends the sender that works in the folder; called before each round. Raises OSError: also if the folder is
    another user's, or a link that another user made.
    """
    if os.path.lexists(folder) and hasattr(os, "geteuid") and not is_users(folder):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), folder)
    for _ in range(TRIES):
        names = [name for name in _list_ours(folder) if name not in keep]
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
