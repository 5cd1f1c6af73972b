"""Exit codes, outcomes and error types are those that the parent process sees."""

import os
import signal
import sys

import pytest

from ..hosts import INTERPRETERS, Ended, Host, version_of

# How a program ends: what must be recorded. The exit code must also be the one that the parent got.
NONE: tuple[int, str, str | None] = (0, "success", None)
EXIT = {
    "pass": NONE,
    "sys.exit()": NONE,
    "sys.exit(None)": NONE,
    "sys.exit(0)": NONE,
    "sys.exit(False)": NONE,
    "sys.exit(256)": NONE,
    "sys.exit(3)": (3, "failure", "SystemExit"),
    "sys.exit(True)": (1, "failure", "SystemExit"),
    "sys.exit(-1)": (255, "failure", "SystemExit"),
    "sys.exit(257)": (1, "failure", "SystemExit"),
    "sys.exit(2**70)": (255, "failure", "SystemExit"),
    "sys.exit(3.5)": (1, "failure", "SystemExit"),
    "sys.exit('text')": (1, "failure", "SystemExit"),
    "sys.exit('')": (1, "failure", "SystemExit"),
    "sys.exit([])": (1, "failure", "SystemExit"),
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
    "sys.exit(('a', 'b'))": 1,
    "try:\n sys.exit(3)\nexcept SystemExit:\n sys.exit(('a', 'b'))": 1,
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
    ended = host.run("argparse_program.py", "do", source, python=python)

    check(host, ended, ALL[source])
    assert "do" == host.the_run.command


@pytest.mark.parametrize("program", ["no_framework.py", "calls_run.py"])
@pytest.mark.parametrize("source", ALL, ids=repr)
def test_programs_without_framework_end_as_the_parent_sees(host, source, program):
    """The same without a framework, with and without `run`."""
    ended = host.run(program, source)

    check(host, ended, ALL[source])
    assert "scan" == host.the_run.command


@pytest.mark.parametrize("program", ["click_program.py", "typer_program.py"])
@pytest.mark.parametrize("source", ALL, ids=repr)
def test_click_and_typer_programs_end_as_the_parent_sees(host, source, program):
    """The same for click and typer, which catch some exceptions and turn them into exit codes."""
    ended = host.run(program, "do", source)

    check(host, ended, ALL[source])
    assert "do" == host.the_run.command


@pytest.mark.parametrize(
    "program", ["no_framework.py", "calls_run.py", "argparse_program.py", "click_program.py", "typer_program.py"]
)
@pytest.mark.parametrize("source", UNKNOWABLE, ids=repr)
def test_a_status_that_nobody_can_know_is_unknown(host, source, program):
    """A SystemExit raised directly is recorded right or as unknown, never as something else."""
    argv = (source,) if program in ("no_framework.py", "calls_run.py") else ("do", source)
    ended = host.run(program, *argv)
    code, outcome, error = host.the_run.ending

    assert UNKNOWABLE[source] == ended.status
    assert code in (None, ended.status), host.the_run
    if code is None:
        assert ("unknown", None) == (outcome, error)
        assert not host.the_run.failed


CLICK = {
    "ctx.exit()": NONE,
    "ctx.exit(0)": NONE,
    "ctx.exit(4)": (4, "failure", "exceptions.Exit"),
    "raise click.exceptions.Exit(6)": (6, "failure", "exceptions.Exit"),
    "raise click.Abort": (1, "interrupted", "exceptions.Abort"),
    "ctx.abort()": (1, "interrupted", "exceptions.Abort"),
    "ctx.fail('x')": (2, "usage_error", "exceptions.UsageError"),
    "raise click.UsageError('x')": (2, "usage_error", "exceptions.UsageError"),
    "raise click.BadParameter('x')": (2, "usage_error", "exceptions.BadParameter"),
    "raise click.ClickException('x')": (1, "failure", "exceptions.ClickException"),
    "raise click.FileError('x')": (1, "failure", "exceptions.FileError"),
    "raise EOFError": (1, "interrupted", "EOFError"),
    "raise OSError(32, 'broken pipe')": (1, "failure", "BrokenPipeError"),
    "try:\n ctx.fail('x')\nexcept Exception:\n pass": NONE,
}
TYPER = {
    "ctx.exit()": NONE,
    "ctx.exit(4)": (4, "failure", "exceptions.Exit"),
    "raise typer.Exit()": NONE,
    "raise typer.Exit(6)": (6, "failure", "exceptions.Exit"),
    "raise typer.Abort()": (1, "interrupted", "exceptions.Abort"),
    "raise typer.BadParameter('x')": (2, "usage_error", "click.exceptions.BadParameter"),  # of its own click
    "ctx.fail('x')": (2, "usage_error", "click.exceptions.UsageError"),
    "raise EOFError": (1, "interrupted", "EOFError"),
    "raise OSError(32, 'broken pipe')": (1, "failure", "BrokenPipeError"),
}


@pytest.mark.parametrize(
    ("program", "source"), [("click_program.py", s) for s in CLICK] + [("typer_program.py", s) for s in TYPER], ids=repr
)
def test_exceptions_of_click_end_as_click_says(host, program, source):
    """Exit, Abort and click's errors raised by a command are recorded as what click makes of them."""
    code, outcome, error = (CLICK if program == "click_program.py" else TYPER)[source]
    if error and error.startswith("exceptions."):
        error = program.replace("_program.py", ".") + error

    ended = host.run(program, "do", source)

    check(host, ended, (code, outcome, error))


@pytest.mark.parametrize("program", ["argparse_program.py", "click_program.py", "typer_program.py"])
@pytest.mark.parametrize(
    ("argv", "code", "outcome", "command"),
    [
        (["--help"], 0, "help", "(root)"),
        (["do", "--help"], 0, "help", "do"),
        (["report", "upload", "--help"], 0, "help", "report upload"),
        (["--nonsense"], 2, "usage_error", "(root)"),
        (["do"], 2, "usage_error", "do"),
        (["do", "--nonsense", "pass"], 2, "usage_error", "do"),
        (["do", "--number", "seven", "pass"], 2, "usage_error", "do"),
        (["nonsense"], 2, "usage_error", "(root)"),
        (["report", "nonsense"], 2, "usage_error", "report"),
        (["report", "upload", "file"], 0, "success", "report upload"),
        (["do", "sys.exit(2)"], 2, "failure", "do"),
    ],
    ids=repr,
)
def test_help_and_usage_errors_are_told_apart(host, program, argv, code, outcome, command):
    """Help is success of another kind, and a usage error is not a failure of the program's."""
    ended = host.run(program, *argv)

    assert (code, outcome, command) == (*host.the_run.ending[:2], host.the_run.command), ended.err
    assert code == ended.status
    assert (command == "(root)") == (host.the_run.name == "prog")


@pytest.mark.parametrize("program", ["argparse_program.py", "click_program.py"])
def test_version_is_help(host, program):
    """``--version`` is not a use of the program."""
    ended = host.run(program, "--version")

    assert (0, "help") == host.the_run.ending[:2]
    assert 0 == ended.status


@pytest.mark.parametrize("program", ["click_program.py", "typer_program.py"])
def test_shell_completion_is_no_run(host, program):
    """A shell that asks for completions is not a use of the program: nothing is recorded, or left behind."""
    env = {"_PROG_COMPLETE": "complete_bash" if program == "typer_program.py" else "bash_complete"}
    env |= {"COMP_WORDS": "prog re", "COMP_CWORD": "1", "_TYPER_COMPLETE_ARGS": "prog re"}
    ended = host.run(program, env=env)

    assert b"report" in ended.out
    assert [] == host.files("new") + host.files("open")


def test_argcomplete_leaves_nothing(host):
    """argcomplete ends the process by os._exit at each TAB: nothing is left of it."""
    env = {"_ARGCOMPLETE": "1", "COMP_LINE": "prog re", "COMP_POINT": "7"}
    host.run("argparse_program.py", "do", "import os; os._exit(0)", env=env)

    assert not host.spool.exists()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups")
@pytest.mark.parametrize("program", ["no_framework.py", "argparse_program.py", "click_program.py", "typer_program.py"])
def test_an_exception_group_is_a_failure(host, program):
    """An exception group is recorded under its own name, not its members'."""
    source = "raise ExceptionGroup('x', [ValueError('y'), KeyError('z')])"
    ended = host.run(program, *([source] if program == "no_framework.py" else ["do", source]))

    check(host, ended, (1, "failure", "ExceptionGroup"))


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("no_framework.py", 130),
        ("calls_run.py", 130),
        ("argparse_program.py", 130),
        ("click_program.py", 1),
        ("typer_program.py", 130),
    ],
)
def test_ctrl_c_is_an_interruption(host, program, code):
    """Ctrl-C ends plain programs by the signal, click with 1, typer with 130; all are ``interrupted``."""
    source = "print('here', flush=True); import time; time.sleep(60)"
    process = host.start(program, *([source] if program in ("no_framework.py", "calls_run.py") else ["do", source]))
    assert b"here\n" == process.stdout.readline()

    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)

    assert code == (process.returncode if process.returncode >= 0 else 128 - process.returncode)
    assert (code, "interrupted") == host.the_run.ending[:2]


