"""Other versions of click and typer, where they are at hand."""

import sys
from pathlib import Path

import pytest

from ..hosts import ROOT

OLD = ROOT / ".venv" / "other"  # pip install --target .venv/other/old typer==0.12.5 click==8.1.8


def versions() -> list[str]:
    """Return folders that hold other versions of click or typer."""
    return sorted(str(p) for p in OLD.glob("*") if (p / "click").exists()) if OLD.exists() else []


@pytest.mark.parametrize("folder", versions(), ids=lambda f: Path(f).name)
@pytest.mark.parametrize(
    ("argv", "ending", "command", "options"),
    [
        ("do ctx.exit(4)", (4, "failure"), "do", []),
        ("do pass", (0, "success"), "do", []),
        ("do raise(KeyboardInterrupt)", (1, "interrupted"), "do", []),
        ("do click.get_current_context().fail('x')", (2, "usage_error"), "do", []),
        ("do 1/0", (1, "failure"), "do", []),
        ("do sys.exit(3)", (3, "failure"), "do", []),
        ("-v report upload --format pdf", (0, "success"), "report upload", ["--format", "--verbose"]),
        ("report upload --nope", (2, "usage_error"), "report upload", []),
        ("report --help", (0, "help"), "report", ["--help"]),
        ("nope", (2, "usage_error"), "(root)", []),
    ],
)
def test_other_versions_of_click_record_the_same(host, folder, argv, ending, command, options):
    """The same with every version of click that is at hand."""
    ended = host.run("click_program.py", *argv.split(), env={"PYTHONPATH": f"{folder}:{host.environ['PYTHONPATH']}"})
    run = host.the_run

    assert (ending, command) == (run.ending[:2], run.command), ended.err
    assert ending[0] == ended.status
    assert set(run.options) <= set(options)


@pytest.mark.parametrize("folder", [f for f in versions() if (Path(f) / "typer").exists()], ids=lambda f: Path(f).name)
def test_a_typer_that_uses_click_records_the_same(host, folder):
    """Typer from before it had a click of its own."""
    env = {"PYTHONPATH": f"{folder}:{host.environ['PYTHONPATH']}"}
    for argv, code in ((["report", "upload", "--format", "x"], 0), (["do", "raise typer.Exit(4)"], 4), (["nope"], 2)):
        assert code == host.run("typer_program.py", *argv, env=env).status

    assert [
        ("report upload", ["--format"], "success"),
        ("do", [], "failure"),
        ("(root)", [], "usage_error"),
    ] == [(run.command, run.options, run.ending[1]) for run in host.runs]


if sys.platform == "win32":
    pytest.skip("POSIX paths", allow_module_level=True)
