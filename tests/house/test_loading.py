"""The recorder is loaded from current bytecode, and in every other case as `import` would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ..hosts import ROOT, Host, spans_in

PROGRAM = """
import argparse
import otel_usage
otel_usage.init("prog", version="1", consent="opt-out")
argparse.ArgumentParser().parse_args()
import otel_usage.recording.recorder
assert otel_usage.recording.recorder is __import__("sys").modules["otel_usage.recording.recorder"]
print(otel_usage.recording.recorder.__file__, otel_usage.recording.recorder.__spec__.name, otel_usage.recording.recorder.MARK)
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A copy of ring 0 of its own, without bytecode, whose recorder says which one it is."""
    package = tmp_path / "library" / "otel_usage"
    shutil.copytree(ROOT / "otel_usage", package, ignore=shutil.ignore_patterns("__pycache__"))
    with open(package / "recording" / "recorder.py", "a", encoding="utf-8") as file:
        file.write('\nMARK = "first"\n')
    return package


def run(tmp_path: Path, library: Path, *flags: str) -> str:
    """Run the program with the copy; return what it says, once it was recorded."""
    host = Host(tmp_path / os.urandom(4).hex())
    env = {"PYTHONPATH": str(library), "PYTHONDONTWRITEBYTECODE": None}

    ended = host.run(PROGRAM, env=env, flags=flags)

    assert (0, b"", "") == (ended.status, ended.err, host.faults)
    (file,) = (host.spool / "new").iterdir()
    assert ["(root)"] == [span.command for span in spans_in(file)]
    return ended.out.decode()


def compile_(package: Path, *options: str) -> None:
    """Write bytecode as an installer would."""
    subprocess.run([sys.executable, "-m", "compileall", "-q", *options, str(package)], check=True)


@pytest.mark.parametrize(
    "bytecode", [None, (), ("--invalidation-mode", "checked-hash")], ids=["none", "current", "hash"]
)
def test_with_and_without_bytecode(tmp_path: Path, installed: Path, bytecode: tuple[str, ...] | None) -> None:
    """No bytecode, current bytecode, bytecode that is checked by hash: the same module."""
    if bytecode is not None:
        compile_(installed, *bytecode)

    said = run(tmp_path, installed.parent)

    assert f"{installed}/recording/recorder.py otel_usage.recording.recorder first\n" == said


def test_stale_bytecode_is_not_run(tmp_path: Path, installed: Path) -> None:
    """A changed source wins, as with `import`."""
    compile_(installed)
    source = installed / "recording" / "recorder.py"
    source.write_text(source.read_text().replace('"first"', '"after"'))
    os.utime(source, (1, 1))

    said = run(tmp_path, installed.parent)

    assert said.endswith(" after\n")


def test_python_O_uses_its_own_bytecode(tmp_path: Path, installed: Path) -> None:
    """``python -O`` has bytecode of its own."""
    compile_(installed)

    assert run(tmp_path, installed.parent, "-O").endswith(" first\n")


def test_torn_bytecode_is_not_run(tmp_path: Path, installed: Path) -> None:
    """A torn file is not run."""
    compile_(installed)
    for file in (installed / "recording" / "__pycache__").glob("recorder.*"):
        file.write_bytes(file.read_bytes()[:10])

    assert run(tmp_path, installed.parent).endswith(" first\n")


def test_in_a_zip_file(tmp_path: Path, installed: Path) -> None:
    """A program shipped as one file."""
    archive = tmp_path / "library.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in installed.rglob("*.py"):
            file.write(path, path.relative_to(installed.parent))

    assert run(tmp_path, archive).endswith(" first\n")
