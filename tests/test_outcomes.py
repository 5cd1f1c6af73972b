"""Exit codes, outcomes and error types are those that the parent process sees."""


import pytest

from .conftest import INTERPRETERS, Ended, Host, version_of

# How a program ends: what must be recorded. The exit code must also be the one that the parent got.
NONE: tuple[int, str, str | None] = (0, "success", None)
EXIT = {
    "pass": NONE,
    "sys.exit()": NONE,
    "sys.exit(None)": NONE,
    "sys.exit(0)": NONE,
    "sys.exit(False)": NONE,
    "sys.exit(256)": NONE,
    "sys.exit(())": NONE,
    "sys.exit(3)": (3, "failure", "SystemExit"),
    "sys.exit(True)": (1, "failure", "SystemExit"),
    "sys.exit(-1)": (255, "failure", "SystemExit"),
    "sys.exit(257)": (1, "failure", "SystemExit"),
    "sys.exit(2**70)": (255, "failure", "SystemExit"),
    "sys.exit(3.5)": (1, "failure", "SystemExit"),
    "sys.exit('text')": (1, "failure", "SystemExit"),
    "sys.exit('')": (1, "failure", "SystemExit"),
    "sys.exit([])": (1, "failure", "SystemExit"),
    "sys.exit((1, 2))": (1, "failure", "SystemExit"),
    "sys.exit((4,))": (4, "failure", "SystemExit"),
    "sys.exit(SystemExit(5))": (5, "failure", "SystemExit"),
}
RAISED = {
    "raise ValueError('x')": (1, "failure", "ValueError"),
    "import json; json.loads('{')": (1, "failure", "json.decoder.JSONDecodeError"),
    "open('/missing/file')": (1, "failure", "FileNotFoundError"),
    "raise type('Mine', (Exception,), {})()": (1, "failure", "_OTHER"),
    "1 / 0": (1, "failure", "ZeroDivisionError"),
    "try:\n 1/0\nexcept ZeroDivisionError as e:\n raise KeyError('x') from e": (1, "failure", "KeyError"),
    "try:\n 1/0\nexcept ZeroDivisionError:\n sys.exit(7)": (7, "failure", "ZeroDivisionError"),
    "try:\n 1/0\nexcept ZeroDivisionError as e:\n sys.exit(e)": (1, "failure", "ZeroDivisionError"),
    "try:\n 1/0\nexcept ZeroDivisionError:\n sys.exit(0)": NONE,
    "raise BaseException('x')": (1, "failure", "BaseException"),
    "raise GeneratorExit": (1, "failure", "GeneratorExit"),
}
MISLEADING = {
    # a status that was caught is not the program's
    "try:\n sys.exit(3)\nexcept SystemExit:\n pass": NONE,
    "try:\n sys.exit(3)\nexcept SystemExit:\n sys.exit(4)": (4, "failure", "SystemExit"),
    "try:\n sys.exit(3)\nexcept SystemExit:\n raise": (3, "failure", "SystemExit"),
    "try:\n sys.exit(3)\nexcept SystemExit:\n raise ValueError": (1, "failure", "ValueError"),
    "try:\n sys.exit(3)\nfinally:\n print('bye')": (3, "failure", "SystemExit"),
    "import contextlib\nwith contextlib.suppress(SystemExit):\n sys.exit(3)": NONE,
    "import threading\nt = threading.Thread(target=sys.exit, args=(3,)); t.start(); t.join()": NONE,
    "import threading\nt = threading.Thread(target=sys.exit, args=(3,)); t.start(); t.join(); sys.exit(4)": (
        4, "failure", "SystemExit",
    ),
    "import asyncio\nasync def m(): sys.exit(6)\nasyncio.run(m())": (6, "failure", "SystemExit"),
    "import asyncio\nasync def m(): raise ValueError\nasyncio.run(m())": (1, "failure", "ValueError"),
    "import asyncio\nasync def m(): pass\nasyncio.run(m())": NONE,
    "import atexit; atexit.register(sys.exit, 5)": NONE,
    "import atexit; atexit.register(lambda: 1 / 0)": NONE,
    "import atexit; atexit.register(lambda: 1 / 0); sys.exit(3)": (3, "failure", "SystemExit"),
    "gen = (sys.exit(3) for _ in [1])\ntry: next(gen)\nexcept SystemExit: pass": NONE,
    "class A:\n def __del__(self): sys.exit(3)\nsys.unraisablehook = lambda *a: None\nA()": NONE,
    "sys.excepthook = lambda *a: None\nraise ValueError": (1, "failure", "ValueError"),
    "sys.excepthook = lambda *a: sys.exit(9)\nraise ValueError": (9, "failure", "SystemExit"),
    "sys.excepthook = lambda *a: sys.exit(0)\nraise ValueError": NONE,
    "sys.excepthook = lambda *a: print(a[0].__name__)\nraise ValueError": (1, "failure", "ValueError"),
}  # fmt: skip
# What a program can end with that nothing tells us in advance: right, or unknown.
UNKNOWABLE = {
    "raise SystemExit(3)": 3,
    "raise SystemExit": 0,
    "raise SystemExit('text')": 1,
    "try:\n sys.exit(3)\nexcept SystemExit:\n raise SystemExit(4)": 4,
    "try:\n sys.exit(0)\nexcept SystemExit:\n raise SystemExit(4)": 4,
    "try:\n sys.exit(3)\nexcept SystemExit as e:\n kept = e\nraise SystemExit(4)": 4,
    "try:\n sys.exit(3)\nexcept SystemExit as e:\n globals()['kept'] = e\nraise SystemExit(4)": 4,
    "import asyncio\nasync def m(): raise SystemExit(6)\nasyncio.run(m())": 6,
    "exit(3)": 3,
    "quit()": 0,
    "class Quit(SystemExit): pass\nraise Quit(3)": 3,
}


