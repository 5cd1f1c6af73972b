"""What the foreground loads: a list of files per framework, and of the library only what is built in."""

import ast
import os
import sys
import time

import pytest

from ..hosts import INTERPRETERS, ROOT, Host, version_of

# The source tree runs from readable parts, the wheel from files made of them: see hatch_build.py.
BUNDLED = not (ROOT / "otel_usage" / "recording" / "run.py").exists()
FRONT = {"__init__.py"} if BUNDLED else {"__init__.py", "consent/gate.py", "spool/__init__.py", "spool/layout.py"}
PARTS = {
    "agent.py",
    "builtin_module.py",
    "exit_watch.py",
    "frameworks.py",
    "otlp_text.py",
    "recorder.py",
    "run.py",
    "sender_start.py",
    "__init__.py",
}
PACKAGE = "aliases.py"  # loaded with a package, as the parts import each other
RUN = FRONT | ({"recording/bundle.py"} if BUNDLED else {PACKAGE} | {f"recording/{part}" for part in PARTS})
OURS = {
    # (program, mode): files of ours that are loaded when the program ends
    ("argparse", "off"): FRONT,
    ("click", "off"): FRONT,
    ("argparse", "on"): RUN | {"recording/argparse_adapter.py"},
    ("click", "on"): RUN | {"recording/click_adapter.py"},
    ("typer", "on"): RUN | {"recording/click_adapter.py"},
    ("", "on"): RUN,
}
USE = {
    "argparse": "import argparse; argparse.ArgumentParser().parse_args()",
    "click": "import click; click.Command('x', callback=lambda: None).main(standalone_mode=False)",
    "typer": "import typer; typer.Typer().command()(lambda: None)",
    "": "import os",
}
# Modules written in C that are part of the interpreter: loading one opens no file.
BUILT_IN = {"_functools", "_operator", "_thread", "_weakref", "atexit", "time"}


def settle(host: Host, mode: str) -> dict[str, str]:
    """Make it an ordinary run: not the first, and a sender is due, but not yet. Return the environment that says so."""
    token = host.spool / "wake"
    if not token.exists():
        host.run("no_framework.py", "pass")
        token.touch()
    os.utime(token, (time.time() + 600, time.time() + 600))
    return {"PROG_TELEMETRY": mode, "OTEL_USAGE_SENDER": "detached"}


def loaded(host: Host, use: str, init: bool, mode: str, python: str) -> set[str]:
    """Return the modules that a program has loaded after our last exit handler."""
    source = (
        "import atexit, os, sys\n"
        "def name(m): return getattr(sys.modules[m], '__file__', None) if m.startswith('otel_usage') else m\n"
        "atexit.register(lambda: os.write(2, ' '.join([name(m) or m for m in sys.modules]).encode()))\n"
        + ("import otel_usage; otel_usage.init('prog', version='1', consent='opt-in')\n" if init else "")
        + USE[use]
        + "\n"
        + ("app = typer.Typer(); app.command()(lambda: None); app(standalone_mode=False)" if use == "typer" else "")
    )
    ended = host.run(source, python=python, flags=("-S",) if use in ("", "argparse") else (), env=settle(host, mode))
    assert 0 == ended.status, ended.err.decode()
    return {ours(name) for name in ended.err.decode().split()}


def ours(name: str) -> str:
    """Return a file of ours below its package; other names as they are."""
    return name.removeprefix(str(ROOT / "otel_usage") + "/")


@pytest.mark.parametrize(("use", "mode"), OURS)
@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
def test_modules_loaded(host, use, mode, python):
    """A program loads the modules of ours that the table says, and of the library only what is built in."""
    if use in ("click", "typer") and python != INTERPRETERS[0]:
        pytest.skip("not installed there")
    with_us = loaded(host, use, True, mode, python)
    without = loaded(host, use, False, mode, python)

    assert OURS[use, mode] == {name for name in with_us if name.endswith(".py")}
    assert with_us - without - OURS[use, mode] <= BUILT_IN


@pytest.mark.parametrize("use", ["argparse", "click", "typer"])
def test_modules_loaded_where_the_framework_comes_first(host, use):
    """A program that imports its framework before us needs no import hook, and does not load one."""
    source = (
        f"import {use}\nimport otel_usage, sys\notel_usage.init('prog', version='1', consent='opt-in')\n{USE[use]}\n"
    )
    source += "app = typer.Typer(); app.command()(lambda: None); app(standalone_mode=False)\n" if use == "typer" else ""
    source += "print(*{vars(v)['__file__'] for m, v in list(sys.modules.items()) if m.startswith('otel_usage')})\n"

    ended = host.run(source, env=settle(host, "on"))

    assert OURS[use, "on"] == set(map(ours, ended.out.decode().split()))


def test_what_is_built_in_stays_built_in():
    """The modules we count on are part of this interpreter, and not shared objects."""
    assert BUILT_IN <= set(sys.builtin_module_names)


def test_a_failing_run_loads_one_file_more(host):
    """How a run failed is told by a file that others do not load."""
    source = "import argparse, atexit, sys, otel_usage\n"
    source += "atexit.register(lambda: print(*{sys.modules[m].__file__ for m in sys.modules if 'otel' in m}))\n"
    source += "otel_usage.init('prog', version='1', consent='opt-in')\n"
    source += "argparse.ArgumentParser().parse_args()\n1 / 0\n"

    ended = host.run(source, env=settle(host, "on"))

    assert OURS["argparse", "on"] | {"recording/failure.py"} == set(map(ours, ended.out.decode().split()))


@pytest.mark.skipif(BUNDLED, reason="read in the source tree")
def test_the_foreground_imports_little():
    """Modules of ring 0 import, besides each other, only what this list says."""
    from .code import MODULES, TREES, nodes, ring

    listed = {"os", "sys", "time", "gc", "traceback", "_json", "shutil", *BUILT_IN, "marshal"}
    listed |= {"binascii"}  # a checksum, where a sender found the settings wrong
    listed |= {"_signal"}  # of C: whether a service handles SIGTERM
    listed |= {
        "mmap",
        "threading",
        "hashlib",
    }  # where a service or a worker counts; its own thread; the place of a crash
    listed |= {
        "_collections"
    }  # its defaultdict is C: a signal handler can't come between reading a number and adding to it
    imported = set()
    for module, path in MODULES.items():
        if ring(module) == 0:
            for node in nodes(TREES[path]):
                if isinstance(node, ast.Import):
                    imported |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    imported.add(str(node.module))

    assert set() == imported - listed
