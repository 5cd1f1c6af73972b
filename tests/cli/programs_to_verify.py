"""Programs that ``otel-usage verify`` looks at: sound ones, and ones in which `init` does more than it may."""

from __future__ import annotations

import ast
import json
import shutil
import sys
from typing import Any

from otel_usage.cli.proof import compare

from ..hosts import PROGRAMS, ROOT
from ..users import User

PROGRAM = [sys.executable, str(PROGRAMS / "every_switch.py"), "report"]


def verified(user: User, *options: str, strace: bool = False, **env: str) -> Any:
    """Return what ``otel-usage verify --json`` prints, with its exit code. strace: it may be found."""
    path = user.environ["PATH"] if strace else str(user.tmp)
    ended = user.ours("verify", "--json", *options, "--", *PROGRAM, OTEL_USAGE_SENDER="detached", PATH=path, **env)
    assert b"" == ended.err
    return {**json.loads(ended.out), "status": ended.status}


HOST = "import otel_usage\nusage = otel_usage.init('prog', version='1', consent='opt-in')\n"


def program(user: User, code: str, name: str = "prog.py") -> list[str]:
    """Return the command that runs *code* as a program of its own."""
    file = user.tmp / "work" / name
    file.write_text(code)
    return [sys.executable, str(file)]


def found_in(user: User, code: str, *argv: str, **env: str) -> Any:
    """Return what is found in a program that is *code*, while DO_NOT_TRACK says off."""
    return compare([*program(user, code), *argv], {**user.environ, "DO_NOT_TRACK": "1", **env}, strace=None)


def leaking(user: User, leak: str) -> dict[str, str]:
    """Return an environment in which our `init` does *leak* whoever says off, and is sound otherwise."""
    folder = user.tmp / "leaking"
    shutil.copytree(ROOT / "otel_usage", folder / "otel_usage", ignore=shutil.ignore_patterns("__pycache__"))
    gate = folder / "otel_usage" / "__init__.py"
    text = gate.read_text()
    init = next(node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == "init")
    lines = text.splitlines(keepends=True)
    lines.insert(init.body[1].lineno - 1, "    " + leak.replace("\n", "\n    ") + "\n")  # after the docstring
    gate.write_text("".join(lines))
    return {"PYTHONPATH": str(folder)}
