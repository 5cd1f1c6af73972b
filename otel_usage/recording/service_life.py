"""Say when a service starts, and how it ends; and tell one start from many processes of it.

FORMAT  ``starts/<process>-<ticks>``: the version of the service that one start of it began with, one line. It is called
        after the process that leads it, and when that began.

ALGORITHM
1. A service may be many processes: a server and its workers, which come and go. All of one start have one leader: the
   furthest of their ancestors that is of the same group of processes, and neither a shell nor a supervisor. Where the
   system does not tell of ancestors, that is the leader of the group.
2. The first process that can make the leader's file has started the service: it records the start, and says so in the log.
   A worker that takes the place of another finds the file.
3. The newest file of another leader says what ran before: a restart; an upgrade if it was another version. If there is
   none it is the first start, unless the folder is new because its container is.
4. The process that leads records, at its end, a stop; any process whose main thread ends by an exception a crash. Who is
   killed records nothing: how it ended can't be known from inside.
"""

import os
import sys

from .. import _fault, _load
from ..spool.layout import BEATS, STARTS
from .cells import began_ticks
from .otlp_events import span
from .recorder import time_ns  # type: ignore[attr-defined]  # bound there: see there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .recorder import Recorder
    from .write_through import WrittenThrough

    Pairs = list[tuple[str, object]]

FOLDERS = (STARTS, BEATS)
MOST_STARTS = 64  # files of starts that are remembered
MAX_FRAMES = 16  # of a traceback, in the app's own package
# They start a service, and are none.
SHELLS = frozenset(
    b"sh bash dash ash zsh ksh fish busybox make runsv s6-supervise supervisord tini dumb-init docker-init catatonit".split()
)


def leader() -> "tuple[int, int]":
    """Return the process that leads this start of the service, and when it began, in ticks (0 if that can't be known)."""
    pid, group = os.getpid(), os.getpgrp()
    status = _status(pid)
    if status is None:
        return group, 0
    while True:
        parent = _status(status[1])
        if parent is None or parent[2] != group or parent[0] in SHELLS:
            return pid, began_ticks(pid)
        pid, status = status[1], parent


def _status(pid: int) -> "tuple[bytes, int, int] | None":
    """Return the name, the parent and the group of a process; None if that can't be known."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return None
    try:
        name, _, rest = os.read(descriptor, 1024).partition(b"(")[2].rpartition(b")")
        return name, int(rest.split()[1]), int(rest.split()[2])
    except (OSError, IndexError, ValueError):
        return None
    finally:
        os.close(descriptor)


def is_start(recorder: "Recorder") -> bool:
    """True in the first process of this start of the service. Raises OSError."""
    recorder.leader = leader()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(_path(recorder), flags, 0o600)
    except FileExistsError:
        return False
    try:
        os.write(descriptor, str(recorder.settings["version"])[:64].encode("ascii", "replace") + b"\n")
    finally:
        os.close(descriptor)
    return True


def _path(recorder: "Recorder") -> str:
    return "{}/{}/{:d}-{:d}".format(recorder.spool, STARTS, *recorder.leader)


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
    """Record that the service has started: for the first time, again, or as another version."""
    own = os.path.basename(_path(recorder))
    folder = f"{recorder.spool}/{STARTS}"
    before: list[tuple[float, str]] = []
    for name in os.listdir(folder):
        if name != own and name[:1] != ".":
            try:
                before.append((os.stat(f"{folder}/{name}").st_mtime, name))
            except OSError:
                continue
    before.sort()
    for _, name in before[: max(0, len(before) - MOST_STARTS)]:
        os.unlink(f"{folder}/{name}")
    pairs: Pairs = []
    if before:
        version = _read(f"{folder}/{before[-1][1]}")
        upgraded = version not in ("", str(recorder.settings["version"])[:64])
        pairs = [("usage.start", "upgrade" if upgraded else "restart")]
        if upgraded:
            pairs.append(("usage.previous_version", version))
    elif _load("recording.lasting").is_lasting(recorder.decision.home):
        pairs = [("usage.start", "first")]
    _record(events, "start", pairs)


def record_end(recorder: "Recorder", events: "WrittenThrough") -> None:
    """Record how this process ends, if that can be said of the service."""
    raised = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    if raised is not None and not isinstance(raised, (SystemExit, KeyboardInterrupt)):
        failure = _load("recording.failure")
        pairs: Pairs = [("error.type", failure.error_type(raised, recorder.run.package))]
        frames = _frames(raised, recorder.run.package)
        if frames:
            pairs.append(("usage.frames", frames))
        _record(events, "crash", pairs)
    elif recorder.leader[0] == os.getpid():
        _record(events, "stop", [])


def _frames(raised: BaseException, package: str) -> str:
    """Return a hash of where in the app's own package *raised* came from: modules, functions, lines. "" if nowhere there."""
    trace, places = raised.__traceback__, []
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__"))
        if module.partition(".")[0] in (package, "__main__"):
            places.append(f"{module}.{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}")
        trace = trace.tb_next
    if not places:
        return ""
    from hashlib import sha256

    return sha256("\n".join(places[-MAX_FRAMES:]).encode("utf-8", "replace")).hexdigest()[:16]


def _record(events: "WrittenThrough", kind: str, pairs: "Pairs") -> None:
    now_ns = time_ns()
    ids = os.urandom(24).hex()
    try:
        events.write_span(
            span(ids[:32], ids[32:], "", kind, now_ns, now_ns, [("usage.kind", kind), *pairs], kind == "crash")
        )
    except OSError:
        _fault(expected=True)


def _read(path: str) -> str:
    """Return the first line of a small file; "" if it can't be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return ""
    try:
        return os.read(descriptor, 256).partition(b"\n")[0].decode("ascii", "replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
