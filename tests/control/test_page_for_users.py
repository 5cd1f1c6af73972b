"""The page "What we collect" is read by people who use a program, and have never seen a parser."""

from __future__ import annotations

import json
import re

import pytest

from otel_usage.control.privacy_page import attribute_in_words, page
from otel_usage.schema.attributes import ATTRIBUTES, CHECKS

from ..hosts import PROGRAMS
from ..users import User

SETTINGS = {
    "app": "prog", "version": "7.3", "consent": "opt-out", "policy": 1, "about": "", "flag": "--disable-analytics",
    "destinations": {"otlp": "https://usage.example.org"}, "schema": {"a.b": {"why": "one question"}},
}  # fmt: skip


def sample(text: str) -> dict[str, object]:
    """Return the record on the page."""
    (found,) = re.findall(r"```json\n(.*?)\n```", text, re.DOTALL)
    return json.loads(found)


@pytest.mark.parametrize("settings", [SETTINGS, {**SETTINGS, "service": True}], ids=["program", "service"])
def test_the_page_does_not_speak_to_developers(settings):
    """No parser, tree, argv, stdlib or schema in it, and nothing is "ours"."""
    words = set(re.findall(r"[a-z]+", re.sub(r"`[^`]*`", "", page(settings)).lower()))

    assert set() == words & {"parser", "tree", "argv", "stdlib", "schema", "ours", "enum", "null", "boolean", "semconv"}


def test_every_attribute_of_a_run_is_put_into_words():
    """Those that a command-line program's record has: a new one needs a line for its users too."""
    rows = [row for row in ATTRIBUTES if "run" in row.on.split() or row.on == "resource"]

    assert [] == [row.key for row in rows if attribute_in_words(row) == row.allowed]


def test_the_page_shows_one_record_as_it_would_be():
    """Every value passes the check of its attribute, and every attribute is in the table above it."""
    text = page(SETTINGS)
    record = sample(text)
    attributes = {key: value for key, value in record.items() if "." in key}

    for key, value in attributes.items():
        assert f"| `{key}` |" in text
        assert {**CHECKS["run"], **CHECKS["resource"]}[key](value), (key, value)
    missing = {row.key for row in ATTRIBUTES if "run" in row.on.split() or row.on == "resource"} - attributes.keys()
    assert {
        "app.installation.ephemeral", "error.type", "k8s.cluster.uid", "usage.agent", "usage.ci_system"
    } == missing  # fmt: skip
    assert record["name"] == "prog report upload"


def test_the_page_does_not_change_with_a_release():
    """Neither the program's version nor ours is on it: ``--check`` in CI would fail at each."""
    assert page(SETTINGS) == page({**SETTINGS, "version": "7.4"})


def test_a_variable_is_named_with_what_makes_it_work():
    """Typed at the prompt it is not exported: the lasting command stands first."""
    row = next(line for line in page(SETTINGS).splitlines() if line.startswith("| stop |"))

    assert row.startswith(
        "| stop | `otel-usage off --app prog`; for one run, the option `--disable-analytics`; for one shell"
    )
    assert "by `export`: `PROG_TELEMETRY=off`" in row


def test_describe_warns_where_the_commands_are_not_mounted(user: User):
    """Installing a program alone puts no otel-usage on its users' PATH: stderr says so, and the page what to do."""
    file = user.tmp / "bare.py"
    file.write_text("import otel_usage\nusage = otel_usage.init('bare', version='1', consent='opt-in')\n")

    bare = user.ours("describe", f"{file}:usage")
    mounted = user.ours("describe", f"{PROGRAMS / 'every_switch.py'}:usage")

    assert (0, 0, b"") == (bare.status, mounted.status, mounted.err)
    assert b"bare does not mount our commands" in bare.err
    assert b"`python -m otel_usage` is the same" in bare.out
    assert b"python -m otel_usage" not in mounted.out


def test_schema_uses_the_same_words(user: User):
    """``prog telemetry schema`` is read by the same people."""
    shown = user.prog("telemetry", "schema").out.decode()

    assert "which command was run, by the program's own name for it" in shown
    assert "parser" not in shown
