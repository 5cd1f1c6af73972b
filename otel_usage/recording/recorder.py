"""Keep one process's run, and hand it to the spool with what else it recorded.

FORMAT  ``open/<start, 16 hexadecimal digits>-<span id>.traces.jsonl``: one OTLP JSON line, see otlp_text.py.

ALGORITHM
1. The run's file is made in ``open/`` and locked (``os.lockf``) while the process lives; empty, until the command is
   known. Then it holds a stub: what to report if the process dies, a run that is ``unfinished``.
2. At exit the finished run is written over the stub, and the file is renamed into ``new/``: a sender takes it there.
3. A sender that finds a file in ``open/`` whose lock is free reports the stub, and counts an empty file as lost.
4. A program that only ever dies by signals comes to no step 2, and starts no sender there. So the next run, when it begins,
   starts one if a file lies in ``open/`` besides its own, and a dead process has left it: see leftovers.py.

RACES
1. The host may close and reuse our descriptor. Before every write, device and inode are compared with those of our
   file; if they are another's, it is opened again by its path, unlocked: a sender may then report the stub although the
   process lives. The path is gone in that case, so nothing is written twice.
2. A sender may look between the making of the file and its lock: it leaves files alone that are younger than a second.
3. A forked child has our memory and not our lock. It is told from the owner by its process id, which is compared
   wherever something is written or added up: no hook is needed, and forks made in C are children too.
"""

import os
import sys

# Bound here, before a program's tests can patch the module: freezegun and the like must not move our clock.
from time import monotonic, monotonic_ns, time_ns

from .. import _fault, _load
from ..spool.layout import FORMAT, LOCAL, NEW, OPEN, TRACES
from .agent import find_agent
from .builtin_module import builtin_module
from .exit_watch import watched_run
from .frameworks import hook_frameworks
from .otlp_text import line, quote, resource_attributes, run_attributes, span_name
from .run import Run
from .sender_start import start_sender

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from ..consent.decision import Decision
    from .actions import Events
    from .service import Service

atexit = builtin_module("atexit")
FD = 127  # our descriptor's number: low ones are the host's to count on
LONG_NS = 60_000_000_000  # of a run that lasted longer it is asked again, at its end, whether it may be kept


