"""Say how a service ends: in order, by an exception, or, when it starts the next time, otherwise.

FORMAT  further lines of ``starts/<process>-<ticks>`` (service_life.py), written by the process that leads, if it is one of ours:
        ``handles <boot> <killed>``  it handles SIGTERM itself; in which boot of the machine; how many processes of its control
                                     group the system has killed by then for want of memory, -1 if that can't be known
        ``plain``                    it does not handle SIGTERM (any more)
        ``ended``                    its end is recorded, or was looked into
        It is locked for as long as that process lives.
        ``beats/crash.<day>.<checksum>``  a crash of that kind was recorded on that day

ALGORITHM
1. The process that leads records a stop at its end. Behind servers that kill themselves by SIGTERM when all is done (uvicorn), no
   code runs at an end: there it is recorded when the server begins to stop because of a signal.
2. Any process whose main thread ends by an exception records a crash.
3. A start looks into the starts before it. One whose process is gone, handled SIGTERM, and has not said how it ended, was killed
   otherwise, or has died: a crash. Its signal can't be known, but for SIGKILL where the system has killed for want of memory.
   One that does not handle SIGTERM ends by it without a word, as each upgrade does it: nothing can be known of its end.
4. At each hand-over a process looks whether the system has killed another one of its container for want of memory: a crash too.
5. Crashes of one kind are recorded once a day, and what is left out is counted as dropped.

RACES
1. Two starts look into the same one: both write ``ended``, and one of them records.
2. A host closes our descriptor, and the lock goes with it: a process of that number that began at that time lives all the same.
   On a volume that pods share, where nobody sees the others' processes, such a pod's service would be said to have crashed.
"""

import os
import sys
from _signal import SIGTERM, getsignal  # type: ignore[import-not-found]  # `signal` itself loads enum
from binascii import crc32
from time import time  # bound here, before a program's tests can patch the module

from .. import _fault, _guarded, _load
from ..spool.layout import BEATS, STARTS
from .cells import began_ticks
from .claims import claim, list_oldest_first, read_lines, remove_all
from .otlp_events import span
from .recorder import time_ns  # type: ignore[attr-defined]  # bound there: see there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .recorder import Recorder
    from .write_through import WrittenThrough

    Pairs = list[tuple[str, object]]

MAX_FRAMES = 16  # of a traceback, in the app's own package
MOST_CRASHES = 32  # files in beats/ that say so
DAY_S = 86_400
ENDED = "ended"
BOOT = "/proc/sys/kernel/random/boot_id"
# Where a control group says how many of its processes were killed for want of memory: version 2, and 1.
GROUPS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


class Life:
    """What this process says of a start of the service while it lives. Raises OSError."""

    def __init__(self, recorder: "Recorder", path: str) -> None:
        self.recorder = recorder
        self.path = path
        self.pid = os.getpid()
        self.leads = recorder.leader[0] == self.pid
        self.line = ""  # what was written last
        self.over = False  # how it ended is recorded
        self.killed = killed_for_memory()
        see_uvicorn()
        self.descriptor, self.inode = -1, (0, 0)
        if self.leads:
            self.descriptor = os.open(path, os.O_RDWR | os.O_APPEND | getattr(os, "O_CLOEXEC", 0))
            status = os.fstat(self.descriptor)
            self.inode = status.st_dev, status.st_ino
            if hasattr(os, "lockf"):
                os.lockf(self.descriptor, os.F_TLOCK, 0)

    def look(self, events: "WrittenThrough") -> None:
        """Write down whether the end of this process could be known, and see whether another one has met its own."""
        see_uvicorn()
        killed = killed_for_memory()
        if self.killed >= 0 and killed > self.killed and _load("recording.lasting").in_container():
            record_crash(self.recorder, events, [("usage.signal", "SIGKILL")])
        self.killed = killed
        handles = callable(getsignal(SIGTERM))
        self.write(f"handles {_boot()} {killed}" if handles else "plain")

    def write(self, line: str) -> None:
        """Add *line*, if it is another than the last, and this process leads."""
        if self.pid != os.getpid() or not self.leads or line == self.line:
            return
        try:
            status = os.fstat(self.descriptor)
            if (status.st_dev, status.st_ino) == self.inode:  # hosts close and reuse descriptors
                os.write(self.descriptor, line.encode("ascii") + b"\n")
                self.line = line
        except OSError:
            _fault(expected=True)

    def close(self) -> None:
        """Let go of the file, as where it is gone."""
        try:
            status = os.fstat(self.descriptor)
            if (status.st_dev, status.st_ino) == self.inode:
                os.close(self.descriptor)
        except OSError:  # it never was open, or the host has closed it
            _fault(expected=True)

    def stop(self, events: "WrittenThrough") -> None:
        """Record that the service stops in order, if this process leads it, and has not said how it ends."""
        if self.pid == os.getpid() and self.leads and not self.over:
            self.over = True
            record(events, "stop", [])
            self.write(ENDED)

    def end(self, events: "WrittenThrough") -> None:
        """Record how this process ends, if that can be said of the service."""
        raised = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        if raised is None or isinstance(raised, (SystemExit, KeyboardInterrupt)):
            self.stop(events)
            return
        failure = _load("recording.failure")
        pairs: Pairs = [("error.type", failure.error_type(raised, self.recorder.run.package))]
        frames = _frames(raised, self.recorder.run.package)
        if frames:
            pairs.append(("usage.frames", frames))
        record_crash(self.recorder, events, pairs)
        self.over = True
        self.write(ENDED)


