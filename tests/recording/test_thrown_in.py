"""What a host throws into its own code reaches it, even if ours was running: deadlines, limits, Ctrl-C."""

import pytest

from ..hosts import INTERPRETERS, version_of

HEAD = """
import ctypes, errno, functools, os, signal, sys, threading, time
import otel_usage
schema = {"n": {"kind": "count", "why": "x"}, "did": {"why": "x"}}
usage = otel_usage.init("prog", version="1.4", consent="opt-in", schema=schema, flush_s=0.0001)
usage.command("scan")
# All is loaded first: an exception that meets the import system in a callback of its own is printed, with us or without.
usage.count("n"); usage.action("did"); usage.flush(); otel_usage._load("recording.failure")
class Late(Exception): pass
"""

HANDLERS = {
    "a class of the host's": "def handler(signum, frame): raise Late",
    "a class of the interpreter's": "def handler(signum, frame): raise TimeoutError",
    "with a text": "def handler(signum, frame): raise TimeoutError('too late')",
    "as the system raises it": "def handler(signum, frame): raise OSError(errno.ETIMEDOUT, 'too late')",
    "any arguments": "def handler(*args): raise ValueError('too late')",
    "a lambda": "def fail(): raise LookupError('late')\nhandler = lambda *_: fail()",
    "a method": "class Deadline:\n    def over(self, signum, frame): raise Late('too late')\nhandler = Deadline().over",
    "an object": "class Deadline:\n    def __call__(self, signum, frame): raise TypeError('too late')\nhandler = Deadline()",
    "a partial": "def fail(of, signum, frame): raise RuntimeError('late')\nhandler = functools.partial(fail, 5)",
    "through a library": "def handler(signum, frame): os.stat('/no/such/file')",
    "once": "def handler(signum, frame):\n    signal.signal(signal.SIGALRM, signal.SIG_DFL)\n    raise Late",
    "Ctrl-C": "def handler(signum, frame): raise KeyboardInterrupt",
    "an end": "def handler(signum, frame): sys.exit(5)",
}
LOOP = """
raised = caught = 0
def until_raised(before):  # a function: on 3.12 and 3.13 a loop's jump back lies outside the try that it stands in
    while raised == before:
        usage.count("n"); usage.action("did"); usage.error("none", to=object())
def counting(*args):
    global raised
    raised += 1
    return real(*args)
class Counting:
    def __init__(self, of): self.of = of
    def __call__(self, signum, frame):
        global raised
        raised += 1
        self.of(signum, frame)
real = Counting(handler)
end = time.monotonic() + 20
while raised < 100 and time.monotonic() < end:
    signal.signal(signal.SIGALRM, real)
    before = raised
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0003)
        until_raised(before)
        caught -= 1000  # it was raised, and did not come through
    except BaseException:
        caught += 1
signal.setitimer(signal.ITIMER_REAL, 0)
print(raised, caught)
"""


@pytest.mark.parametrize("how", HANDLERS)
def test_what_a_signal_handler_raises(host, how):
    """Every exception of a signal handler comes through, whatever its class, wherever it met us."""
    ended = host.run(HEAD + HANDLERS[how] + LOOP)

    assert "100 100\n" == ended.out.decode(), ended.err.decode()
    assert (0, b"") == (ended.status, ended.err)


@pytest.mark.parametrize("python", INTERPRETERS[1:], ids=version_of)
def test_on_any_python(host, python):
    """The same on every Python."""
    ended = host.run(HEAD + HANDLERS["a class of the interpreter's"] + LOOP, python=python)

    assert "100 100\n" == ended.out.decode(), ended.err.decode()
    assert b"" == ended.err


def test_no_count_is_doubled(host):
    """What was counted before a handler raised is counted once; at most the interrupted call's is lost."""
    source = (
        HEAD.replace("flush_s=0.0001", "flush_s=60")
        + """
def handler(signum, frame): raise Late
signal.signal(signal.SIGALRM, handler)
done = interrupted = 0
while interrupted < 100:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0003)
        while True:
            usage.count("n"); done += 1
    except Late:
        interrupted += 1
print(done, interrupted)
"""
    )
    done, interrupted = map(int, host.run(source).out.split())

    assert done - interrupted <= host.counts[("usage.count.n", ())] - 1 <= done + interrupted