class Recorder:
    """Keeps one process's run and hands it, with what else it recorded, to the spool.

    Concurrency: every method may be called from any thread; a forked child records actions and counts in files of
    its own, and never a run.
    """

    descriptor = -1
    inode = (0, 0)
    over = False  # our exit handler has run: what handlers after it record is written at once
    tty = False
    agent = ""
    _events = None  # type: Events | None
    service = None  # type: Service | None
    children = None  # type: list[int] | None  # of a service: senders that are not reaped yet
    leader = (0, 0)  # of a service: see service_life.py

    def __init__(self, settings, decision, frame, is_program=True):
        # type: (dict[str, Any], Decision, FrameType | None, bool) -> None
        ids = os.urandom(24).hex()
        self.trace_id, self.span_id = ids[:32], ids[32:]
        self.settings = settings
        self.decision = decision
        self.app: str = settings["app"]
        # What is kept locally lies apart: a later on is for what comes, and no sender looks there.
        self.spool = decision.home + "/" + FORMAT + ("/" + LOCAL if decision.mode == "local" else "")
        self.start_ns = time_ns()
        self.clock_ns = monotonic_ns()
        self.path = f"{self.spool}/{OPEN}/{self.start_ns:016x}-{self.span_id}{TRACES}"
        self.pid = os.getpid()  # of the process whose run this is
        self.log: list[bytes] = []
        self.events_of: dict[int, Events] = {}  # by process id: see `actions.of_this_process`
        runtime = sys.implementation.name, sys.version.split()[0]
        self.resource = resource_attributes(self.app, str(settings["version"]), *runtime)
        self.is_service = is_program and bool(settings.get("service"))
        # A worker, a plugin or a library has no run of its own: it is its parent's, or the program's. A service is no run.
        self.has_run = is_program and not self.is_service and not is_worker()
        self.unwritten = self.has_run  # the run is this process's own, and not written yet
        watched = watched_run() if self.has_run else None  # `otel` watches already: a run is watched once
        self.run: Run = watched or Run(frame, self._write_stub if self.has_run else None)
        self.run.on_named = self._write_stub
        self.run.on_left = self.finish

    def owns_run(self):
        # type: () -> bool
        """True in the process whose run this is, until it is written."""
        return self.unwritten and self.pid == os.getpid()

    # Start.

    def begin(self):
        # type: () -> Recorder | None
        """Open this run's file and start observing. Returns None if this run can't be recorded."""
        alone = True
        if self.decision.mode != "log":
            try:
                ours = self._folder_is_ours()
                if ours and self.has_run:
                    self._create()
                    with os.scandir(f"{self.spool}/{OPEN}") as entries:  # the first is ours, or another
                        alone = next(entries) is None or next(entries, None) is None
            except OSError:  # read-only, full, no folder: nothing to do, nobody to tell
                ours = False
                _fault(expected=True)
            if not ours:
                if self.is_service:
                    _load("recording.service_life").say_unable(self, None)
                self.run.close()
                return None
        if self.is_service and not _load("recording.service").begin(self):
            self.run.close()
            return None
        atexit.register(self.finish, True)
        if not self.has_run:
            return self
        if not alone:
            _load("recording.leftovers").send(self)
        self.tty = os.isatty(1)  # which is False, too, where 1 is closed
        self.agent = find_agent(os.environ, self.tty)
        if self.run not in sys.meta_path:
            hook_frameworks(self.run)
        return self

    def _folder_is_ours(self):
        # type: () -> bool
        """True if the app's folder is this user's; makes what is missing above it."""
        home = self.decision.home
        if not home:
            return False
        if not hasattr(os, "geteuid"):
            return True
        try:
            status, above = os.lstat(home), os.lstat(home.rpartition("/")[0])
            if status.st_uid == os.geteuid() and status.st_mode & above.st_mode & 0o170000 == 0o040000:
                return True
            return _load("recording.folders").is_users(home)  # type: ignore[no-any-return]
        except FileNotFoundError:
            return _load("recording.folders").make_parents(home)  # type: ignore[no-any-return]

    def _create(self):
        # type: () -> None
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        try:
            descriptor = os.open(self.path, flags, 0o600)
        except FileNotFoundError:
            _load("recording.folders").make_spool(self.decision.home, self.spool)
            descriptor = os.open(self.path, flags, 0o600)
        try:
            for free in range(FD, FD + 64):
                try:
                    os.fstat(free)
                except OSError:  # nobody's
                    os.dup2(descriptor, free, False)
                    os.close(descriptor)
                    descriptor = free
                    break
        except OSError:  # beyond the limit on descriptors: keep the low one
            pass
        status = os.fstat(descriptor)
        self.descriptor, self.inode = descriptor, (status.st_dev, status.st_ino)
        if hasattr(os, "lockf"):
            try:
                os.lockf(descriptor, os.F_TLOCK, 0)  # after the dup: closing any descriptor of the file drops the lock
            except OSError:  # a file system without locks: nobody could ever tell that this process has ended
                os.close(descriptor)
                os.unlink(self.path)
                raise

    def _checked_descriptor(self):
        # type: () -> int
        """Return a descriptor that still is our file's: hosts close and reuse descriptors.

        Raises FileNotFoundError if the sender took us for dead: it has reported us.
        """
        try:
            status = os.fstat(self.descriptor)
            if (status.st_dev, status.st_ino) == self.inode and status.st_nlink:
                return self.descriptor
        except OSError:
            _fault(expected=True)
        self.descriptor = os.open(self.path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        return self.descriptor

    def _write(self, text):
        # type: (bytes) -> None
        """Make *text* the content of our open file, or remove it."""
        descriptor = self._checked_descriptor()
        try:
            if os.pwrite(descriptor, text, 0) != len(text):
                raise OSError("short write")
            os.ftruncate(descriptor, len(text))
        except OSError:  # disk full: half a line is worse than none
            os.unlink(self.path)
            raise

    # What happens meanwhile.

    def _write_stub(self):
        # type: () -> None
        """Write what the sender reports if this process dies."""
        if self.descriptor >= 0 and self.owns_run():
            try:
                self._write(line("Spans", "spans", self.resource, self._span((None, "unfinished", ""), self.start_ns)))
            except OSError:
                _fault(expected=True)

    # What is written.

    def _span(self, ending, end_ns):
        # type: (tuple[int | None, str, str], int) -> str
        """Return the run as an OTLP JSON span. ending: what `Run.ending` returns."""
        command = self.run.command_name()
        ci = bool(self.decision.ci)
        attributes = run_attributes(self.app, command, self.run.options, ending, ci, self.tty, self.agent, "cli")
        return (
            f'{{"traceId":"{self.trace_id}","spanId":"{self.span_id}","name":{quote(span_name(self.app, command))},'
            f'"kind":1,"startTimeUnixNano":"{self.start_ns}","endTimeUnixNano":"{end_ns}",'
            f'"attributes":[{attributes}],"status":{{' + ('"code":2}}' if ending[0] else "}}")
        )

    def finish(self, at_exit=False):
        # type: (bool) -> None
        """Write the run down and wake the sender. In a forked child it is only a flush.

        at_exit: nobody is left who could catch anything. A Ctrl-C ends our waiting, and shows nothing.
        """
        try:
            atexit.unregister(self.finish)
            self.over = at_exit
            try:
                if self.owns_run():
                    self.unwritten = False
                    self._finish()
                else:
                    if self.service is not None:
                        self.service.stop(at_exit)
                        self.service.end()
                    if self._events is not None and self._events.pid == os.getpid():
                        self._events.flush()
            except OSError:  # full, read-only, gone: the run is lost, and nobody hears of it
                _fault(expected=True)
            except Exception:
                _fault()
            finally:
                self.run.close()
        except BaseException:  # the outermost, so that nothing above can be interrupted aloud
            if not at_exit:
                raise

    def _finish(self):
        # type: () -> None
        ending = self.run.ending()
        end_ns = self.start_ns + max(0, monotonic_ns() - self.clock_ns)
        if end_ns - self.start_ns > LONG_NS and _load("recording.forget").withdrawn(self):
            return
        spans, metrics = [self._span(ending, end_ns)], b""
        events = self._events
        if events is not None:
            actions, metrics = events.take()
            spans += actions
        text = line("Spans", "spans", self.resource, ",".join(spans))
        if self.decision.mode == "log":
            self.log.append(text)
        else:
            self._write(text)
            os.rename(self.path, self.path.replace(f"/{OPEN}/", f"/{NEW}/"))
            os.close(self.descriptor)
        if metrics and events is not None:
            events.put("metrics", metrics)
        self.wake()

    wake = start_sender


def is_worker():
    # type: () -> bool
    """True if a pool or a reloader started this process: what it does is its parent's run."""
    pools = ("multiprocessing.process", "billiard.process", "multiprocess.process")
    environ = os.environ._data  # type: ignore[attr-defined]  # looking into it costs a tenth of asking os.environ
    reloaded = b"WERKZEUG_RUN_MAIN" in environ or b"RUN_MAIN" in environ or "RUN_MAIN" in environ
    if not reloaded and sys.modules.keys().isdisjoint(pools):
        return False
    program = _load("recording.program")
    return bool(program.is_pooled(pools) or (reloaded and program.is_reloaded()))
