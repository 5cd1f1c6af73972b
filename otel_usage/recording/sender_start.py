"""Start the process that sends, so that the program neither waits for it nor is changed by it.

ALGORITHM
1. Nothing is started where nothing may be sent, or nothing can be (there is no interpreter): then the oldest records make
   room for new ones, and the token says why: see sender_absent.py.
2. The token ``wake`` says by its time when the next sender is due. A program that finds it in the future starts none:
   one is asleep already, or a sender has seen a destination fail and set it further ahead (the circuit breaker).
3. Else the program sets it `SEND_DELAY_S` ahead and spawns a sender that sleeps so long before it imports anything. Senders may
   die, whatever the cause: where too much waits by now, the oldest records make room first.
4. The child's standard input says everything: when to begin, where our package lies, what the host's settings are. So
   nothing secret is in argv, in the environment or on the disk.

RACES  Two programs may both find the token due, and start a sender each: the second finds the lock, and leaves.
       The clock may jump: a token more than a day ahead is taken for that, and for no circuit breaker. So is one that was
       written in the future: the kernel notes when, and nobody can set that.
"""

import os
import sys
from marshal import dumps
from time import time

from .. import _fault, _load
from ..spool.layout import NEW, WAKE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .recorder import Recorder

SEND_DELAY_S = 10.0
MAX_WAITING = 10_000  # files in new/, as in folders.py, which few runs load
SKEW_S = 60.0  # a token that was written further in the future than this is of a clock that was wrong
STALE_S = 86_400.0  # a token further ahead than this is a clock jump, not a circuit breaker
INLINE_S = 0.5  # what a host waits for an inline sender, at most
LOG_S = 10.0  # what it waits for the child that prints
BRAKE = b"OTEL_USAGE_CHILD"  # the variable under which nothing records: set in the sender, and so in what it starts

# What the child runs first, with nothing of ours on its path yet: let go of everything that is the host's. If then nothing
# of ours can be imported, `status` reads why in the token, as sender_absent.py writes it.
BOOT = """import os,sys,time
try: fds=[int(n) for n in os.listdir("/proc/self/fd")]
except OSError: fds=range(3,1024)
for fd in fds:
    if fd>2:
        try: os.close(fd)
        except OSError: pass
text=b""
while 1:
    part=os.read(0,65536)
    if not part: break
    text+=part
fd=os.open(os.devnull,os.O_RDONLY)
os.dup2(fd,0)
os.close(fd)
os.chdir("/")
from marshal import loads
delay,order,settings=loads(text)
time.sleep(delay)
if type(order) is str:
    from ast import literal_eval
    order=literal_eval(order)
else: settings=repr(settings)
sys.path[:]=order["path"]
try: from otel_usage.delivery.start import start
except Exception as exc:
    of=type(exc).__name__+" of "+str(getattr(exc,"name",""))
    with open(order["token"],"w") as token: token.write("no interpreter\\nthe sender ends at its first import: "+of)
    os.utime(token.name,(time.time()+3600,)*2)
    sys.exit(1)
start(order,settings)
"""


def start_sender(recorder, orphan=False, early=False):
    # type: (Recorder, bool, bool) -> None
    """Start a sender, unless one is due soon, the circuit breaker is open, or nothing may be sent.

    orphan: leave no child that the host's own ``os.wait()`` could meet. early: the program has only begun: it is not kept
    waiting, wherever it runs. Raises OSError.
    """
    get = _load("consent.gate").getter(os.environ)
    mode, forced = recorder.decision.mode, get("OTEL_USAGE_SENDER")
    if mode == "log":
        lines, recorder.log = recorder.log, []
        if recorder.children is not None:  # in a container nobody but the service itself would reap an orphan
            orphan = orphan and not _load("recording.service").ends_with_us()
        _spawn(recorder, 0.0, LOG_S, lines, orphan)  # waited for at exit alone
        return
    asked = recorder.settings["sender"]
    inline = forced == "inline" or (not forced and (asked == "inline" or bool(recorder.decision.ci) or _in_container()))
    inline = inline and not early and recorder.children is None  # a service never waits
    python = recorder.settings.get("python") or sys.executable
    usual = type(python) is str and python.rpartition("/")[2].startswith("python") and os.access(python, os.X_OK)
    if (
        mode != "on"
        or "none" in (forced, asked)
        or not hasattr(os, "posix_spawn")
        or sys.__dict__.get("frozen")  # asking a module for what it has not is dear
        or not (usual or _load("recording.sender_absent").is_interpreter(python))
    ):
        _load("recording.sender_absent").keep_waiting(recorder, python)
        return
    delay = SEND_DELAY_S
    try:
        delay = max(0.0, float(get("OTEL_USAGE_SEND_DELAY_S") or delay))
    except ValueError:
        pass
    now, token = time(), recorder.spool + "/" + WAKE
    try:
        status = os.stat(token)
        ahead = status.st_mtime - now if status.st_ctime < now + SKEW_S else 0.0
    except FileNotFoundError:
        ahead = 0.0
        os.close(os.open(token, os.O_WRONLY | os.O_CREAT, 0o600))
    # A pause for wrong settings has their checksum in its token, and ends with them.
    if (delay if inline else 0.0) < ahead <= STALE_S and (
        ahead <= delay
        or not status.st_size
        or not _load("recording.fingerprint").changed(token, repr(recorder.settings))
    ):
        return
    if len(os.listdir(recorder.spool + "/" + NEW)) > MAX_WAITING:
        _load("recording.folders").trim(recorder.spool)
    if not inline:
        os.utime(token, (now + delay, now + delay))
    try:
        _spawn(recorder, 0.0 if inline else delay, INLINE_S if inline else 0.0, [], orphan and not inline)
    except OSError as exc:
        _fault(expected=True)
        _load("recording.sender_absent").keep_waiting(recorder, python, exc)