def check(host: Host, ended: Ended, expected: tuple[int, str, str | None]) -> None:
    run = host.the_run
    assert expected == run.ending, ended.err.decode()
    assert expected[0] == (ended.status if ended.status >= 0 else 128 - ended.status)
    assert bool(expected[0]) == run.failed


ALL = {**EXIT, **RAISED, **MISLEADING}


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
@pytest.mark.parametrize("source", ALL, ids=repr)
def test_argparse_programs_end_as_the_parent_sees(host, source, python):
    """Every ending of an argparse program, on every Python here, is recorded with the exit code that the parent got."""
    ended = host.run("argparses.py", "do", source, python=python)

    check(host, ended, ALL[source])
    assert "do" == host.the_run.command


@pytest.mark.parametrize("program", ["plain.py", "runs.py"])
@pytest.mark.parametrize("source", ALL, ids=repr)
def test_programs_without_framework_end_as_the_parent_sees(host, source, program):
    """The same without a framework, with and without `run`."""
    ended = host.run(program, source)

    check(host, ended, ALL[source])
    assert "scan" == host.the_run.command


@pytest.mark.parametrize("program", ["clicks.py", "typers.py"])
@pytest.mark.parametrize("source", ALL, ids=repr)
def test_click_and_typer_programs_end_as_the_parent_sees(host, source, program):
    """The same for click and typer, which catch some exceptions and turn them into exit codes."""
    ended = host.run(program, "do", source)

    check(host, ended, ALL[source])
    assert "do" == host.the_run.command


@pytest.mark.parametrize("program", ["plain.py", "runs.py", "argparses.py", "clicks.py", "typers.py"])
@pytest.mark.parametrize("source", UNKNOWABLE, ids=repr)
def test_a_status_that_nobody_can_know_is_unknown(host, source, program):
    """A SystemExit raised directly is recorded right or as unknown, never as something else."""
    argv = (source,) if program in ("plain.py", "runs.py") else ("do", source)
    ended = host.run(program, *argv)
    code, outcome, error = host.the_run.ending

    assert UNKNOWABLE[source] == ended.status
    assert code in (None, ended.status), host.the_run
    if code is None:
        assert ("unknown", None) == (outcome, error)
        assert not host.the_run.failed
