"""The page that cannot lie: generated from schema and settings, and checked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from otel_usage.describe import page, privacy, settings_of
from otel_usage.schema import ATTRIBUTES, OUTCOMES
from tests.conftest import PROGRAMS, ROOT

from .conftest import User

CONTROLLED = f"{PROGRAMS / 'controlled.py'}:usage"
SECTIONS = ["Why", "What exactly", "Never", "When and where", "Who sees it", "How long", "See it, stop it, delete it"]


def described(user: User, *words: str, **env: str | None):
    return user.ours("describe", CONTROLLED, *words, **env)


def test_the_page_has_every_section_and_everything_declared(user: User):
    """Each section once, in order; each attribute of a run, each declared name, field, value and reason."""
    text = described(user, T_SINK="https://usage.example.org/otlp").out.decode()

    assert SECTIONS == re.findall(r"^## (.*)$", text, re.MULTILINE)
    for word in [
        *[f"`{a.key}`" for a in ATTRIBUTES if "run" in a.on.split()], *OUTCOMES,
        "`report.upload`", "is uploading worth keeping?", "one of `pdf`, `html`", "`1-10 MB`", "`lines`", "from 0 to 10",
        "https://usage.example.org/otlp", "https://prog.example.org/telemetry", "DO_NOT_TRACK", "--app prog", "365 days",
    ]:  # fmt: skip
        assert word in text, word


def test_describing_a_program_records_nothing(user: User):
    """Importing the host to describe it leaves nothing, even where its user said on."""
    ended = described(user, PROG_TELEMETRY="on")

    assert 0 == ended.status
    assert [] == user.kept


def test_check_passes_while_the_page_is_current_and_fails_on_drift(user: User):
    """``--check FILE``: 0 without a word while nothing changed; 1 and the difference once the schema did."""
    file = user.tmp / "page.md"
    file.write_bytes(described(user).out)

    same = described(user, "--check", str(file))
    drifted = described(user, "--check", str(file), T_POLICY="2")

    assert (0, b"") == (same.status, same.out)
    assert 1 == drifted.status
    assert b"+| `newly.seen`" in drifted.out
    assert b"out of date" in drifted.err


@pytest.mark.parametrize(
    "target", ["nosuchmodule:usage", "json:usage", "json:loads", f"{PROGRAMS / 'plain.py'}:nothing"]
)
def test_what_cannot_be_described_is_an_error(user: User, target):
    """A module that is not there or holds no handle: 2, and what was expected."""
    ended = user.ours("describe", target)

    assert 2 == ended.status
    assert b"expected module:usage" in ended.err


def test_no_key_is_on_the_page():
    """Of destinations only names and addresses are shown."""
    settings = {
        "app": "prog", "version": "1", "consent": "opt-in", "policy": 1, "about": "", "schema": {},
        "destinations": {"ga4": {"measurement_id": "G-1", "api_secret": "hunter2"}, "otlp": "https://x.example/?key=hunter2"},
    }  # fmt: skip

    text = page(settings)

    assert "hunter2" not in text
    assert "`ga4`" in text


def test_our_own_page_is_current():
    """docs/privacy.md says what the example programs collect; ``make docs`` writes it."""
    programs = sorted((ROOT / "examples").glob("*.py"))

    assert privacy([settings_of(f"{path}:usage") for path in programs if "otel_usage.init" in path.read_text()]) == (
        Path(ROOT / "docs" / "privacy.md").read_text()
    )
