"""The pages of docs/decisions/ have one form: a number, a date, a status, and the same five parts."""

from __future__ import annotations

import re

import pytest

from ..hosts import ROOT

PAGES = sorted((ROOT / "docs" / "decisions").iterdir())
SECTIONS = ["Decision", "Why", "Measured", "Tried"]
DAY = r"2\d{3}-\d\d-\d\d"
HEAD = re.compile(
    rf"# (\d{{4}})\. [A-Z`].+\n\nDate: {DAY}(, changed {DAY})?\. Status: (accepted|superseded by (\d{{4}}))\.\n\n## Decision\n"
)


def test_decisions_are_numbered_without_gaps() -> None:
    """``NNNN-title.md``, each number once."""
    numbers = [re.fullmatch(r"(\d{4})-[a-z0-9-]+\.md", page.name) for page in PAGES]

    assert [f"{n:04}" for n in range(1, len(PAGES) + 1)] == [number and number[1] for number in numbers]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name[:4])
def test_decisions_have_one_form(page) -> None:
    """A heading with the file's number, the date and status, then what was decided, why, what was measured and tried."""
    text = page.read_text(encoding="utf-8")
    head = HEAD.match(text)

    assert head, text[:200]
    assert page.name[:4] == head[1]
    assert head[4] is None or head[4] in {other.name[:4] for other in PAGES}
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name[:4])
def test_no_part_of_a_decision_is_empty(page) -> None:
    """Each part says something, if only that nothing was measured."""
    parts = re.split(r"^## .+$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]

    assert all(part.strip() for part in parts)