def look_back(recorder: "Recorder", events: "WrittenThrough", names: "list[str]") -> None:
    """Record the crashes of earlier starts that nobody has recorded. names: their files, but for our own's. Raises OSError."""
    for name in names:
        path = f"{recorder.spool}/{STARTS}/{name}"
        words = (read_lines(path) or [""])[-1].split()
        if words[:1] != ["handles"] or words[1:2] != [_boot()] or _is_alive(path, name):
            continue
        status = os.stat(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_CLOEXEC", 0))
        try:
            os.write(descriptor, ENDED.encode() + b"\n")
        finally:
            os.close(descriptor)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # by which the newest start is known
        killed = int(words[2]) if words[2:] and words[2].isdigit() else -1
        pairs: Pairs = [("usage.signal", "SIGKILL")] if 0 <= killed < killed_for_memory() else []
        record_crash(recorder, events, pairs)


def _is_alive(path: str, name: str) -> bool:
    """True if the process that wrote *path* still holds its lock, or runs."""
    process, _, ticks = name.partition("-")
    if ticks != "0" and str(began_ticks(process)) == ticks:
        return True
    try:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return True
    try:
        os.lockf(descriptor, os.F_TEST, 0)
    except (OSError, AttributeError):  # locked; or there are no locks here
        return True
    finally:
        os.close(descriptor)
    return False


def record_crash(recorder: "Recorder", events: "WrittenThrough", pairs: "Pairs") -> None:
    """Record a crash, unless one with the same *pairs* was recorded here today (UTC)."""
    folder = f"{recorder.spool}/{BEATS}"
    try:
        if claim(f"{folder}/crash.{int(time()) // DAY_S}.{crc32(repr(pairs).encode('utf-8', 'replace')):08x}", ""):
            record(events, "crash", pairs)
            remove_all(folder, list_oldest_first(folder, ("crash.",))[:-MOST_CRASHES])
        else:
            events.drop("repeated")
    except OSError:
        _fault(expected=True)


def record(events: "WrittenThrough", kind: str, pairs: "Pairs") -> None:
    """Record a start, a stop or a crash, at this moment."""
    now_ns = time_ns()
    ids = os.urandom(24).hex()
    attributes: Pairs = [("usage.kind", kind), *pairs]
    try:
        events.write_span(span(ids[:32], ids[32:], "", kind, now_ns, now_ns, attributes, kind == "crash"))
    except OSError:
        _fault(expected=True)


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


def killed_for_memory() -> int:
    """Return how many processes of our control group the system has killed for want of memory; -1 if that can't be known.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst, ``memory.events``; cgroup-v1/memory.rst, ``memory.oom_control``.
    """
    for path in GROUPS:  # as a container sees its own
        for line in read_lines(path):
            name, _, n = line.partition(" ")
            if name == "oom_kill" and n.isdigit():
                return int(n)
    return -1


def _boot() -> str:
    """Return what tells one boot of the machine from the others; "" if that can't be known. It never leaves."""
    return (read_lines(BOOT) or [""])[0][:8]


def see_uvicorn() -> None:
    """Have uvicorn's server, where it is loaded, say when it stops because of a signal: it ends by that signal afterwards."""
    server = getattr(sys.modules.get("uvicorn.server"), "Server", None)
    shutdown = getattr(server, "shutdown", None)
    if server is None or shutdown is None or hasattr(shutdown, "_otel_usage"):
        return

    # Returns what the method returns, a coroutine: no frame of ours is in it.
    def seen(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        if getattr(self, "_captured_signals", None):
            _guarded(_load("recording.service").stop_all)
        return shutdown(self, *args, **kwargs)

    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(seen, name, getattr(shutdown, name))
    seen._otel_usage = True  # type: ignore[attr-defined]
    server.shutdown = seen
