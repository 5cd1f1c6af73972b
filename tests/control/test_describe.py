"""The page that cannot lie: generated from schema and settings, and checked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from otel_usage.control.host_settings import settings_of
from otel_usage.control.privacy_page import examples_page, page
from otel_usage.schema.attributes import ATTRIBUTES, DERIVED, OUTCOMES

from ..hosts import PROGRAMS, ROOT
from ..users import User

EVERY_SWITCH = f"{PROGRAMS / 'every_switch.py'}:usage"
SECTIONS = ["Why", "What exactly", "Never", "When and where", "Who sees it", "How long", "See it, stop it, delete it"]


def described(user: User, *words: str, **env: str | None):
    return user.ours("describe", EVERY_SWITCH, *words, **env)


def test_the_page_has_every_section_and_everything_declared(user: User):
    """Each section once, in order; each attribute of a run, each declared name, field, value and reason."""
    text = described(user, T_SINK="https://usage.example.org/otlp/KEY123").out.decode()

    assert SECTIONS == re.findall(r"^## (.*)$", text, re.MULTILINE)
    for word in [
        *[f"`{a.key}`" for a in ATTRIBUTES if "run" in a.on.split()], *OUTCOMES,
        "`report.upload`", "is uploading worth keeping?", "one of `pdf`, `html`", "`1-10 MB`", "`lines`",
        "at `https://usage.example.org`", "https://prog.example.org/telemetry", "DO_NOT_TRACK", "`prog telemetry off`",
        "from 0 to 10", "365 days",
    ]:  # fmt: skip
        assert word in text, word
    assert "KEY123" not in text


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
    "target", ["nosuchmodule:usage", "json:usage", "json:loads", f"{PROGRAMS / 'no_framework.py'}:nothing"]
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


SETTINGS = {
    "app": "prog", "version": "1", "consent": "opt-in", "policy": 1, "about": "", "destinations": {},
    "schema": {"a.b": {"why": "one\nquestion", "owner": "the reports team", "until": "2027-06-30"}},
}  # fmt: skip


def test_nothing_that_is_sent_is_left_out(user: User):
    """Every attribute of a run and its resource, its time, and the sums: the page promises that there is no more."""
    text = page(SETTINGS)

    for row in ATTRIBUTES:
        if "run" in row.on.split() or (row.on == "resource" and row.key != "k8s.cluster.uid"):
            assert f"`{row.key}`" in text
    for word in ("when it began and ended", *[f"`{name}`" for name in DERIVED], "`usage.dropped`"):
        assert word in text


def test_a_row_of_the_page_is_one_line():
    """Whatever the text of a reason holds; with who answers for it, and until when it is recorded."""
    (row,) = [line for line in page(SETTINGS).splitlines() if line.startswith("| `a.b`")]

    for word in ("one question (the reports team)", "until 2027-06-30"):
        assert word in row


def test_the_page_names_the_commands_that_the_program_has():
    """Where the host has mounted them users type those: ours may not be on their path."""
    assert "`prog usage-data off`" in page({**SETTINGS, "mounted": "usage-data"})
    assert "`otel-usage off --app prog`" in page(SETTINGS)


def test_no_page_is_made_of_wrong_settings(user: User):
    """They are named instead: a page about them would be untrue."""
    file = user.tmp / "wrong.py"
    file.write_text("import otel_usage\nusage = otel_usage.init('prog', version='1', consent='optout')\n")

    ended = user.ours("describe", f"{file}:usage", PYTHONDEVMODE=None)

    assert 2 == ended.status
    assert b"'optout' is not 'opt-in', 'opt-out' or 'ask'" in ended.err


def test_our_own_page_is_current():
    """docs/privacy.md says what the example programs collect; ``make docs`` writes it."""
    programs = sorted((ROOT / "examples").glob("*.py"))

    assert examples_page(
        [settings_of(f"{path}:usage") for path in programs if "otel_usage.init" in path.read_text()]
    ) == (Path(ROOT / "docs" / "privacy.md").read_text())
