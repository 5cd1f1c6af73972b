"""What a service does besides recording: it hands over, starts senders, and says now and then that it is alive.

Loaded by services alone: `init(service=True)`.

ALGORITHM
1. One thread of this process, a daemon called `THREAD`, sleeps until something is due: to hand over what was recorded, to
   start a sender, to reap one that has ended, to write a heartbeat. So no call of the host's waits for any of that.
2. Where there is no such thread (``heartbeat="calls"``, no threads, one that is late by `GRACE_S`) the calls see to it.
3. The thread begins with `init`. Before a fork it ends, and begins anew in the parent afterwards: a fork warns of threads, and
   copies none. In a child it begins with the first thing that is recorded there.
4. A sender is our own child wherever nobody else would reap it, as in a container, and else nobody's (a shell between us
   ends at once). What is our child is asked for now and then, and never waited for.
5. What the program says of itself, its snapshot, is asked in a thread of its own, which ends with the answer: one that never
   answers keeps nothing else waiting.
6. A heartbeat is claimed by a file for its window, so that one process of all on this disk writes it: see heartbeat.py.

RACES
1. The thread and a call both find that something is due: what they do is done under the locks of write_through.py, and twice
   does no harm.
2. A fork comes while the thread works: we wait for it, `JOIN_S` at most.
3. A fork that Python does not know of: the child finds another process id, and begins as in 3.
"""

import os
import sys
import threading
from time import monotonic  # bound here, before a program's tests can patch the module

from .. import _fault, _load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .recorder import Recorder
    from .service_end import Life
    from .write_through import WrittenThrough

THREAD = "otel-usage"
LOOK_S = (
    10.0  # of life before it is written down whether its end could be known: a server has set its signal handlers then
)
FIRST_S = 300.0  # of life before anything is handed over: what only begins and ends is left to the next sender
GRACE_S = 60.0  # a thread that is later than this is none
JOIN_S = 0.05  # what a fork waits for the thread to end
REAP_S = 5.0  # how often a child that runs is asked for

_services: "list[Service]" = []  # of this process's apps, for what happens at forks


class Service:
    """What is due in one service, and when. Concurrency: called from its thread, and from any call of the host's."""

    def __init__(self, recorder: "Recorder") -> None:
        self.recorder = recorder
        self.flush_s = float(recorder.settings["flush_s"])
        self.with_thread = recorder.settings.get("heartbeat") != "calls"
        self.in_container = ends_with_us()
        self.heartbeat = _load("recording.heartbeat").Heartbeat(recorder)
        self.life: Life | None = None  # of this process; see `began`
        self.began()

    def began(self) -> None:
        """Begin anew, in this process."""
        self.pid = os.getpid()
        self.thread: threading.Thread | None = None
        self.wakeup = threading.Event()
        self.ending = False
        self.recorder.children = []
        self.heartbeat.began()  # first, so that the first heartbeat goes out with what is handed over first
        self.flush_at_s = monotonic() + min(self.flush_s, FIRST_S)
        self.look_at_s = monotonic() + LOOK_S
        self.live()

    def live(self) -> None:
        """Begin this process's part in the start of the service that it belongs to."""
        self.life = None
        try:
            life = _load("recording.service_life")
            self.life = _load("recording.service_end").Life(self.recorder, life.path_of(self.recorder))
        except OSError:
            _fault(expected=True)

    def serve(self) -> None:
        """See that the thread runs in this process, if there may be one."""
        if self.pid != os.getpid():
            self.began()
        if not self.with_thread or self.thread is not None or self.recorder.over:
            return
        try:
            thread = threading.Thread(target=self._run, args=(self.wakeup,), name=THREAD, daemon=True)
            thread.start()
            self.thread = thread
        except RuntimeError:  # a sub-interpreter, a limit on threads, the end of the program: the calls do it
            _fault(expected=True)

    def due_s(self) -> float:
        """Return when something is due next, by the monotonic clock."""
        due_s: float = min(self.flush_at_s, self.heartbeat.due_s, self.look_at_s)
        return min(due_s, monotonic() + REAP_S) if self.recorder.children else due_s

    def calls_due_s(self) -> float:
        """Return when a call of the host's shall see to what is due, since nobody else has."""
        return self.due_s() + (GRACE_S if self.thread is not None else 0.0)

    def _run(self, wakeup: threading.Event) -> None:
        try:
            while not self.ending and self.wakeup is wakeup and self.pid == os.getpid():
                if not wakeup.wait(max(0.0, self.due_s() - monotonic())):
                    self.work()
        except BaseException:  # at the end of the interpreter anything may be gone
            _fault(expected=True)

    def work(self) -> None:
        """Do what is due."""
        if self.ending:  # somebody has said off
            return
        try:
            events = self._events()
            self.reap()
            if events is None:
                return
            now_s = monotonic()
            if now_s >= self.due_s() and not os.path.isdir(self.heartbeat.folder) and not self._begin_again():
                return
            if now_s >= min(self.look_at_s, self.flush_at_s) and self.life is not None:
                self.look_at_s = float("inf")
                self.life.look(events)
            if now_s >= self.heartbeat.due_s:
                self.heartbeat.beat(events)
            if now_s >= self.flush_at_s:
                events.flush()
            events.due = self.calls_due_s()
        except OSError:
            _fault(expected=True)
        except Exception:
            _fault()
        finally:  # whatever happened, it is not tried again at once
            now_s = monotonic()
            self.flush_at_s = max(self.flush_at_s, now_s + 0.05)
            self.look_at_s = float("inf")
            if self.heartbeat.due_s <= now_s:
                self.heartbeat.due_s = now_s + GRACE_S

    def _begin_again(self) -> bool:
        """Make the folders again, since somebody has said off, and on again; False if it is still off. Raises OSError."""
        if _load("recording.forget").withdrawn(self.recorder):
            return False
        life = _load("recording.service_life")
        life.make_folders(self.recorder)
        life.is_start(self.recorder)
        if self.life is not None:
            self.life.close()
        self.live()
        return True

    def _events(self) -> "WrittenThrough | None":
        events = self.recorder._events
        if events is None or events.pid != os.getpid():
            events = _load("recording.actions").of_this_process(self.recorder)
        return events  # type: ignore[return-value]  # those of a service

    def next_flush(self) -> float:
        """Return when a call hands over, now that all was; the thread does so before."""
        self.flush_at_s = monotonic() + self.flush_s
        return self.calls_due_s()

    def wake(self) -> None:
        """Start a sender, if none is due soon. Raises OSError."""
        self.recorder.wake(orphan=not self.in_container)
        if self.recorder.children and threading.current_thread() is self.thread:
            threading.Event().wait(0.05)  # a shell between us and the sender has ended by then
            self.reap()

    def reap(self) -> None:
        """Take note of children that have ended."""
        _reap(self.recorder.children or [], os.WNOHANG)

    def pause(self) -> None:
        """End the thread before a fork; under gevent it is none."""
        thread = self.thread
        if thread is None or self.pid != os.getpid() or thread is threading.current_thread() or _is_green():
            return
        self.thread = None
        wakeup, self.wakeup = self.wakeup, threading.Event()
        wakeup.set()
        thread.join(JOIN_S)

    def stop(self, at_exit: bool) -> None:
        """Record that the service stops; at_exit: or that it has crashed."""
        events = self._events() if self.pid == os.getpid() else None
        if events is not None and self.life is not None:
            if at_exit:
                self.life.end(events)
            else:
                self.life.stop(events)

    def end(self) -> None:
        """End the thread: nothing more is due."""
        self.ending = True
        self.wakeup.set()
        if self in _services:
            _services.remove(self)


