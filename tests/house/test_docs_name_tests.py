"""A page that names a test names one that there is, and each row of a table of guarantees names one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ..hosts import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "collector-config" / "README.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
NAMED = re.compile(r"\b(tests/[\w/]+\.py)(?:::(\w+))?")
# (page, heading above the table): what a user may rely on.
GUARANTEES = [
    ("docs/spool.md", "## What an answer means"),
    ("docs/spool.md", "## What is bounded, and what is counted"),
    ("docs/relay.md", "## Answers"),
    ("docs/exporters.md", "## What happens when something goes wrong"),
    ("docs/collector.md", "## From end to end"),
    ("docs/practices.md", "# Twenty practices"),
]


def read_rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below *heading*."""
    below = (ROOT / page).read_text(encoding="utf-8").partition(f"\n{heading}" if heading[:2] == "##" else heading)[2]
    lines = below[below.index("\n|") + 1 :].splitlines()
    end = next((n for n, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:end]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_is_named_exists(page: Path) -> None:
    """File and function."""
    missing = []
    for file, name in NAMED.findall(page.read_text(encoding="utf-8")):
        path = ROOT / file
        if not path.exists() or (name and f"def {name}(" not in path.read_text(encoding="utf-8")):
            missing.append(f"{file}::{name}")

    assert [] == missing


@pytest.mark.parametrize(("page", "heading"), GUARANTEES)
def test_each_row_of_a_guarantee_names_a_test(page: str, heading: str) -> None:
    """In its last cell."""
    rows = read_rows(page, heading)

    assert len(rows) >= 5
    assert [] == [row[0] for row in rows if not NAMED.search(row[-1])]
