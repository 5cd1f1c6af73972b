"""What the foreground loads: a list, and no module of an outer ring."""

import ast
import os
import re
import sys
import time
from pathlib import Path

import pytest

from .conftest import INTERPRETERS, ROOT, Host, version_of

PACKAGE = ROOT / "otel_usage"
RUN = {"otel_usage", "otel_usage.recorder"}
OURS = {
    # (program, mode): modules of ours that are loaded when the program ends
    ("argparse", "off"): {"otel_usage"},
    ("click", "off"): {"otel_usage"},
    ("argparse", "on"): {*RUN, "otel_usage.argparse_adapter"},
    ("click", "on"): {*RUN, "otel_usage.click_adapter"},
    ("typer", "on"): {*RUN, "otel_usage.click_adapter"},
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
        host.run("plain.py", "pass")
        token.touch()
    os.utime(token, (time.time() + 600, time.time() + 600))
    return {"PROG_TELEMETRY": mode, "OTEL_USAGE_SENDER": "detached"}


def loaded(host: Host, use: str, init: bool, mode: str, python: str) -> set[str]:
    """Return the modules that a program has loaded after our last exit handler."""
    source = (
        "import atexit, os, sys\n"
        "atexit.register(lambda: os.write(2, ' '.join(sys.modules).encode()))\n"
        + ("import otel_usage; otel_usage.init('prog', version='1', consent='opt-in')\n" if init else "")
        + USE[use]
        + "\n"
        + ("app = typer.Typer(); app.command()(lambda: None); app(standalone_mode=False)" if use == "typer" else "")
    )
    ended = host.run(source, python=python, flags=("-S",) if use in ("", "argparse") else (), env=settle(host, mode))
    assert 0 == ended.status, ended.err.decode()
    return set(ended.err.decode().split())


@pytest.mark.parametrize(("use", "mode"), OURS)
@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
def test_modules_loaded(host, use, mode, python):
    """A program loads the modules of ours that the table says, and of the library only what is built in."""
    if use in ("click", "typer") and python != INTERPRETERS[0]:
        pytest.skip("not installed there")
    with_us = loaded(host, use, True, mode, python)
    without = loaded(host, use, False, mode, python)

    assert OURS[use, mode] == {name for name in with_us if name.partition(".")[0].startswith("otel_usage")}
    assert with_us - without - OURS[use, mode] <= BUILT_IN


@pytest.mark.parametrize("use", ["argparse", "click", "typer"])
def test_modules_loaded_where_the_framework_comes_first(host, use):
    """A program that imports its framework before us needs no import hook, and does not load one."""
    source = (
        f"import {use}\nimport otel_usage, sys\notel_usage.init('prog', version='1', consent='opt-in')\n{USE[use]}\n"
    )
    source += "app = typer.Typer(); app.command()(lambda: None); app(standalone_mode=False)\n" if use == "typer" else ""
    ended = host.run(
        source + "print(*[m for m in sys.modules if m.startswith('otel_usage')])\n", env=settle(host, "on")
    )

    assert OURS[use, "on"] == set(ended.out.decode().split())


def test_what_is_built_in_stays_built_in():
    """The modules we count on are part of this interpreter, and not shared objects."""
    assert BUILT_IN <= set(sys.builtin_module_names)


def test_a_failing_run_loads_one_module_more(host):
    """How a run failed is told by a module that others do not load."""
    source = "import argparse, atexit, sys, otel_usage\natexit.register(lambda: print([m for m in sys.modules if 'otel' in m]))\n"
    source += "otel_usage.init('prog', version='1', consent='opt-in')\n"
    source += "import argparse\nargparse.ArgumentParser().parse_args()\n"

    ended = host.run(source, "--nonsense", env=settle(host, "on"))

    assert b"['otel_usage', 'otel_usage.recorder', 'otel_usage.argparse_adapter', 'otel_usage.failure'" in ended.out


# -- rings --------------------------------------------------------------------------------------------------------


def ring(path: Path) -> int | None:
    """Return the ring that the module's docstring names; ``__main__`` is in its package's."""
    if path.name == "__main__.py":
        path = path.with_name("__init__.py")
    found = re.search(r"^Ring (\d)\b", ast.get_docstring(ast.parse(path.read_text())) or "", re.M)
    return int(found[1]) if found else None


def imports(path: Path) -> set[Path]:
    """Return the files of ours that *path* imports, at any depth; what only a type checker sees does not count."""
    found = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
                for other in child.orelse:
                    visit(other)
                continue
            if isinstance(child, ast.ImportFrom):
                base = path.parent
                for _ in range(child.level - 1):
                    base = base.parent
                parts = (child.module or "").split(".") if child.module else []
                if child.level == 0:
                    if not parts or parts[0] != "otel_usage":
                        continue
                    base, parts = PACKAGE, parts[1:]
                for names in ([*parts], *([*parts, alias.name] for alias in child.names)):
                    target = base.joinpath(*names)
                    found.update(p for p in (target.with_suffix(".py"), target / "__init__.py") if p.is_file())
            elif isinstance(child, ast.Import):
                for alias in child.names:
                    parts = alias.name.split(".")
                    if parts[0] == "otel_usage":
                        target = PACKAGE.joinpath(*parts[1:])
                        found.update(p for p in (target.with_suffix(".py"), target / "__init__.py") if p.is_file())
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.read_text().strip())
# Imports that point outward on purpose, each inside a function: (module, imported).
ALLOWED = {
    ("__init__.py", "schema.py"),  # the strict check of settings, in tests and development
    ("cli/__init__.py", "relay/serve.py"),  # the command, where the extra is installed
    ("lazy.py", "schema.py"),  # SettingError, for a host that asks for it
    ("lazy.py", "mounting.py"),  # for a host that mounts the commands
    ("notice.py", "remembered.py"),  # what is new, once per version of what is collected
}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_module_names_its_ring(path):
    """The docstring of every module says which ring it belongs to."""
    assert ring(path) in (0, 1, 2)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_inward(path):
    """No module imports one of an outer ring."""
    outward = {
        str(target.relative_to(PACKAGE))
        for target in imports(path)
        if (ring(target) or 0) > (ring(path) or 0)
        and (str(path.relative_to(PACKAGE)), str(target.relative_to(PACKAGE))) not in ALLOWED
    }
    assert set() == outward


def test_the_foreground_imports_little():
    """Modules of ring 0 import, besides each other, only what this list says."""
    listed = {"os", "sys", "time", "gc", "traceback", "_json", "shutil", *BUILT_IN, "posixpath", "types"}
    listed |= {"marshal", "sitecustomize", "otel_usage.attach"}  # `otel-usage run`: programs that know nothing of us
    listed |= {"binascii"}  # a checksum, where a sender found the settings wrong
    found = set()
    for path in MODULES:
        if ring(path) == 0:
            tree = ast.parse(path.read_text())
            guards = [
                n for n in ast.walk(tree) if isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING"
            ]
            skipped = {id(inner) for guard in guards for stmt in guard.body for inner in ast.walk(stmt)}
            for node in ast.walk(tree):
                if id(node) in skipped:
                    continue
                if isinstance(node, ast.Import):
                    found |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    found.add(str(node.module))

    assert found <= listed, found - listed