def reap_in_a_thread(children: "list[int]") -> None:
    """Wait for *children* in a thread that ends with them: in log mode there is no other."""
    try:
        threading.Thread(target=_reap, args=(children, 0), name=THREAD, daemon=True).start()
    except RuntimeError:  # no threads here: they are reaped at the next hand-over
        _reap(children, os.WNOHANG)


def _reap(children: "list[int]", flags: int) -> None:
    """Take those who have ended out of *children*."""
    for child in children[:]:
        try:
            ended = os.waitpid(child, flags)[0] != 0
        except OSError:  # the program reaps every child itself
            ended = True
        if ended and child in children:
            children.remove(child)


def stop_all() -> None:
    """Record that this process's services stop, and hand over: a signal will end it, and nothing of ours runs then."""
    for service in list(_services):
        service.stop(at_exit=False)
        events = service._events()
        if events is not None:
            events.flush()


def begin(recorder: "Recorder") -> bool:
    """Begin the service that *recorder* records; say in its log, once, that it does, or why it can't."""
    _load("recording.handle").complete()  # now: a signal handler that counts while it is loaded would be lost
    if recorder.decision.mode == "log":
        recorder.children = []
        return True
    life = _load("recording.service_life")
    try:
        life.make_folders(recorder)
        life.check_writable(recorder)
        first = life.is_start(recorder)
    except OSError as exc:
        _fault(expected=True)
        life.say_unable(recorder, exc)
        return False
    service = recorder.service = Service(recorder)
    if first:
        life.say_state(recorder)
        events = service._events()
        if events is not None:
            life.record_start(recorder, events)
    if not _services and hasattr(os, "register_at_fork"):
        _register()
    _services.append(service)
    service.serve()
    return True


_registered: list[bool] = []


def _register() -> None:
    if not _registered:
        _registered.append(True)
        os.register_at_fork(before=_before_fork, after_in_parent=_after_fork)


def _before_fork() -> None:
    try:
        for service in list(_services):
            service.pause()
    except Exception:
        _fault()


def _after_fork() -> None:
    try:
        for service in list(_services):
            if service.pid == os.getpid():
                service.serve()
    except Exception:
        _fault()


def _is_green() -> bool:
    """True if the program's threads are greenlets: gevent's or eventlet's."""
    for name, asked in (("gevent.monkey", "is_module_patched"), ("eventlet.patcher", "is_monkey_patched")):
        module = sys.modules.get(name)
        if module is not None and getattr(module, asked)("threading" if name[0] == "g" else "thread"):
            return True
    return False


def ends_with_us() -> bool:
    """True if nobody would reap what we leave behind: process 1 is no machine's."""
    return os.getpid() == 1 or not _load("recording.folders").is_process_1_a_machines()
