"""The suite of 0.1 lives on: every test function that it had is here, and asserts no less."""

from __future__ import annotations

import ast
import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..hosts import ROOT

BEFORE_THE_MOVE = "48555ae"
# Tests of the old layout, and the tests that took their place.
REPLACED = {
    "test_every_module_names_its_ring": "test_layout.py: a folder is a ring, and no docstring names one",
    "test_a_failing_run_loads_one_module_more": "test_imports.py: test_a_failing_run_loads_one_file_more",
    "test_optimized": "test_loading.py: test_python_O_uses_its_own_bytecode",
    "test_broken_bytecode": "test_loading.py: test_torn_bytecode_is_not_run",
}


def functions(sources: Iterator[str]) -> dict[str, int]:
    """Return {test function: how many things it asserts}, the sum where two files have one of the same name."""
    asserted: dict[str, int] = {}
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                checks = [n for n in ast.walk(node) if isinstance(n, ast.Assert)]
                asserted[node.name] = asserted.get(node.name, 0) + len(checks)
    return asserted


def test_no_test_and_no_assertion_was_lost() -> None:
    """By name and by number of assertions, over all files."""
    command = ["git", "archive", BEFORE_THE_MOVE, "tests"]
    archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip("the history of the repository is not here")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        members = [member for member in tar.getmembers() if Path(member.name).match("test_*.py")]
        before = functions((tar.extractfile(member) or io.BytesIO()).read().decode() for member in members)
    now = functions(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))

    assert len(before) > 500
    assert [] == sorted(name for name in before.keys() - now.keys() if name not in REPLACED)
    assert {} == {name: (n, now[name]) for name, n in before.items() if name in now and now[name] < n}
