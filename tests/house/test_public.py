"""The public names: few, and none by accident."""

import inspect
import subprocess
import sys
from pathlib import Path

import otel_usage

from ..hosts import ROOT

NAMES = Path(__file__).parent / "public_names.txt"


def names() -> list[str]:
    """Return what can be imported, and called on a handle, with signatures."""
    found = []
    for name in sorted(otel_usage.__all__):
        thing = getattr(otel_usage, name) if name != "SettingError" else None
        found.append(name + (str(inspect.signature(thing)) if thing and not inspect.isclass(thing) else ""))
    for name, thing in sorted(vars(otel_usage.Usage).items()):
        if not name.startswith("_"):
            found.append(f"Usage.{name}" + (str(inspect.signature(thing)) if inspect.isfunction(thing) else ""))
    return found


def test_public_names_are_those_of_the_list():
    """A name or parameter that is new, gone or different is on purpose: change tests/house/public_names.txt with it."""
    assert NAMES.read_text().splitlines() == names()


def test_programs_import_the_library_beside_these_tests():
    """The source tree's or the wheel's, whichever is tested: not another one that is installed."""
    code = "import otel_usage; print(otel_usage.__file__)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout

    assert f"{ROOT / 'otel_usage' / '__init__.py'}\n" == output


def test_nothing_else_is_public():
    """What is not in ``__all__`` is private, a module of ours, or a part of the gate that modules of ours use."""
    gate = {"CI", "Decision", "MACHINE", "TYPE_CHECKING", "VOICES", "WORDS", "decide", "getter", "home"}
    gate |= {"CONSENT", "stored", "variable", "voices", "word", "os", "sys"}
    code = "import otel_usage; print(*[n for n in vars(otel_usage) if n[0] != '_'])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout

    assert set() == set(output.split()) - set(otel_usage.__all__) - gate


def test_importing_does_no_work(tmp_path):
    """``import otel_usage`` reads no variable, opens no file, starts nothing and hooks nothing."""
    code = """
import sys
events = []
modules, meta, leave = set(sys.modules), list(sys.meta_path), sys.exit
sys.addaudithook(lambda event, args: events.append((event, args)))
import otel_usage
watched = [e for e in events if e[0] in ("os.putenv", "subprocess.Popen", "socket.socket", "os.mkdir")]
print(watched, sorted(set(sys.modules) - modules), meta == sys.meta_path, leave is sys.exit)
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout

    assert "[] ['otel_usage'] True True\n" == output


def test_the_functions_are_those_of_the_handle():
    """``otel_usage.action`` and the like work before `init`, and are the methods of what it returns."""
    for name in ("action", "command", "count", "error", "flush", "heartbeat", "run", "shutdown"):
        assert getattr(otel_usage, name).__self__ is otel_usage._usage


def test_everything_is_safe_before_init_and_does_nothing():
    """Calls before `init` do nothing, and context managers work."""
    code = """
import otel_usage
otel_usage.count("x"); otel_usage.count("x", 3, a=1); otel_usage.error("x"); otel_usage.heartbeat("x", a=1)
with otel_usage.action("x", a=1) as a: a.set(b=2)
with otel_usage.command("scan") as c: pass
otel_usage.action("x").set(b=1)
otel_usage.flush(); otel_usage.shutdown(); otel_usage.shutdown()
print(otel_usage.run(lambda a, b=1: a + b, 2, b=3))
otel_usage.count("x"); otel_usage.flush()
"""
    output = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True, cwd="/"
    ).stdout

    assert "5\n" == output


def test_naming_the_error_loads_no_schema():
    """``from otel_usage import SettingError`` costs a program one small module of ours, and none of the library's."""
    code = (
        "import sys, otel_usage; before = set(sys.modules); otel_usage.SettingError; print(*set(sys.modules) - before)"
    )

    ended = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=Path(__file__).parent.parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "otel_usage.setting_error\n" == ended.stdout
