"""Put out of the way what is not as it should be, wherever it lies in the spool, so that nothing stops deliveries for ever.

ALGORITHM
1. A sender begins with `clear_way`: where a file of ours has its place there is a plain file or nothing afterwards, and where
   a folder has its place, a folder or nothing.
2. What is in the way goes into ``bad/``, as long as there are fewer than `MAX_BAD` there. Beyond that files are removed, and
   folders, which may hold something of somebody else's, are renamed where they are.
3. What can neither be moved nor removed stays. Whoever met it passes over it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from .layout import (
    BAD,
    BATCH,
    BATCH_DONE,
    CELLS,
    DROPPED,
    FLIGHT,
    LOCK,
    NEW,
    OPEN,
    PAUSE,
    QUEUE,
    TRIMMED,
    WAIT,
    WAKE,
)

MAX_BAD = 100  # what bad/ holds


def set_aside(spool: str, path: str) -> bool:
    """Move *path*, whatever it is, into ``bad/``, or remove it if that is full. False if it can't be done."""
    bad = os.path.join(spool, BAD)
    try:
        if not os.path.isdir(bad):
            if os.path.lexists(bad):
                os.rename(bad, f"{bad}-{time.time_ns():x}")
            os.mkdir(bad, 0o700)
        is_folder = os.path.isdir(path) and not os.path.islink(path)
        name = os.path.join(bad, os.path.basename(path))
        if os.path.lexists(name):
            name += f"-{time.time_ns():x}"
        if len(os.listdir(bad)) < MAX_BAD:
            os.rename(path, name)
        elif is_folder:
            os.rename(path, f"{path}-{time.time_ns():x}")
        else:
            os.unlink(path)
    except FileNotFoundError:
        return not os.path.lexists(path)
    except OSError:
        try:
            os.unlink(path)  # no room for another name
        except OSError:
            return False
    return True


def clear_way(home: str, spool: str, names: Iterable[str], destinations: Iterable[str]) -> None:
    """See to it that nothing else has the place of a file or a folder that a sender needs.

    names: of files in the home. destinations: names of queues.
    """
    files = [os.path.join(home, name) for name in names]
    files += [os.path.join(spool, name) for name in (LOCK, WAKE, BATCH, BATCH_DONE, DROPPED, TRIMMED)]
    folders = [os.path.join(spool, name) for name in (NEW, OPEN, CELLS, QUEUE)]
    for destination in destinations:
        queue = os.path.join(spool, QUEUE, destination)
        files.append(os.path.join(queue, PAUSE))
        folders += [queue, os.path.join(queue, WAIT), os.path.join(queue, FLIGHT)]
    for path in folders:  # a link to a folder is somebody's larger disk
        if os.path.lexists(path) and not os.path.isdir(path):
            set_aside(spool, path)
    for path in files:
        if os.path.lexists(path) and (os.path.islink(path) or not os.path.isfile(path)):
            set_aside(spool, path)
