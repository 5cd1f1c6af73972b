"""``status``: who decided, what waits, what was sent, and what was lost."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from ..hosts import until
from ..users import Sink, User, asked, sent_once, settled


def test_status_names_who_decided_and_everybody_who_was_overruled(user: User):
    """Contradictory settings are reported, strongest first, and never fatal."""
    user.choose("on", policy=1)

    told = asked(user, "status", DO_NOT_TRACK="1", PROG_TELEMETRY="local", OTEL_USAGE_DISABLED="yes")

    assert ("off", "environment", "DO_NOT_TRACK") == (told["mode"], told["layer"], told["source"])
    assert [
        ("PROG_TELEMETRY", "local", "overruled"),
        ("DO_NOT_TRACK", "off", "decides"),
        ("OTEL_USAGE_DISABLED", "off", "agrees"),
        (str(user.folder / "consent"), "on", "overruled"),
    ] == [(said["source"], said["mode"], said["effect"]) for said in told["settings"]]


def test_status_says_so_in_words(user: User):
    """The same for people: mode, who decided with its value, and who was overruled."""
    user.choose("on")

    ended = user.ours("status", "--app", "prog", DO_NOT_TRACK="true")

    assert b"prog: telemetry is off" in ended.out
    assert b"DO_NOT_TRACK=true in the environment" in ended.out
    assert b"says on, overruled" in ended.out


def test_status_shows_what_waits_what_was_sent_and_what_was_lost(user: User, sink: Sink):
    """Waiting records, last delivery per destination and drops by reason come from the real spool and ledger."""
    sent_once(user, sink)
    user.prog("report", T_SINK=sink.address)
    (user.spool / "new" / "0-0.traces.jsonl").write_text("no OTLP\n")
    user.sends(sink, "report")
    until(lambda: len(sink.ids()) == 6)
    settled(user)
    user.prog("report", T_SINK=sink.address)

    told = asked(user, "status")

    assert (2, 3) == (told["waiting"]["files"], told["waiting"]["records"])
    assert ("sent", 200) == (
        told["destinations"]["otlp"]["last"]["result"],
        told["destinations"]["otlp"]["last"]["status"],
    )
    assert {"corrupt": 1} == told["dropped"]
    assert told["installation_id"]
    assert told["known"]


@pytest.mark.parametrize("choice", ["on", "noticed"])
def test_status_says_why_an_on_is_paused(user: User, choice):
    """Agreed to less than is collected now: off, and the reason is the notice that was not seen."""
    user.choose(choice, policy=1)

    told = json.loads(user.prog("telemetry", "status", "--json", T_POLICY="2").out)
    words = user.prog("telemetry", "status", T_POLICY="2").out

    assert ("off", True) == (told["mode"], told["notice_due"])
    assert told["reason"].startswith("policy 2: its notice was not seen yet")
    assert b"policy 2: its notice was not seen yet" in words
    assert ["paused"] * (choice == "on") == [said["effect"] for said in told["settings"]]


@pytest.mark.parametrize("said", ["", "on"])
def test_status_without_a_home_folder(user: User, said):
    """Where nothing can be kept nothing is recorded, not even by an explicit on: nobody's choice, and status says so."""
    code = (
        "import sys, os\nos.path.expanduser = lambda path: path\n"  # as for a uid without an entry in passwd
        "from otel_usage.cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    env = {"HOME": None, "OTEL_USAGE_HOME": None, "XDG_STATE_HOME": None, "PROG_TELEMETRY": said}

    words = user.run("-c", code, "status", "--app", "prog", env=env)
    told = json.loads(user.run("-c", code, "status", "--app", "prog", "--json", env=env).out)

    assert ("off", "nowhere", "no home folder") == (told["mode"], told["layer"], told["source"])
    assert b"set HOME or OTEL_USAGE_HOME" in words.out
    assert b"/consent" not in words.out
    assert [("PROG_TELEMETRY", "overruled")] * bool(said) == [(s["source"], s["effect"]) for s in told["settings"]]


def test_status_where_nothing_can_be_written(user: User):
    """An on is one in name only where the folder can't be made; looking leaves nothing."""
    words = user.ours("status", "--app", "prog", PROG_TELEMETRY="on", OTEL_USAGE_HOME="/proc/nope")
    told = asked(user, "status", PROG_TELEMETRY="on", OTEL_USAGE_HOME="/proc/nope")
    fine = asked(user, "status", PROG_TELEMETRY="on")

    assert b"telemetry is on (but nothing can be recorded)" in words.out
    assert b"'/proc/nope/prog' can't be used" in words.out
    assert "can't be used" in told["reason"]
    assert fine["reason"] is None
    assert [] == user.kept


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give folders away")
def test_status_where_the_folder_is_another_users(user: User):
    """What is not this user's is not written to: as the recorder sees it."""
    user.choose("on")
    os.chown(user.folder, 12345, 12345)

    told = asked(user, "status")

    assert "another user's" in told["reason"]


def test_an_app_name_that_is_none_is_wrong_usage(user: User):
    """``--app ../x`` is refused with 2: it names a folder."""
    ended = user.ours("forget", "--app", "../x")

    assert 2 == ended.status


def test_status_counts_a_killed_run_among_what_waits(user: User, sink: Sink):
    """The next sending reports it as unfinished: both status and preview know; a run under way is nobody's yet."""
    user.choose("on")
    source = "import os, otel_usage\nu = otel_usage.init('prog', version='1', consent='opt-in')\n"
    source += "u.command('work')\nprint(flush=True)\ninput()\nos._exit(3)\n"
    host = user.start(source, stdin=subprocess.PIPE, env={"T_SINK": sink.address})
    assert host.stdout is not None
    host.stdout.readline()
    alive = asked(user, "status")["waiting"]["records"]
    host.communicate(b"\n")

    killed = asked(user, "status")["waiting"]["records"]

    assert (0, 1) == (alive, killed)
