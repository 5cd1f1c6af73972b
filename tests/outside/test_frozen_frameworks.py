"""Programs on several frameworks, packed with us and their framework into one file or folder: recorded as in files."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest

from ..hosts import PROGRAMS, ROOT, Host
from ..spools import Sink
from .test_frozen import Packer, run, slow

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


# framework, as it is installed too, [(what is typed → command, options, outcome, exit code)]
TOOLS = [
    (
        "cleo",
        [
            ("cache list secret -d --to secret", ("cache list", ["--deep", "--to"], "failure", 3)),
            ("secret", ("(root)", [], "usage_error", 1)),
        ],
    ),
    (
        "cyclopts",
        [
            ("db migrate secret --dry-run --level 3", ("db migrate", ["--dry-run", "--level"], "failure", 3)),
            ("db migrate", ("db migrate", [], "usage_error", 2)),
        ],
    ),
    (
        "fire",
        [
            ("sub go --n=3", ("sub go", ["--n"], "success", 0)),
            ("fail", ("fail", [], "failure", 5)),
        ],
    ),
]


@pytest.mark.parametrize("way", [pytest.param(way, marks=slow) for way in ("pyinstaller-folder", "shiv")])
@pytest.mark.parametrize(("framework", "lines"), TOOLS)
def test_packed_by_a_tool(
    host: Host,
    sink: Sink,
    tmp_path: Path,
    way: str,
    framework: str,
    lines: list[tuple[str, tuple[str, list[str], str, int]]],
) -> None:
    """PyInstaller's folder and shiv's archive, of the wheel that users install: recorded as the same program in files."""
    packer = Packer(tmp_path)
    own = packer.folder / "snapkeep"
    shutil.copy(PROGRAMS / "frameworks" / f"{framework}_program.py", own / "program.py")
    # sys.exit is looked up once `init` has been called: before that nothing can observe it.
    (own / "__init__.py").write_text("import sys\n\ndef main():\n    from . import program\n    sys.exit(0)\n")
    project = packer.folder / "pyproject.toml"
    project.write_text(project.read_text().replace('["otel-usage"]', f'["otel-usage", "{framework}"]'))
    program = str(packer.pack(way))

    ended = [run(host, sink, program, *words.split(), OTEL_USAGE_SENDER="none") for words, _ in lines]

    expected = [truth for _, truth in lines]
    assert [code for *_, code in expected] == [one.status for one in ended], ended
    recorded = [(one.command, one.options, one.ending[1], one.ending[0]) for one in host.runs]
    assert sorted(expected) == sorted(recorded)
    assert not any(b"secret" in path.read_bytes() for path in host.home.rglob("*") if path.is_file())