def test_what_another_thread_sets(host):
    """An exception set by ``PyThreadState_SetAsyncExc`` (RQ, thread killers) comes through."""
    source = (
        HEAD
        + """
class Stop(Exception): pass
thread, sets = threading.main_thread().ident, ctypes.pythonapi.PyThreadState_SetAsyncExc
caught = 0
for kind in (Stop, TimeoutError, ValueError, RuntimeError, KeyboardInterrupt) * 20:
    started = threading.Event()
    def throw():
        started.wait()
        sets(ctypes.c_ulong(thread), ctypes.py_object(kind))
    killer = threading.Thread(target=throw); killer.start()
    try:
        started.set()
        end = time.monotonic() + 5
        while time.monotonic() < end:
            usage.count("n"); usage.action("did"); usage.flush()
    except kind:
        caught += 1
    killer.join()
print(caught)
"""
    )
    ended = host.run(source)

    assert "100\n" == ended.out.decode(), ended.err.decode()


def test_while_init_runs(host):
    """A deadline that passes inside of `init` comes through."""
    source = """
import signal, sys, otel_usage
class Late(Exception): pass
def handler(signum, frame): raise Late
signal.signal(signal.SIGALRM, handler)
real = otel_usage._load
def load(name):
    otel_usage._load = real
    signal.raise_signal(signal.SIGALRM)
    return real(name)
otel_usage._load = load
try:
    otel_usage.init("prog", version="1", consent="opt-in")
except Late:
    print("late")
"""
    ended = host.run(source)

    assert ("late\n", b"") == (ended.out.decode(), ended.err)


def test_while_a_parser_tells_us(host):
    """One that passes while an adapter looks at the parser comes through, too."""
    source = """
import argparse, signal, otel_usage
class Late(Exception): pass
def handler(signum, frame): raise Late
signal.signal(signal.SIGALRM, handler)
otel_usage.init("prog", version="1", consent="opt-in")
from otel_usage.recording import run
real = run.Run.name_command
def slow(*args, **more):
    signal.raise_signal(signal.SIGALRM)
    return real(*args, **more)
run.Run.name_command = slow
try:
    argparse.ArgumentParser().parse_args([])
except Late:
    print("late")
"""
    ended = host.run(source)

    assert ("late\n", b"") == (ended.out.decode(), ended.err)


def test_greenlets_that_are_killed(host):
    """gevent kills a greenlet, and ends a timeout, inside of our calls."""
    pytest.importorskip("gevent")
    source = (
        "from gevent import monkey; monkey.patch_all()\nimport gevent\n"
        + HEAD
        + """
def work():
    while True:
        usage.count("n"); usage.action("did"); gevent.sleep(0)
greenlet = gevent.spawn(work); gevent.sleep(0.01); greenlet.kill()
caught = 0
for _ in range(5):
    try:
        with gevent.Timeout(0.005):
            work()
    except gevent.Timeout:
        caught += 1
print(greenlet.dead, caught)
"""
    )
    ended = host.run(source)

    assert "True 5\n" == ended.out.decode(), ended.err.decode()


@pytest.mark.parametrize("mode", ["inline", "log"])
def test_ctrl_c_while_we_wait_at_the_end(host, mode):
    """Whoever presses Ctrl-C when the program is done, and we wait for our sender, sees nothing of ours."""
    source = """
import os, signal, sys, time, otel_usage
usage = otel_usage.init("prog", version="1.4", consent="opt-in", destinations={"otlp": "http://127.0.0.1:9"})
usage.command("scan")
from otel_usage.recording import sender_odd
def interrupted(seconds): signal.raise_signal(signal.SIGINT)
sender_odd.sleep = interrupted
print("done")
sys.exit(3)
"""
    env = {"OTEL_USAGE_SENDER": "inline"} if mode == "inline" else {"PROG_TELEMETRY": "log"}
    ended = host.run(source, env=env)

    assert (3, b"done\n") == (ended.status, ended.out)
    assert b"Traceback" not in ended.err
    assert b"Exception ignored" not in ended.err


def test_faults_of_ours_stay_ours(host):
    """A fault of ours is no exception of the host's: it is swallowed, and noted."""
    source = HEAD + "from otel_usage.recording.actions import Events\n"
    source += "Events.accepted = lambda *a: {}['a fault']\nusage.action('did')\nprint('on')\n"
    ended = host.run(source)

    assert (0, b"on\n", b"") == (ended.status, ended.out, ended.err)
    assert "a fault" in host.faults
    (host.home / "debug" / "faults.log").unlink()
