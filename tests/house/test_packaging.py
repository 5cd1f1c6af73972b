"""What somebody has who installed a wheel, or unpacked a source distribution."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from fnmatch import fnmatch

import pytest

from ..hosts import ROOT

DEMO = (
    "import sys; sys.modules.update(click=None, typer=None); from otel_usage.cli import main; sys.exit(main(['demo']))"
)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
def test_the_demo_leaves_out_what_can_not_run():
    """Without click and typer it runs one program, says what it left out and how to see it, and succeeds."""
    done = subprocess.run([sys.executable, "-c", DEMO], capture_output=True, text=True, timeout=110, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "Left out: todo (needs click) and units (needs typer). To see all: " in done.stdout
    assert "pip install click typer\n" in done.stdout
    assert "3 of 3 runs arrived" in done.stdout


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="a checkout")
def test_the_source_distribution_has_everything():
    """make demo and make test work in it: what is at the top of the checkout is named in its list."""
    named = re.search(r"sdist\]\ninclude = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.S)
    patterns = re.findall(r'"([^"]+)"', named[1])
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {name.partition("/")[0] for name in tracked.splitlines()} - {".gitignore", "pyproject.toml"}  # always in

    assert set() == {name for name in top if not any(fnmatch(name, pattern) for pattern in patterns)}


def test_each_requirement_stands_once():
    """The lists that one environment is installed from name no project twice, so that no two bounds contradict."""
    lists = ["requirements-dev.txt", "requirements-frameworks.txt"]
    lines = [line for name in lists for line in (ROOT / name).read_text().splitlines()]
    projects = [re.match(r"[\w.-]+", line)[0].lower() for line in lines if line and line[0] not in "#-"]

    assert [] == [project for project, times in Counter(projects).items() if times > 1]
