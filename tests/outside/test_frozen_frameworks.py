"""Programs on several frameworks, packed with us and their framework into one zip file."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest

from ..hosts import PROGRAMS, ROOT, Host

# framework, the modules that it needs, what is typed → command, options, outcome, exit code
PACKED = [
    ("docopt", ["docopt"], "ship secret move 1 2 --speed=9", "ship move", ["--speed"], "success", 0),
    ("fire", ["fire", "termcolor"], "sub go --n=3", "sub go", ["--n"], "success", 0),
    ("plumbum", ["plumbum"], "-v remote add --name secret", "remote add", ["--verbose", "--name"], "failure", 8),
    ("optparse", [], "--secret", "(root)", [], "usage_error", 2),
]


@pytest.mark.parametrize(("framework", "modules", "argv", "command", "options", "outcome", "code"), PACKED)
def test_a_zipapp(
    host: Host,
    tmp_path: Path,
    framework: str,
    modules: list[str],
    argv: str,
    command: str,
    options: list[str],
    outcome: str,
    code: int,
) -> None:
    """Recorded as the same program is that lies in files."""
    packed = tmp_path / "packed"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "otel_usage", packed / "otel_usage", ignore=ignored)
    for module in modules:
        spec = pytest.importorskip(module).__spec__
        if spec.submodule_search_locations:
            shutil.copytree(Path(spec.origin).parent, packed / module, ignore=ignored)
        else:
            shutil.copy(spec.origin, packed)
    shutil.copy(PROGRAMS / "frameworks" / f"{framework}_program.py", packed / "__main__.py")
    zipapp.create_archive(packed, tmp_path / "work" / "keeper.pyz")

    # Without the environment's packages: what is imported comes from the file.
    archive = [sys.executable, "-S", "keeper.pyz", *argv.split()]
    environ = {name: value for name, value in host.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(archive, cwd=tmp_path / "work", env=environ, capture_output=True, timeout=60, check=False)

    assert code == ended.returncode, ended.stderr.decode()
    assert (command, options) == (host.the_run.command, host.the_run.options)
    assert (code, outcome) == host.the_run.ending[:2]
