"""Private details of interpreters that we lean on: each fails here, loudly, on the Python where it no longer holds."""

from __future__ import annotations

import subprocess

import pytest

from ..hosts import INTERPRETERS, ROOT, version_of

pytestmark = pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)


def run(python: str, code: str) -> str:
    """Return what *code* prints."""
    env = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    ended = subprocess.run([python, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert (0, "") == (ended.returncode, ended.stderr)
    return ended.stdout.strip()


def test_an_import_sets_initializing_true_and_then_false(python: str) -> None:
    """frameworks.py: ``spec._initializing`` is set before a module runs, and unset when it is complete, and only then."""
    code = """
import sys, importlib.util
seen = []
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name != "colorsys": return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        class Telling(type(spec)):
            def __setattr__(self, key, value):
                super().__setattr__(key, value)
                if key == "_initializing": seen.append((value, hasattr(sys.modules.get("colorsys"), "hls_to_rgb")))
        spec.__class__ = Telling
        return spec
sys.meta_path.insert(0, Finder())
import colorsys
print(seen)
"""
    assert "[(True, False), (False, True)]" == run(python, code)


def test_a_frame_that_returned_stands_on_a_return(python: str) -> None:
    """run.py: ``f_lasti`` of a frame that has ended is its last instruction: a RETURN if it returned, else another."""
    code = """
import sys
from otel_usage.recording.run import _returned
def frame_of(f):
    frames = []
    try: f(frames)
    except ValueError: pass
    return frames[0]
def none(frames): frames.append(sys._getframe())
def value(frames): frames.append(sys._getframe()); return [x for x in frames]
def variable(frames): frames.append(sys._getframe()); x = 1; return x
def branch(frames):
    frames.append(sys._getframe())
    if frames: return 1
    return 2
def nested(frames):
    frames.append(sys._getframe())
    try: return 1
    finally: frames.append(None)
def raising(frames): frames.append(sys._getframe()); raise ValueError
def passing(frames): frames.append(sys._getframe()); raising([])
print([_returned(frame_of(f)) for f in (none, value, variable, branch, nested, raising, passing)])
"""
    assert "[True, True, True, True, True, False, False]" == run(python, code)


def test_code_says_whether_it_may_catch(python: str) -> None:
    """run.py: an exception table, or in 3.10 an instruction, tells of try and with."""
    code = """
from otel_usage.recording.run import _catches
def plain(): f()
def catching():
    try: f()
    except ValueError: pass
def cleaning():
    try: f()
    finally: g()
def entering():
    with f(): g()
async def waiting():
    async with f(): g()
print([_catches(f.__code__) for f in (plain, catching, cleaning, entering)], _catches(waiting.__code__))
"""
    assert "[False, True, True, True] True" == run(python, code)


def test_what_an_exception_holds_dies_with_it(python: str) -> None:
    """run.py: a weak reference to a set in a SystemExit's ``__dict__`` calls back as soon as nobody holds the exception."""
    code = """
from _weakref import ref
died = []
def make():
    raised = SystemExit(3)
    mark = set()
    raised.__dict__["x"] = mark
    global watching
    watching = ref(mark, died.append)
    return raised
try: raise make()
except SystemExit as e: before = len(died)
print(before, len(died))
"""
    assert "0 1" == run(python, code)


def test_a_class_that_is_its_own_call_raises_from_c(python: str) -> None:
    """exit_watch.py: sys.exit's SystemExit is raised with the caller's frame as the only one in its traceback."""
    code = """
import sys
from otel_usage.recording.exit_watch import unwatch_exit, watch_exit
class Run:
    statuses = []
    def note_exit(self, raised, frame, handled): self.statuses.append((raised.code, frame.f_code.co_name))
run, plain = Run(), sys.exit
watch_exit(run)
def leave(status): sys.exit(status)
try: leave(3)
except SystemExit as e:
    trace, names = e.__traceback__, []
    while trace: names.append(trace.tb_frame.f_code.co_name); trace = trace.tb_next
print(names, run.statuses)
unwatch_exit(run)
print(sys.exit is plain)
"""
    assert "['<module>', 'leave'] [(3, 'leave')]\nTrue" == run(python, code)


def test_bytecode_has_the_header_that_the_loader_checks(python: str) -> None:
    """`_load`: a .pyc file begins with the magic number, four zeros, and the time and size of its source."""
    code = """
import importlib.util, os, py_compile, tempfile, sys
folder = tempfile.mkdtemp()
source = folder + "/m.py"
open(source, "w").write("x = 1\\n")
with open(py_compile.compile(source), "rb") as file: head = file.read(16)
status = os.stat(source)
want = sys.modules["_frozen_importlib_external"].MAGIC_NUMBER + bytes(4)
want += int(status.st_mtime).to_bytes(4, "little") + status.st_size.to_bytes(4, "little")
print(head == want, head[:4] == importlib.util.MAGIC_NUMBER)
"""
    assert "True True" == run(python, code)
