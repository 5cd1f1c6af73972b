"""A recorded program is, byte for byte, the program that it is without us."""

import os
import re

import pytest

from ..hosts import INTERPRETERS, PROGRAMS, ROOT, Ended, Host, version_of
from .test_death import DEATHS
from .test_outcomes import ALL, CLICK, RAISED, TYPER, UNKNOWABLE


def run(host: Host, ours: bool, program: str, *argv: str, **options) -> Ended:
    """Run *program* with our package, or with one of the same names that does nothing."""
    library = host.tmp / "lib"
    library.unlink(missing_ok=True)
    library.symlink_to(ROOT if ours else PROGRAMS / "without")
    path = f"{library}{os.pathsep}{PROGRAMS}"
    sink = options.pop("to", None)
    if sink == "file":
        with open(host.tmp / "out", "wb") as file:
            ended = host.run(program, *argv, env={"PYTHONPATH": path}, stdout=file, **options)
        ended.out = (host.tmp / "out").read_bytes()
        return ended
    if sink == "closed":
        options["preexec_fn"] = lambda: os.close(1)
    if sink == "all closed":
        options["preexec_fn"] = lambda: os.closerange(0, 3)
    return host.run(program, *argv, env={"PYTHONPATH": path}, **options)


def text(raw: bytes) -> list[str]:
    """Return *raw* without what differs in every process: addresses of objects, and of threads."""
    return re.sub(r"0x[0-9a-f]+|started \d+|id='\d+'", "…", raw.decode()).splitlines()


def same(host: Host, program: str, *argv: str, recorded: bool = True, **options) -> Ended:
    """Run *program* both ways, and compare all that can be seen from outside."""
    without = run(host, False, program, *argv, **options)
    assert [] == host.files("new") + host.files("open")
    ours = run(host, True, program, *argv, **options)

    assert text(without.err) == text(ours.err)
    assert text(without.out) == text(ours.out)
    assert without.status == ours.status
    if recorded:
        assert host.files("new") + host.files("open"), "it was not even recorded"
    return ours


ENDINGS = [*ALL, *UNKNOWABLE, *DEATHS]
OUTPUT = "print('out'); print('err', file=sys.stderr)\n"


@pytest.mark.parametrize("source", ENDINGS, ids=repr)
def test_argparse_programs_are_unchanged(host, source):
    """Output, tracebacks and exit status of an argparse program, over all endings."""
    same(host, "argparse_program.py", "do", OUTPUT + source)


@pytest.mark.parametrize("source", ENDINGS, ids=repr)
def test_plain_programs_are_unchanged(host, source):
    """The same without a framework."""
    same(host, "no_framework.py", OUTPUT + source)


@pytest.mark.parametrize("source", [*ENDINGS, *CLICK], ids=repr)
def test_click_programs_are_unchanged(host, source):
    """The same for click."""
    same(host, "click_program.py", "do", OUTPUT + source)


@pytest.mark.parametrize("source", [*RAISED, *TYPER, *list(UNKNOWABLE)[:3]], ids=repr)
def test_typer_programs_are_unchanged(host, source):
    """The same for typer."""
    same(host, "typer_program.py", "do", OUTPUT + source)


@pytest.mark.parametrize("python", INTERPRETERS[1:], ids=version_of)
@pytest.mark.parametrize("source", ["pass", "sys.exit(3)", "1 / 0", *list(UNKNOWABLE)[:4]], ids=repr)
def test_programs_on_other_pythons_are_unchanged(host, source, python):
    """The same on every Python here."""
    same(host, "argparse_program.py", "do", OUTPUT + source, python=python)


@pytest.mark.parametrize("program", ["argparse_program.py", "click_program.py", "typer_program.py"])
@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["do", "--help"],
        ["--nonsense"],
        ["do"],
        ["nonsense"],
        ["do", "--number", "x", "y"],
        ["report", "nope"],
    ],
    ids=repr,
)
def test_help_and_usage_errors_are_unchanged(host, program, argv):
    """What the parsers themselves print, and exit with."""
    same(host, program, *argv)


@pytest.mark.parametrize("to", ["file", "closed", "all closed"])
@pytest.mark.parametrize("program", ["argparse_program.py", "click_program.py", "typer_program.py"])
@pytest.mark.parametrize("source", ["print('out')", "print('out'); sys.exit(3)", "1 / 0", "raise KeyboardInterrupt"])
def test_where_stdout_goes_makes_no_difference(host, program, source, to):
    """Stdout is a file, or closed, or no standard stream is open at all."""
    same(host, program, "do", source, to=to)


