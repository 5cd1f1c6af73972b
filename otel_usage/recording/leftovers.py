"""Have what dead processes left sent, when the next run of their program begins; where nobody sends, keep it small.

Loaded where files of other processes lie in ``open/``: they may live, or have been killed.

RACE    A file's lock is asked for, never taken, so that its process does not miss it. Our own file is not opened: closing any
        descriptor of it would let go of our lock.
"""

import os

from .. import _fault, _load
from ..spool.layout import HIDDEN, OPEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .recorder import Recorder

MOST_LOOKED_AT = 16  # files: where so many processes live, one of them will start a sender


def send(recorder: "Recorder") -> None:
    """Start a sender if a process that is dead has left a file; the program goes on meanwhile, and is not kept waiting."""
    own = os.path.basename(recorder.path)
    try:
        if not hasattr(os, "lockf"):
            return
        with os.scandir(f"{recorder.spool}/{OPEN}") as entries:
            first = [entry for entry, _ in zip(entries, range(MOST_LOOKED_AT + 1))]  # noqa: B905
        if len(first) > MOST_LOOKED_AT:
            _load("recording.folders").trim_left(recorder.spool, own)
        if recorder.decision.mode == "on" and _has_dead_ones(f"{recorder.spool}/{OPEN}", first, own):
            recorder.wake(orphan=True, early=True)
    except OSError:
        _fault(expected=True)
    except Exception:
        _fault()


def _has_dead_ones(folder: str, first: "list[os.DirEntry[str]]", own: str) -> bool:
    """True if nobody holds the lock of one of the files *first* in *folder*, but for *own*."""
    for name in [entry.name for entry in first if entry.is_file(follow_symlinks=False)]:
        if name == own or name.startswith(HIDDEN):
            continue
        try:
            descriptor = os.open(f"{folder}/{name}", os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            os.lockf(descriptor, os.F_TEST, 0)
            return True
        except OSError:  # its process lives
            continue
        finally:
            os.close(descriptor)
    return False
