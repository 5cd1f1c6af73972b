"""A program that replaces our files while it runs (``mycli self-update``) ends as it would, and its run is right."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ..hosts import INTERPRETERS, PROGRAMS, ROOT, Host, version_of

HEAD = """
import argparse, os, shutil, sys
import otel_usage
schema = {"did": {"why": "x"}}
usage = otel_usage.init("prog", version="1.4", consent="opt-in", schema=schema)
argparse.ArgumentParser("prog").parse_args()
library = os.path.dirname(otel_usage.__file__)
def upgrade():
    # As an installer does: the old files go, new ones come that know nothing of the old, or that fail.
    for folder, _, names in os.walk(library):
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                os.unlink(path)
                with open(path, "w") as file:
                    file.write("raise SystemError('of another version')\\n")
    shutil.rmtree(library + "/recording/__pycache__", ignore_errors=True)
"""
ENDINGS = {
    "pass": (0, "success"),
    "sys.exit(3)": (3, "failure"),
    "1 / 0": (1, "failure"),
    "raise KeyboardInterrupt": (130, None),
    "try:\n 1 / 0\nexcept ZeroDivisionError:\n sys.exit(7)": (7, "failure"),
    "usage.action('did')": (0, "success"),
    "with usage.command('scan'): usage.count('x'); usage.error('y')": (0, "success"),
    "sys.exit(usage.run(lambda: 4))": (4, "failure"),
    "otel_usage.flush(); otel_usage.shutdown()": (0, "success"),
}


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
@pytest.mark.parametrize("source", ENDINGS, ids=repr)
def test_an_upgrade_while_the_program_runs(host: Host, tmp_path: Path, source: str, python: str) -> None:
    """No error of ours is seen, the exit code is the program's, and what was recorded is the truth or less."""
    library = tmp_path / "library"
    shutil.copytree(ROOT / "otel_usage", library / "otel_usage", ignore=shutil.ignore_patterns("__pycache__"))
    env = {"PYTHONPATH": f"{library}:{PROGRAMS}", "PYTHONDONTWRITEBYTECODE": None}
    host.run(HEAD, python=python, env=env)  # writes bytecode
    host.clear()

    ended = host.run(f"{HEAD}upgrade()\n{source}\n", python=python, env=env)

    code, outcome = ENDINGS[source]
    assert (code if code != 130 else -2) == ended.status, ended.err.decode()
    assert b"of another version" not in ended.err
    runs = host.runs or host.stubs  # at worst the stub is left, which says less
    assert len(runs) == 1
    if host.runs and not source.startswith("otel_usage.flush"):
        assert code == runs[0].ending[0]
        assert outcome in (None, runs[0].ending[1])
    (host.home / "debug" / "faults.log").unlink(missing_ok=True)  # faults are meant here
