"""What a service's page says is what a service sends: no runs, no commands, no options; its own kinds."""

from __future__ import annotations

from otel_usage.control.host_settings import settings_of
from otel_usage.control.privacy_page import page
from otel_usage.schema.attributes import ATTRIBUTES

from ..hosts import ROOT

BOT = page(settings_of(f"{ROOT / 'examples' / 'bot.py'}:usage"))
OF_A_SERVICE = {"start", "stop", "crash", "heartbeat"}


def test_the_table_has_what_a_service_records() -> None:
    """Each attribute of its kinds and of the resource, and none of a run alone."""
    exactly = BOT.partition("## What exactly")[2].partition("And what the program declares")[0]

    for row in ATTRIBUTES:
        belongs = row.on == "resource" or OF_A_SERVICE & {*row.on.split()}
        assert bool(belongs) == (f"| `{row.key}` |" in exactly), row.key


def test_nothing_is_said_of_runs() -> None:
    """Neither in the sample, nor of sums, nor of what is typed to stop it."""
    assert '"usage.kind": "start"' in BOT
    for word in ("usage.command", "usage.options", "usage.runs", "per run", "One run", "--disable-analytics"):
        assert word not in BOT


def test_it_says_how_to_stop_it() -> None:
    """By the environment of the service, each variable of it."""
    stop = next(line for line in BOT.splitlines() if line.startswith("| stop |"))

    assert "in the environment of the service" in stop
    assert all(name in stop for name in ("`BOT_TELEMETRY=off`", "`DO_NOT_TRACK=1`"))