@pytest.mark.parametrize("program", ["no_framework.py", "argparse_program.py", "click_program.py", "typer_program.py"])
def test_a_broken_pipe_at_the_last_flush_is_120(host, program):
    """Nobody reads what is left in the buffer: the interpreter exits with 120, whatever the program did."""
    source = "print('lost')"
    argv = [source] if program == "no_framework.py" else ["do", source]
    read, write = os.pipe()
    os.close(read)
    ended = host.run(program, *argv, stdout=write)
    os.close(write)

    assert b"BrokenPipeError" in ended.err
    check(host, ended, (120, "failure", "BrokenPipeError"))


def test_a_broken_pipe_while_running_is_a_failure(host):
    """A print that fails because nobody reads is an ordinary exception."""
    read, write = os.pipe()
    os.close(read)
    ended = host.run("argparse_program.py", "do", "print('lost', flush=True)", stdout=write)
    os.close(write)

    assert host.the_run.ending[0] == ended.status
    assert "BrokenPipeError" == host.the_run.ending[2]


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
@pytest.mark.parametrize("source", ["pass", "sys.exit(3)", "1 / 0", "sys.exit('text')"])
def test_modules_run_with_dash_m(host, source, python):
    """``python -m`` programs end as the parent sees."""
    ended = host.run("-m", "argparse_program", "do", source, python=python)

    assert ended.status == host.the_run.ending[0]


def test_code_given_on_the_command_line(host):
    """``python -c`` programs end as the parent sees."""
    source = "import otel_usage, sys; otel_usage.init('prog', version='1', consent='opt-in'); sys.exit(3)"
    ended = host.run("-c", source)

    check(host, ended, (3, "failure", "SystemExit"))
    assert "(unknown)" == host.the_run.command
