"""The table of endings, on every Python here: the code that was recorded is the one that the parent sees, or none."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import pytest

from ..hosts import INTERPRETERS, Host, version_of

HEAD = """
import os, sys
import otel_usage
otel_usage.init("prog", version="1.4", consent="opt-in")
"""
DEEP = "def deep():\n try: {}\n finally: pass\ndeep()"  # below a function that might have caught it
FLUSH = "class F:\n def write(self, text): pass\n def flush(self): {}\nsys.stdout = F()"
# {how a program ends: the code that must be known, None where it can't be}
KNOWN: dict[str, int] = {
    "exit()": 0,
    "exit(3)": 3,
    "quit(4)": 4,
    "exit('text')": 1,
    DEEP.format("exit(5)"): 5,
    "try: exit(3)\nexcept SystemExit: pass": 0,
    DEEP.format("sys.exit()"): 0,
    DEEP.format("sys.exit(None)"): 0,
    DEEP.format("sys.exit(6)"): 6,
    "def deep():\n with open(os.devnull): sys.exit(6)\ndeep()": 6,
    "def deep():\n try: sys.exit(6)\n except SystemExit: pass\ndeep()": 0,
    "def deep():\n try: sys.exit()\n except SystemExit: return 2\nsys.exit(deep())": 2,
    "class E(BaseException):\n __dict__ = property(lambda self: 1 / 0)\ntry: raise E\nexcept E: sys.exit(7)": 7,
    "class E(SystemExit):\n __dict__ = property(lambda self: 1 / 0)\nsys.exit(E(7))": 7,
    "os._exit(0)": 0,
    "os._exit(8)": 8,
    "os._exit(status=8)": 8,
    "os._exit(256)": 0,
    "try: os._exit(8)\nfinally: print('never')": 8,
    "try: os._exit('text')\nexcept TypeError: sys.exit(9)": 9,
    "try: os._exit(1, 2)\nexcept TypeError: sys.exit(9)": 9,
    "import threading\nthreading.Thread(target=os._exit, args=(8,)).start()\nwhile 1: pass": 8,
    "try: os._exit(1 << 40)\nexcept OverflowError: sys.exit(9)": 9,
    "pid = os.fork()\nif not pid: os._exit(8)\nos.waitpid(pid, 0)": 0,
    "pid = os.fork()\nif pid: os._exit(8)": 8,
    "import atexit\natexit.register(os._exit, 8)": 8,
    "print('x')\nos.close(1)": 120,
    "os.close(1)": 0,
    "sys.stdout.close()": 0,
    "sys.stdout = None": 0,
    "sys.stdout.detach()": 120,
    "sys.stdout = object()": 120,
    "import io\nsys.stdout = io.StringIO()": 0,
    "import codecs\nsys.stdout = codecs.getwriter('utf-8')(sys.stdout.buffer)": 0,
    "import io\nsys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO('/dev/full', 'w')))\nprint('x')\nsys.exit(3)": 120,
}
NOT_KNOWN: dict[str, int] = {
    FLUSH.format("raise OSError"): 120,
    FLUSH.format("pass") + "\nsys.exit(3)": 3,
    "os.environ['PYTHONINSPECT'] = '1'\nsys.exit(3)": 3,
    "raise SystemExit(3)": 3,
    DEEP.format("raise SystemExit(3)"): 3,
    "import gc\ngc.disable()\nheap = [[] for _ in range(100_000)]\n" + DEEP.format("sys.exit(3)"): 3,
}


def recorded(host: Host) -> Any:
    """Return the code that was recorded; an outcome that says otherwise is an error."""
    code, outcome, error = host.the_run.ending
    assert (code is None) == (outcome == "unknown")
    assert bool(code) == bool(error) == host.the_run.failed
    return code


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
@pytest.mark.parametrize("source", KNOWN, ids=repr)
def test_the_code_is_the_one_that_the_parent_sees(host: Host, source: str, python: str) -> None:
    """Whatever ends the program: exit(), os._exit, sys.exit below a try, a stream that can't be flushed."""
    ended = host.run(f"{HEAD}{source}\n", python=python)

    assert (KNOWN[source], KNOWN[source]) == (ended.status, recorded(host)), ended.err.decode()


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
@pytest.mark.parametrize("source", NOT_KNOWN, ids=repr)
def test_a_code_that_cannot_be_known_is_left_out(host: Host, source: str, python: str) -> None:
    """No guess: the program's own flush, a prompt that follows, SystemExit raised directly."""
    ended = host.run(f"{HEAD}{source}\n", python=python)

    assert (NOT_KNOWN[source], None) == (ended.status, recorded(host)), ended.err.decode()


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize(
    "source",
    ["print('x')", "print('x')\nsys.exit(3)", "sys.exit(3)", "sys.exit('text')", "1 / 0", "raise KeyboardInterrupt"],
)
@pytest.mark.parametrize("path", ["/dev/full", "read-only"])
def test_a_stream_that_cannot_be_written(host: Host, source: str, stream: str, path: str, python: str) -> None:
    """A full disk, and a descriptor that can only be read: 120 where the interpreter says so."""
    opened = open(os.devnull if path == "read-only" else path, "rb" if path == "read-only" else "wb")  # noqa: SIM115
    with opened:
        ended = host.run(f"{HEAD}{source}\n", python=python, **{stream: opened})

    assert (ended.status if ended.status >= 0 else 128 - ended.status) == recorded(host)


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
def test_dash_i_is_not_known(host: Host, python: str) -> None:
    """After ``python -i`` the prompt decides: here an end of input, and 0."""
    ended = host.run(f"{HEAD}sys.exit(3)\n", python=python, flags=("-i",))

    assert (0, None) == (ended.status, recorded(host))


