"""A copy of what a sender would find, so that a rehearsal can take it in without changing anything.

ALGORITHM
1. Copy into a temporary folder: what is remembered in the home, and of each spool the files of ``new/``, the stubs of dead
   hosts, the queues, and the sender's own ``batch``, ``batch.done`` and ``dropped``. Times of files are copied too.
2. Write the lines of the run itself as files of ``new/``, in log mode.
3. Lift every pause, but leave the number of failures: a rehearsal tries all destinations, in the order of a sending.
RACES
1. A sender takes files while they are copied: a file that is missing by then is passed over. It may be missing from the
   copy, or be in it twice, in ``new/`` and in a queue; the preview is of that moment, and nothing is sent from it.
2. A host that lives holds its file locked: it is not copied, since the sender would not take it either. Cells are: the sender
   takes from those of living processes too.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..spool.files import list_abandoned, list_folder
from ..spool.layout import (
    BATCH,
    BATCH_DONE,
    CELLS,
    DROPPED,
    FLIGHT,
    FORMAT,
    JSON,
    METRICS,
    NEW,
    OPEN,
    PAUSE,
    QUEUE,
    TRACES,
    WAIT,
)


@contextmanager
def copy_home(home: str, spools: Sequence[str], lines: Sequence[bytes]) -> Iterator[str]:
    """Make a copy of *home*, for as long as the context lasts, and return its path.

    spools: those whose records are copied, all into one; lines: more records, as OTLP JSON. Raises OSError.
    """
    with tempfile.TemporaryDirectory(prefix="otel-usage-") as copy:
        target = os.path.join(copy, FORMAT)
        for name in (NEW, OPEN):
            os.makedirs(os.path.join(target, name))
        for name in list_folder(home):
            if name.endswith(JSON) and os.path.isfile(os.path.join(home, name)):
                _copy_file(os.path.join(home, name), os.path.join(copy, name))
        for spool in spools:
            _copy_spool(spool, target)
        for n, line in enumerate(lines):
            ending = TRACES if line.startswith(b'{"resourceSpans"') else METRICS
            with open(os.path.join(target, NEW, f"{n:016x}{ending}"), "wb") as file:
                file.write(line)
        yield copy


def _copy_spool(spool: str, target: str) -> None:
    for name in (DROPPED, BATCH, BATCH_DONE):
        _copy_file(os.path.join(spool, name), os.path.join(target, name))
    for name in list_folder(os.path.join(spool, NEW)):
        _copy_file(os.path.join(spool, NEW, name), os.path.join(target, NEW, name))
    for name in list_abandoned(spool):
        _copy_file(os.path.join(spool, OPEN, name), os.path.join(target, OPEN, name))
    for name in list_folder(os.path.join(spool, CELLS)):
        os.makedirs(os.path.join(target, CELLS), exist_ok=True)
        _copy_file(os.path.join(spool, CELLS, name), os.path.join(target, CELLS, name))
    for destination in list_folder(os.path.join(spool, QUEUE)):
        _copy_queue(os.path.join(spool, QUEUE, destination), os.path.join(target, QUEUE, destination))


def _copy_queue(source: str, target: str) -> None:
    for folder in (WAIT, FLIGHT):
        os.makedirs(os.path.join(target, folder), exist_ok=True)
        for name in list_folder(os.path.join(source, folder)):
            _copy_file(os.path.join(source, folder, name), os.path.join(target, folder, name))
    _copy_failures(source, target)


def _copy_file(source: str, target: str) -> None:
    """Copy one file with its time, a link as a link. What is neither becomes an empty file, as unreadable as it was."""
    try:
        shutil.copy2(source, target, follow_symlinks=False)
    except FileNotFoundError:
        pass
    except OSError as exc:  # a folder, a pipe, a socket, another user's
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        with open(target, "wb"):
            pass


def _copy_failures(source: str, target: str) -> None:
    """Copy how often a destination failed, which decides about the order, but let it be tried now."""
    try:
        with open(os.path.join(source, PAUSE), encoding="ascii") as file:
            failures = int(json.load(file)["failures"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    with open(os.path.join(target, PAUSE), "w", encoding="ascii") as file:
        json.dump({"failures": failures, "not_before_s": 0}, file)
