"""What the documents say is what the code does."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import otel_usage
from otel_usage.cli import build_parser
from otel_usage.settings.reference import SETTINGS

from ..hosts import ROOT

DOCS = "\n".join(page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def test_generated_parts_are_current() -> None:
    """``make docs`` would change nothing."""
    ended = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], capture_output=True, text=True, check=False
    )

    assert (0, "") == (ended.returncode, ended.stderr)


def test_every_keyword_is_in_the_settings_table() -> None:
    """``init`` has no keyword that the table lacks, and the reverse."""
    keywords = set(inspect.signature(otel_usage.init).parameters)

    assert keywords == {row.keyword for row in SETTINGS if row.keyword}


def test_every_variable_is_in_the_settings_table() -> None:
    """No module reads an OTEL_USAGE_* variable that the table lacks."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "otel_usage").rglob("*.py"))
    used = set(re.findall(r"\bOTEL_USAGE_[A-Z_]+\b", code))
    told = {name for row in SETTINGS for name in row.variable.split(", ")}

    assert used <= told


def test_every_command_is_documented() -> None:
    """Each sub-command of ``otel-usage`` occurs in README or docs/."""
    names = [name for action in build_parser()._actions for name in action.choices or ()]

    missing = [name for name in names if f"otel-usage {name}" not in DOCS]

    assert [] == missing


def test_links_lead_somewhere() -> None:
    """Relative links of README and docs/ exist."""
    dead = []
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if not (page.parent / target).exists():
                dead.append(f"{page.name}: {target}")

    assert [] == dead