def test_the_flush_of_the_program_is_not_called_once_more(host: Host) -> None:
    """A flush that is the program's own is called by the interpreter alone, as without us."""
    source = FLUSH.format("os.write(2, b'flushed ')")

    assert host.run(f"{HEAD}{source}\n", env={"PROG_TELEMETRY": "off"}).err == host.run(f"{HEAD}{source}\n").err


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
def test_what_is_replaced_answers_as_before(host: Host, python: str) -> None:
    """os._exit and exit() are found by name, copied and pickled as without us, and are given back at the end."""
    source = f"""{HEAD}
import copy, inspect, pickle
assert os._exit is pickle.loads(pickle.dumps(os._exit)) is copy.deepcopy(os._exit)
assert ("_exit", "(status)") == (os._exit.__name__, str(inspect.signature(os._exit)))
for function in (exit, sys.exit):
    try: function(3)
    except SystemExit as e: assert type(e) is SystemExit and e.args == (3,) and e.code == 3
otel_usage.shutdown()
import _sitebuiltins
assert not hasattr(_sitebuiltins, "SystemExit") and type(os._exit) is type(sys.exit) is type(len)
"""
    assert b"" == host.run(source, python=python).err


def test_the_phase_of_the_collector_makes_no_difference(host: Host) -> None:
    """Wherever the garbage collector stands when the program ends, the code is known."""
    for phase in range(0, 700, 35):
        host.run(f"{HEAD}import gc\ngc.collect()\nheap = [[] for _ in range({phase})]\n{DEEP.format('sys.exit(3)')}")

    assert [3] * 20 == [run.ending[0] for run in host.runs]


def test_the_end_costs_the_same_however_large_the_program_is(host: Host) -> None:
    """What is asked at exit does not walk the heap: a million objects cost less than two milliseconds more."""
    source = HEAD + "import gc\nheap = [[] for _ in range({})]\ngc.collect()\n" + DEEP.format("sys.exit(3)")
    timed = """
import time
run = otel_usage._usage._recorder.run
died = run._died_last
def timing():
    start = time.perf_counter()
    died()
    print(time.perf_counter() - start)
run._died_last = timing
"""
    small, large = [
        min(float(host.run(source.format(n).replace("import gc", timed + "import gc")).out) for _ in range(3))
        for n in (1, 1_000_000)
    ]

    assert large - small < 0.002
    assert {3} == {run.ending[0] for run in host.runs}


GREEN = {
    "pass": 0,
    "sys.exit(3)": 3,
    "1 / 0": 1,
    "import greenlet\ngreenlet.greenlet(lambda: sys.exit(4)).switch()": 4,
    "import greenlet\ntry: greenlet.greenlet(lambda: sys.exit(4)).switch()\nexcept SystemExit: pass": 0,
    "import greenlet\ngreenlet.greenlet(lambda: 1 / 0).switch()": 1,
    "import eventlet\neventlet.spawn(lambda: sys.exit(4)).wait()": 4,
}


@pytest.mark.skipif(find_spec("eventlet") is None, reason="not installed")  # imported here, it would warn of each fork
@pytest.mark.parametrize("patch", ["", "before", "after"])
@pytest.mark.parametrize("source", GREEN, ids=repr)
def test_greenlets(host: Host, source: str, patch: str) -> None:
    """In greenlets and under eventlet, whose monkey_patch() takes away the threads' numbers, before `init` or after."""
    patching = "import warnings; warnings.simplefilter('ignore')\nimport eventlet; eventlet.monkey_patch()\n"
    before, after = (patching if patch == when else "" for when in ("before", "after"))

    ended = host.run(f"{before}{HEAD}{after}{source}\n")

    assert (GREEN[source], GREEN[source]) == (ended.status, recorded(host)), ended.err.decode()


@pytest.mark.parametrize("source", ["pass", "sys.exit(3)", "1 / 0"])
def test_coverage_run(host: Host, source: str) -> None:
    """``coverage run`` had taken hold of sys.exit before we came: the code is not known, and none is guessed."""
    program = host.tmp / "work" / "host.py"
    program.write_text(f"{HEAD}{source}\n")

    ended = host.run("-m", "coverage", "run", f"--data-file={host.tmp}/coverage", str(program))

    assert recorded(host) in (None, ended.status)


@pytest.mark.parametrize("strict", [(), ("-W", "error")])
def test_pytest_ends_as_without_us(host: Host, strict: tuple[str, ...]) -> None:
    """Where we are installed, and imported before pytest: no warning of ours, and the same exit code."""
    installed = host.tmp / "site" / "otel_usage-9.dist-info"  # as in a wheel, whose packages pytest rewrites
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: otel-usage\nVersion: 9\n")
    (installed / "RECORD").write_text("otel_usage/__init__.py,,\notel_usage_exporters/__init__.py,,\n")
    (installed / "entry_points.txt").write_text("[pytest11]\notel_usage = otel_usage.testing\n")
    (host.tmp / "work" / "test_ok.py").write_text("def test_ok(): pass\n")
    source = "import sys\nimport otel_usage\nimport pytest\nsys.exit(pytest.main(sys.argv[1:]))\n"
    argv = ("-q", "-p", "no:cacheprovider", *strict, "test_ok.py")

    ended = host.run(source, *argv, env={"PYTHONPATH": f"{host.tmp}/site{os.pathsep}{host.environ['PYTHONPATH']}"})

    assert (0, False) == (ended.status, b"arning" in ended.out), ended.out.decode() + ended.err.decode()
