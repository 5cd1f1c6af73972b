"""Pyright and mypy agree: what tests/typing/wrong.py says is an error is one, and what api.py does is none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ..hosts import ROOT

HERE = Path(__file__).parent


def error_lines(text: str, folder: Path) -> set[int]:
    """Return the lines of *text* that pyright finds errors in. It heeds mypy's comments, so they are taken out."""
    file = folder / "checked.py"
    file.write_text("\n".join(line.partition("  # type: ignore")[0] for line in text.splitlines()), encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(file)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    rows = json.loads(ended.stdout)["generalDiagnostics"]
    return {row["range"]["start"]["line"] + 1 for row in rows if row["severity"] == "error"}


def test_as_pyright_sees_it(tmp_path: Path) -> None:
    """The API as its users write it has no error, and each line that mypy refuses is refused."""
    pytest.importorskip("pyright")
    right, wrong = ((HERE / name).read_text(encoding="utf-8") for name in ("api.py", "wrong.py"))

    assert set() == error_lines(right, tmp_path)
    assert {number for number, line in enumerate(wrong.splitlines(), 1) if "# type: ignore" in line} == error_lines(
        wrong, tmp_path
    )
