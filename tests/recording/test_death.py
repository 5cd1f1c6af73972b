"""A program that dies without ending is ``unfinished``: its stub names the command, and its file is unlocked."""

import os
import signal
import sys
from pathlib import Path

import pytest

from ..hosts import Host, until

DEATHS = {
    "import os; os.abort()": -signal.SIGABRT,
    "import os, signal; os.kill(os.getpid(), signal.SIGTERM)": -signal.SIGTERM,
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)": -signal.SIGKILL,
    "import ctypes; ctypes.string_at(0)": -signal.SIGSEGV,
    "import os; os.execv('/bin/true', ['true'])": 0,
}
PROGRAMS = ["no_framework.py", "argparse_program.py", "click_program.py", "typer_program.py"]


def locked(path: Path) -> bool:
    """True if a living process holds *path*: the question that the sender asks."""
    with open(path, "r+b") as file:
        try:
            os.lockf(file.fileno(), os.F_TEST, 0)
        except OSError:
            return True
    return False


def the_stub(host: Host):
    (stub,) = host.stubs
    return stub


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("source", DEATHS, ids=repr)
def test_a_death_leaves_a_stub(host, program, source):
    """Whatever kills the process, what is to be reported lies in an unlocked file in ``open/``."""
    ended = host.run(program, *([source] if program == "no_framework.py" else ["do", source]))

    assert DEATHS[source] == ended.status
    assert [] == host.files("new")
    assert (None, "unfinished", None) == the_stub(host).ending
    assert ("scan" if program == "no_framework.py" else "do") == the_stub(host).command
    assert not the_stub(host).failed
    assert [False] == [locked(file) for file in host.files("open")]


def test_a_stub_has_the_options(host):
    """The stub has what was known when the command was: the options given before it."""
    host.run("argparse_program.py", "--verbose", "do", "--to", "x", "import os; os.abort()")

    assert ("do", ["--verbose"]) == (the_stub(host).command, the_stub(host).options)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_living_process_holds_its_file(host, program):
    """While a program runs its file is locked, so nobody takes it for dead."""
    source = "print('here', flush=True); sys.stdin.read()"
    process = host.start(program, *([source] if program == "no_framework.py" else ["do", source]), stdin=-1)
    assert b"here\n" == process.stdout.readline()

    held = [locked(file) for file in host.files("open")]
    process.communicate(timeout=30)

    assert [True] == held
    assert [] == host.files("open")
    assert 1 == len(host.files("new"))


def test_a_run_that_ends_keeps_the_ids_of_its_stub(host):
    """The stub and the record of a run have the same span id, so that a run is never reported as two."""
    source = "print('here', flush=True); sys.stdin.read()"
    process = host.start("argparse_program.py", "do", source, stdin=-1)
    assert b"here\n" == process.stdout.readline()

    stub = the_stub(host)
    process.communicate(timeout=30)

    assert stub.ids == host.the_run.ids
    assert stub.start_ns == host.the_run.start_ns <= host.the_run.end_ns


def test_death_before_the_command_is_known(host):
    """A program that dies before it parsed anything leaves an empty file, or one that says so."""
    ended = host.run("import os, otel_usage\notel_usage.init('prog', version='1', consent='opt-in')\nos.abort()\n")

    assert -signal.SIGABRT == ended.status
    assert all(stub.command == "(unknown)" for stub in host.stubs)
    assert 1 == len(host.files("open"))


def test_sigterm_handled_by_the_host_is_an_exit(host):
    """A program that turns SIGTERM into sys.exit ends by itself, with its own code."""
    source = (
        "import signal\n"
        "signal.signal(signal.SIGTERM, lambda *a: sys.exit(143))\n"
        "print('here', flush=True)\n"
        "while True: signal.pause()"
    )
    process = host.start("argparse_program.py", "do", source)
    assert b"here\n" == process.stdout.readline()

    process.terminate()
    process.communicate(timeout=30)

    assert 143 == process.returncode
    assert (143, "failure", "SystemExit") == host.the_run.ending


@pytest.mark.parametrize("how", ["os.fork()", "multiprocessing", "double fork", "subprocess"])
def test_a_child_does_not_hide_its_parents_death(host, how):
    """A parent that is killed while its child lives is seen as dead at once."""
    children = {
        "os.fork()": "import os\nif os.fork() == 0: wait()",
        "multiprocessing": (
            "import multiprocessing\nchild = multiprocessing.get_context('fork').Process(target=wait); child.start()"
        ),
        "double fork": "import os\nif os.fork() == 0:\n if os.fork() == 0: wait()\n os._exit(0)",
        "subprocess": "import subprocess; subprocess.Popen(['cat', GATE], close_fds=False)",
    }
    gate = host.tmp / "gate"
    os.mkfifo(gate)
    source = (
        f"GATE = {str(gate)!r}\n"
        "def wait():\n"
        " import os\n"
        " open(GATE).read()\n"
        " os._exit(0)\n"
        f"globals().update(locals())\n{children[how]}\n"
        "print('here', flush=True)\nimport time; time.sleep(60)"
    )
    process = host.start("no_framework.py", source)
    assert b"here\n" == process.stdout.readline()
    sink = os.open(gate, os.O_WRONLY)  # returns when the child reads

    process.kill()
    process.wait()
    held = [locked(file) for file in host.files("open")]
    os.close(sink)
    process.communicate(timeout=30)

    assert [False] == held
    assert "unfinished" == the_stub(host).ending[1]


def test_a_host_that_dies_in_an_exit_handler(host):
    """An exit handler that kills the process leaves it unfinished."""
    host.run("argparse_program.py", "do", "import atexit, os; atexit.register(os.abort)")

    assert "unfinished" == the_stub(host).ending[1]


def test_the_sender_took_the_file(host):
    """A run whose file was taken away, because it seemed dead, is not reported again."""
    process = host.start("argparse_program.py", "do", "print('here', flush=True); sys.stdin.read()", stdin=-1)
    assert b"here\n" == process.stdout.readline()
    (file,) = until(lambda: host.files("open"))

    file.unlink()
    process.communicate(timeout=30)

    assert 0 == process.returncode
    assert [] == host.files("new")
    assert [] == host.files("open")


if sys.platform == "darwin":  # os.abort() writes a report that takes seconds
    del DEATHS["import os; os.abort()"]