@pytest.mark.parametrize("program", ["no_framework.py", "argparse_program.py", "click_program.py"])
def test_a_reader_that_left_makes_no_difference(host, program):
    """Python's own words about a broken pipe, and its exit code 120."""
    argv = ["print('lost')"] if program == "no_framework.py" else ["do", "print('lost')"]
    seen = []
    for ours in (False, True):
        read, write = os.pipe()
        os.close(read)
        seen.append(run(host, ours, program, *argv, stdout=write))
        os.close(write)

    assert seen[0] == seen[1]
    assert 120 == seen[0].status


@pytest.mark.parametrize("source", ["pass", "sys.exit(3)", "1 / 0", "sys.exit('text')"])
def test_what_a_program_sees_of_its_process(host, source):
    """argv, environment and its children's, working directory, descriptors, signals, hooks, settings, children."""
    same(host, "prints_process_state.py", "--number", "3", source)


@pytest.mark.parametrize("flags", [("-W", "error"), ("-W", "always"), ("-O",), ("-u",), ("-I", "-S"), ("-E",)], ids=str)
@pytest.mark.parametrize("program", ["argparse_program.py", "no_framework.py"])
def test_interpreter_flags_make_no_difference(host, program, flags):
    """No warning of ours, not even as an error."""
    argv = ("open('/dev/null'); 1 / 0",) if program == "no_framework.py" else ("do", "open('/dev/null'); 1 / 0")
    if {"-I", "-E"} & set(flags):
        pytest.skip("PYTHONPATH is ignored")
    same(host, program, *argv, flags=flags)


@pytest.mark.parametrize("program", ["argparse_program.py", "click_program.py", "typer_program.py"])
@pytest.mark.parametrize("source", ["pass", "sys.exit(3)", "1 / 0", "open('/dev/null')"])
def test_development_mode_makes_no_difference(host, program, source):
    """``python -X dev -W error``: no resource left open, no deprecated call."""
    same(host, program, "do", source, flags=("-X", "dev", "-W", "error"))


@pytest.mark.parametrize("program", ["argparse_program.py", "click_program.py"])
def test_a_bare_environment_makes_no_difference(host, program):
    """An environment without HOME, PATH and our variables."""
    env = dict.fromkeys(["HOME", "PATH", "LANG", "TERM", "OTEL_USAGE_HOME"], None)
    library = host.tmp / "lib"
    seen = []
    for ours in (False, True):
        library.unlink(missing_ok=True)
        library.symlink_to(ROOT if ours else PROGRAMS / "without")
        seen.append(
            host.run(program, "do", "1 / 0", env={**env, "PYTHONPATH": f"{library}", "XDG_STATE_HOME": "/proc"})
        )

    assert seen[0] == seen[1]


@pytest.mark.parametrize("module", ["argparse", "click", "typer"])
def test_a_failing_import_is_unchanged(host, module):
    """A framework that is not there, or breaks while it is imported, fails as it does without us."""
    (host.tmp / "work" / f"{module}.py").write_text("1 / 0\n")
    program = f"import otel_usage\notel_usage.init('prog', version='1', consent='opt-in')\nimport {module}\n"

    ended = same(host, program)

    assert b"ZeroDivisionError" in ended.err


def test_tracebacks_of_parser_hooks_are_unchanged(host):
    """Code of the host that the parser calls sees no frame of ours around it."""
    same(
        host,
        """
import argparse, sys, traceback
import otel_usage
otel_usage.init("prog", version="1.4", consent="opt-in")

def kind(text):
    traceback.print_stack()
    raise ValueError("no")

class Action(argparse.Action):
    def __call__(self, *args):
        traceback.print_stack()
        1 / 0

class Parser(argparse.ArgumentParser):
    def error(self, message):
        traceback.print_stack()
        super().error(message)
    def exit(self, status=0, message=None):
        traceback.print_stack()
        super().exit(status, message)
    def _get_values(self, action, strings):
        traceback.print_stack()
        return super()._get_values(action, strings)

parser = Parser("prog")
parser.add_argument("--number", type=kind)
parser.add_argument("--act", action=Action, nargs=0)
for argv in (["--act"], ["--number", "3"], ["--help"]):
    try:
        parser.parse_args(argv)
    except BaseException:
        traceback.print_exc()
""",
    )


