"""What commands and notice look like on a terminal: no word is broken, however narrow it is, and none need be UTF-8."""

from __future__ import annotations

import os
import time

import pytest

from otel_usage.consent.notice import wrap
from otel_usage.control.commands import VERBS
from otel_usage.control.console import columns_of
from otel_usage.delivery.ledger import Ledger, Result
from otel_usage.settings.remembered import remember

from ..users import User

WIDTHS = (80, 50, 30)
SCHEMA = {
    "report.upload": {"why": "is “uploading” worth keeping – or not?", "fields": {"format": ["pdf", "html"]}},
    "size.seen": {"kind": "count", "why": "größe, 日本語 …"},
}


@pytest.fixture
def known(user: User) -> User:
    """A user of a program that has recorded, sent and failed, and whose texts are not ASCII."""
    user.choose("on")
    user.prog("report")
    settings = {
        "app": "prog", "version": "1.0", "consent": "opt-out", "policy": 1, "about": "https://prøg.example.org/telemetry",
        "service": False, "flag": "", "schema": SCHEMA, "destinations": {"otlp": "http://127.0.0.1:9"},
    }  # fmt: skip
    remember(str(user.folder), settings)
    ledger = Ledger(str(user.folder))
    ledger.append("otlp", "traces", 1_200, Result.SENT, 200, {"undeclared": 3})
    ledger.append("otlp", "metrics", 2, Result.RETRY, None, {}, reason="dns")
    (user.folder / "id").write_text(f"7e1c5b0e-5d0c-4b0f-9a53-0d6c34bd0a5f {int(time.time())}\n")
    return user


def broken(text: str, width: int) -> list[str]:
    """Return the lines that a terminal of this width would break within a word, or between words without need."""
    lines = [line for line in text.splitlines() if columns_of(line) > width]
    return [line for line in lines if len(line.split()) > 1]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_command_breaks_a_word(known: User, width):
    """Whatever it prints: rows, tables, requests, sentences and errors."""
    commands = [(verb, "--app", "prog") for verb in VERBS if verb not in ("on", "off", "forget", "local", "send")]
    commands += [("status",), ("status", "--app", "porg"), ("forget", "--app", "prog"), ("off", "--app", "prog")]
    for words in commands:
        shown = known.on_terminal("otel_usage.cli", *words, program="-m", COLUMNS=str(width)).out.decode()

        assert "Traceback" not in shown, shown
        assert shown
        assert [] == broken(shown, width), words


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("consent", ["opt-out", "ask"])
def test_neither_notice_nor_question_breaks_a_word(user: User, width, consent):
    """It is what every user sees first."""
    env = {"COLUMNS": str(width), "T_CONSENT": consent, "T_SINK": "https://usage.example.org/otlp"}
    shown = user.on_terminal("report", typed="n\n", **env).out.decode()

    assert "arguments" in shown
    assert [] == broken(shown, width)


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["ascii", "cp1252", "latin-1", "C"],
)
def test_a_terminal_that_is_not_utf_8_gets_all_that_it_can_show(known: User, env):
    """No traceback, the same exit code, and three dots for an ellipsis."""
    encoding = env.get("PYTHONIOENCODING", "ascii")
    for verb in ("status", "schema", "preview", "history", "off"):
        ended = known.ours(verb, "--app", "prog", **env)

        assert (0, b"") == (ended.status, ended.err), verb
        ended.out.decode(encoding)
    mounted = known.prog("telemetry", "schema", **env)
    assert 0 == mounted.status, mounted.err
    helped = known.ours("listen", "--help", **env)
    assert (0, b"") == (helped.status, helped.err)


def test_what_ascii_lacks_is_written_as_near_as_can_be(known: User):
    """Dots for an ellipsis, plain quotes and dashes; an escape for what has nothing near."""
    shown = known.ours("schema", "--app", "prog", PYTHONIOENCODING="ascii").out.decode("ascii")

    assert "\\u672c\\u8a9e ..." in shown
    assert 'is "uploading" worth keeping - or not?' in shown
    assert "gr\\xf6\\xdfe" in shown


def test_a_file_name_that_is_no_text_can_be_shown(user: User):
    """The home's name may hold any byte."""
    home = os.fsdecode(bytes(user.tmp) + b"/caf\xe9")
    ended = user.ours("status", "--app", "prog", OTEL_USAGE_HOME=home, PROG_TELEMETRY="on")
    user.ours("on", "--app", "prog", "--new", OTEL_USAGE_HOME=home)

    shown = user.ours("status", "--app", "prog", OTEL_USAGE_HOME=home, PYTHONIOENCODING="utf-8")

    assert (0, 0) == (ended.status, shown.status)
    assert b"caf\\udce9" in shown.out


def test_the_page_is_utf_8_wherever_it_is_written(user: User):
    """``describe > FILE`` in the C locale, and ``--check FILE`` in another: the same page."""
    target = "tests/programs/every_switch.py:usage"
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    page = user.ours("describe", f"{root}/{target}", PYTHONIOENCODING="ascii").out
    (user.tmp / "page.md").write_bytes(page)

    checked = user.ours("describe", f"{root}/{target}", "--check", str(user.tmp / "page.md"))

    assert (0, b"") == (checked.status, checked.out)
    assert "…" in page.decode()


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("one two", 7, ["one two"]),
        ("one two", 6, ["one", "two"]),
        ("  one two three", 9, ["  one two", "  three"]),
        ("incomprehensibilities are long", 10, ["incomprehensibilities", "are long"]),
        ("a\n\nb", 1, ["a", "", "b"]),
        ("", 10, [""]),
    ],
)
def test_wrapping(text, width, lines):
    """Between words, with the indent of the line; a word that is wider stands alone, and empty lines stay."""
    assert lines == wrap(text, width).split("\n")


def test_columns_are_counted_as_a_terminal_does():
    """Colours take none, Chinese characters two."""
    assert (3, 4, 1) == (columns_of("\x1b[1mabc\x1b[0m"), columns_of("日本"), columns_of("é"))


def test_the_notice_names_a_refusal_that_lasts(user: User):
    """First a command that works as it stands there: ours if it is on PATH, else by the program's own interpreter."""
    without = user.on_terminal("report", PATH="/usr/bin:/bin", COLUMNS="400").out.decode()
    words = next(line for line in without.splitlines() if line.startswith("To say no: ")).split()[3:]
    user.clear()
    (user.tmp / "bin").mkdir()
    (user.tmp / "bin" / "otel-usage").touch(0o755)
    beside = user.on_terminal("report", PATH=f"{user.tmp}/bin:/bin", COLUMNS="400").out.decode()

    refused = user.run(words[1], *words[2:])

    assert (0, "off") == (refused.status, user.choice[0])
    assert "To say no: otel-usage off --app prog\n" in beside
    assert "export PROG_TELEMETRY=off" in without


def test_the_notice_of_a_new_policy_names_the_programs_own_command(known: User):
    """Where the last sender has learned that the program mounts it, since a notice comes before the mounting."""
    settings = {"app": "prog", "schema": {}, "destinations": {}, "mounted": "telemetry"}
    remember(str(known.folder), settings)

    shown = known.on_terminal("report", T_POLICY="2", COLUMNS="400").out.decode()

    assert "To say no: prog telemetry off\n" in shown
