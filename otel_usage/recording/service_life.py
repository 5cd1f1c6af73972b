"""Say when a service starts, and tell one start from the many processes of it.

FORMAT  ``starts/<process>-<ticks>``: the version of the service that one start of it began with, one line; what else may stand
        there says how it ends: see service_end.py. It is called after the process that leads it, and when that began.

ALGORITHM
1. A service may be many processes: a server and its workers, which come and go. All of one start have one leader: the
   furthest of their ancestors that is of the same group of processes, runs the same interpreter, and is no supervisor: a
   shell, ``uv run``, tini or make start a service, and are none. Where the system does not tell of ancestors, that is the
   leader of the group.
2. The first process that can make the leader's file has started the service: it records the start, and says so in the log.
   A worker that takes the place of another finds the file.
3. The newest file of another leader says what ran before: a restart; an upgrade if it was another version. If there is
   none it is the first start, unless the folder is new because its container is.
"""

import os

from .. import _load
from ..spool.layout import BEATS, CELLS, STARTS
from .cells import status_of
from .claims import claim, list_oldest_first, read_line, remove_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .recorder import Recorder
    from .write_through import WrittenThrough

MOST_STARTS = 64  # files of starts that are remembered
SUPERVISORS = frozenset((b"supervisord", b"circusd", b"honcho"))  # of Python's: they start a service, and are none


def leader() -> "tuple[int, int]":
    """Return the process that leads this start of the service, and when it began, in ticks (0 if that can't be known)."""
    pid, group, program = os.getpid(), os.getpgrp(), _program_of("self")
    status = status_of(pid)
    if status is None:
        return group, 0
    while True:
        parent = status_of(status[1])
        if parent is None or parent[2] != group or parent[0] in SUPERVISORS or _program_of(status[1]) != program:
            return pid, status[3]
        pid, status = status[1], parent


def _program_of(process: object) -> "tuple[int, int] | None":
    """Return which file a process runs, None where that can't be known. process: its id, or "self"."""
    try:
        status = os.stat(f"/proc/{process}/exe")
    except OSError:
        return None
    return status.st_dev, status.st_ino


def make_folders(recorder: "Recorder") -> None:
    """Make what a service writes into, and note which start this is of. Raises OSError."""
    _load("recording.folders").make_spool(recorder.decision.home, recorder.spool)
    for folder in (CELLS, STARTS, BEATS):
        try:
            os.mkdir(f"{recorder.spool}/{folder}", 0o700)
        except FileExistsError:
            pass
    recorder.leader = recorder.leader if recorder.leader[0] else leader()


def is_start(recorder: "Recorder") -> bool:
    """True in the first process of this start of the service. Raises OSError."""
    return claim(path_of(recorder), _version(recorder))


def path_of(recorder: "Recorder") -> str:
    """Return the file of this start of the service."""
    return "{}/{}/{:d}-{:d}".format(recorder.spool, STARTS, *recorder.leader)


def _version(recorder: "Recorder") -> str:
    return str(recorder.settings["version"])[:64]


def check_writable(recorder: "Recorder") -> None:
    """Raise OSError unless files can be made, and locked, where this service records."""
    path = f"{recorder.spool}/{STARTS}/.{os.getpid()}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        if hasattr(os, "lockf"):
            os.lockf(descriptor, os.F_TLOCK, 0)
    finally:
        os.close(descriptor)
        os.unlink(path)


def say_state(recorder: "Recorder") -> None:
    """Write into the service's log that it is recorded, by whose word, and how to switch that off."""
    due = _load("consent.due")
    due.say(due.service_line(recorder.settings, recorder.decision))


def say_unable(recorder: "Recorder", exc: "OSError | None") -> None:
    """Write into the service's log, once for each process, that nothing can be recorded, and why."""
    due = _load("consent.due")
    home = recorder.decision.home
    why = exc.strerror if exc is not None else "it is another user's, or there is no folder for it"
    due.say(
        f"{recorder.app}: usage data is {recorder.decision.mode} (by {recorder.decision.source}), but none is recorded: "
        f"{home or 'no home folder'!r}: {why}; set OTEL_USAGE_HOME to a folder that can be written to\n"
    )


def record_start(recorder: "Recorder", events: "WrittenThrough") -> None:
    """Record that the service has started: for the first time, again, or as another version; and how it crashed before.

    Raises OSError.
    """
    end = _load("recording.service_end")
    own, folder = os.path.basename(path_of(recorder)), f"{recorder.spool}/{STARTS}"
    before = [name for name in list_oldest_first(folder, tuple("0123456789")) if name != own]
    end.look_back(recorder, events, before)
    remove_all(folder, before[:-MOST_STARTS])
    pairs: list[tuple[str, object]] = []
    if before:
        version = read_line(f"{folder}/{before[-1]}")
        upgraded = version not in ("", _version(recorder))
        pairs = [("usage.start", "upgrade" if upgraded else "restart")]
        if upgraded:
            pairs.append(("usage.previous_version", version))
    elif _load("recording.lasting").is_lasting(recorder.decision.home):
        pairs = [("usage.start", "first")]
    end.record(events, "start", pairs)