def test_tracebacks_of_click_callbacks_are_unchanged(host):
    """The same for click: parameter types, callbacks, contexts, commands."""
    same(
        host,
        """
import click, sys, traceback
import otel_usage
otel_usage.init("prog", version="1.4", consent="opt-in")

class Kind(click.ParamType):
    name = "kind"
    def convert(self, value, param, ctx):
        traceback.print_stack()
        return value

class Group(click.Group):
    def resolve_command(self, ctx, args):
        traceback.print_stack()
        return super().resolve_command(ctx, args)
    def get_command(self, ctx, name):
        traceback.print_stack()
        return super().get_command(ctx, name)

@click.group(cls=Group)
@click.option("--kind", type=Kind(), callback=lambda ctx, param, value: traceback.print_stack())
@click.pass_context
def cli(ctx, kind):
    ctx.call_on_close(traceback.print_stack)
    traceback.print_stack()

@cli.command()
def fail():
    1 / 0

cli(["--kind", "x", "fail"])
""",
    )


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
def test_what_can_be_asked_of_patched_functions(host, python):
    """Signatures, names, pickles and copies of what we replaced are those of the originals."""
    ended = same(
        host,
        """
import sys, argparse
import otel_usage
otel_usage.init("prog", version="1.4", consent="opt-in")
import copy, inspect, pickle
print(sys.exit.__name__, sys.exit.__qualname__, sys.exit.__module__, sys.exit.__doc__)
print(copy.copy(sys.exit) is sys.exit, copy.deepcopy(sys.exit) is sys.exit, hash(sys.exit) == hash(sys.exit))
for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
    print(pickle.dumps(sys.exit, protocol), pickle.loads(pickle.dumps(sys.exit, protocol)) is sys.exit)
    print(pickle._loads(pickle._dumps(sys.exit, protocol)) is sys.exit)
print(inspect.signature(sys.exit), callable(sys.exit), inspect.isroutine(argparse.ArgumentParser.parse_args))
for name in ("parse_args", "parse_known_args", "_parse_known_args", "_get_nargs_pattern", "error", "exit"):
    function = getattr(argparse.ArgumentParser, name)
    print(name, inspect.signature(function), function.__name__, function.__qualname__, type(function))
parser = argparse.ArgumentParser("prog")
print(inspect.signature(parser.parse_args), type(parser.parse_args), parser.parse_args.__func__.__name__)
parser.parse_args([])
print(inspect.getsource(argparse.ArgumentParser.parse_args)[:80])
print(len(copy.deepcopy(parser)._actions))
for wrong in ((1, 2), (1, 2, 3)):
    try:
        sys.exit(*wrong)
    except TypeError as error:
        print("TypeError")
from unittest import mock
with mock.patch("sys.exit") as patched:
    sys.exit(3)
print(patched.mock_calls)
with mock.patch("sys.exit", side_effect=SystemExit) as patched:
    try: sys.exit(4)
    except SystemExit as e: print(repr(e.code))
with mock.patch.object(argparse.ArgumentParser, "parse_args", return_value=7) as patched:
    print(parser.parse_args([]), patched.mock_calls)
print(parser.parse_args([]))
try: sys.exit("bye")
except SystemExit as e: print(repr(e), e.args, e.code, vars(e).keys() - {"_otel_usage"}, e.__context__)
""",
        python=python,
    )
    assert 0 == ended.status, ended.err


@pytest.mark.parametrize("when", ["before", "after", "both"])
def test_a_host_that_replaces_sys_exit(host, when):
    """A program with a sys.exit of its own keeps it, and it keeps working."""
    mine = """
def mine(status=None, plain=sys.exit):
    print("leaving with", status)
    plain(status)
sys.exit = mine
"""
    source = f"""
import argparse, atexit, sys
{mine if when in ("before", "both") else ""}
import otel_usage
otel_usage.init("prog", version="1.4", consent="opt-in")
{mine if when in ("after", "both") else ""}
atexit.register(lambda: print(getattr(sys.exit, "__name__", "")))
sys.exit(3)
"""
    ended = same(host, source)

    assert 3 == ended.status
    assert host.the_run.ending[0] in (3, None)


def test_exceptions_die_when_they_did(host):
    """We keep no exception, frame or parser of the host's alive longer than it would have lived."""
    same(
        host,
        """
import argparse, gc, sys, weakref
import otel_usage
otel_usage.init("prog", version="1.4", consent="opt-in")
gc.disable()

class Big:
    def __init__(self, name): self.name = name
    def __del__(self): print("gone", self.name)

def leave(status):
    big = Big(status)
    sys.exit(status)

for status in (0, 3, "text"):
    try:
        leave(status)
    except SystemExit as e:
        print("caught", e.code)
    print("next")
leave(5)
""",
    )


def test_threads_and_modules_are_not_added(host):
    """No thread is started or named, even by an `init` in a thread that Python does not know."""
    ended = same(
        host,
        """
import _thread, sys, threading
import otel_usage
lock = _thread.allocate_lock(); lock.acquire()
def work():
    otel_usage.init("prog", version="1.4", consent="opt-in")
    lock.release()
_thread.start_new_thread(work, ())
lock.acquire()
print(threading.enumerate())
""",
    )
    assert b"Dummy" not in ended.out
