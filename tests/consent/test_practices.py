"""The table of docs/practices.md, and what docs/consent.md says of the gate."""

from __future__ import annotations

import re

from otel_usage.consent.gate import VOICES, WORDS, word

from ..hosts import ROOT

PRACTICES = (ROOT / "docs" / "practices.md").read_text()
CONSENT = (ROOT / "docs" / "consent.md").read_text()


def rows(text: str, name: str) -> list[list[str]]:
    """Return the cells of a generated table."""
    (part,) = re.findall(rf"<!-- begin {name} -->\n(.*?)<!-- end", text, re.DOTALL)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines()[2:]]


def test_every_practice_names_a_test_that_exists():
    """Twenty rows, each with a test of this repository."""
    proofs = re.findall(r"^\| (\d+) \|.*\| `(tests/[\w/]+\.py)::(\w+)` \|$", PRACTICES, re.MULTILINE)

    assert [str(n) for n in range(1, 21)] == [number for number, _, _ in proofs]
    missing = [f"{file}::{name}" for _, file, name in proofs if f"def {name}(" not in (ROOT / file).read_text()]
    assert [] == missing


def test_the_precedence_table_is_that_of_the_code():
    """Every voice of the gate is in the page, in the gate's order."""
    listed = [row[1] for row in rows(CONSENT, "voices")][1:-2]

    names = [where.lstrip("!").replace("{APP}", "<APP>").replace("{app}", "<app>") for where in VOICES]
    assert [True] * len(VOICES) == [name in cell for name, cell in zip(names, listed, strict=True)]


def test_the_table_of_truth_values_is_that_of_the_parser():
    """What the page says of each text is what the one parser says."""
    told = {}
    for texts, mode, switch in rows(CONSENT, "words"):
        for text in re.findall(r"`([^`]+)`", texts):
            told[text] = (mode.strip("`"), switch.strip("`"))

    def said(text: str) -> tuple[str, str]:
        return word(text) or "says nothing", word(text, switch=True) or "says nothing"

    assert {text: said(text) for text in WORDS} == told
    assert ("off", "off") == said("anything else")
    assert ("says nothing", "says nothing") == said(" ")