def _spawn(recorder, delay, wait_s, lines, orphan):
    # type: (Recorder, float, float, list[bytes], bool) -> None
    """Start the child: own session, no stream, descriptor or folder of the host's, nothing secret to be seen.

    wait_s: wait for it that long, at most. orphan: by way of a shell that ends at once, so that it is nobody's child.
    """
    settings, decision = recorder.settings, recorder.decision
    program = settings.get("python") or sys.executable
    # What the child needs of sys.path: absolute texts. What else is there, the import system passes over too.
    # The script's folder comes last, so that its modules shadow none of ours.
    path = settings.get("path") or []
    for entry in [] if path else sys.path[1:] + sys.path[:1]:
        if issubclass(type(entry), str):
            text = str.__str__(entry)  # of a subclass, the plain text
            try:
                path += [text if text[:1] == "/" else os.path.abspath(text)] if text else []
            except OSError:  # relative to a folder that is gone
                pass
    order = {"app": recorder.app, "path": path, "home": decision.home, "mode": decision.mode}
    order.update(since_s=decision.since_s, ci=decision.ci, lines=lines, token=recorder.spool + "/" + WAKE)
    try:
        message = dumps((delay, order, settings), 2)  # a tenth of what repr costs; 2: as every Python reads it
    except ValueError:  # not of plain types alone
        message = dumps((delay, repr(order), repr(settings)), 2)
    if hasattr(os, "memfd_create"):
        source = os.memfd_create("otel-usage")
        os.write(source, message)
        os.lseek(source, 0, 0)
    else:
        source = _load("recording.sender_odd").pipe_with(message)
    os.set_inheritable(source, True)
    quiet = ["-B"] if sys.dont_write_bytecode else []
    command = [program, "-I", "-S", *quiet, "-c", BOOT, "otel-usage", recorder.app]
    stdin = 0
    if orphan and os.access("/bin/sh", os.X_OK):
        # By way of 3: a shell takes the standard input of what it puts into the background from /dev/null.
        stdin, command, wait_s = 3, ["/bin/sh", "-c", '"$@" <&3 3<&- &', "sh", *command], 1.0
    actions: list[Any] = [
        (os.POSIX_SPAWN_DUP2, source, stdin),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
    ]
    if decision.mode != "log":
        actions.append((os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0))
    # Before there is a child that nobody waits for. A service's own thread does: see service.py.
    waiting = _load("recording.sender_odd") if wait_s and recorder.children is None else None
    environ = {**os.environ._data, BRAKE: b"1"}  # type: ignore[attr-defined]
    try:
        try:
            pid = os.posix_spawn(command[0], command, environ, file_actions=actions, setsid=True)
        except NotImplementedError:
            pid = os.posix_spawn(command[0], command, environ, file_actions=actions, setpgroup=0)
    finally:
        os.close(source)
    if waiting is not None:
        waiting.wait(pid, wait_s, decision.mode == "log")
    elif recorder.children is not None:
        recorder.children.append(pid)
        if recorder.service is None:  # in log mode
            _load("recording.service").reap_in_a_thread(recorder.children)


def _in_container():
    # type: () -> bool
    """True if a container or a systemd unit ends when we do, and would take the sender along."""
    if os.getpid() == 1:
        return True
    return os.getppid() == 1 and _load("recording.folders").ends_with_process_1()
