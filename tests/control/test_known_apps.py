"""``otel-usage VERB --app NAME`` of a program that nobody knows here, and ``otel-usage status`` of all that are known."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from otel_usage.control.commands import VERBS
from otel_usage.control.sender_stop import _kill

from ..users import User


def known(user: User, *names: str) -> None:
    """Have programs of these names leave something here."""
    for name in names:
        (user.home / name).mkdir()
        (user.home / name / "consent").write_text("on 1 1\n")


@pytest.mark.parametrize("verb", VERBS)
def test_a_name_that_is_mistyped_is_wrong_usage(user: User, verb):
    """2, the known programs with the most similar one first, and nothing is left: pantry would go on being recorded."""
    known(user, "archive", "pantry", "zebra")
    before = user.kept

    ended = user.ours(verb, "--app", "panrty")

    assert (2, b"") == (ended.status, ended.out)
    assert b"no program 'panrty' is known here; known are: pantry, " in ended.err
    assert before == user.kept


def test_status_of_a_program_that_nobody_knows(user: User):
    """It is said so, and nothing is left."""
    ended = user.ours("status", "--app", "prog")

    assert (2, b"") == (ended.status, ended.out)
    assert b"none is" in ended.err
    assert [] == user.kept


@pytest.mark.parametrize(("verb", "mode"), [("off", "off"), ("local", "local"), ("on", "on")])
def test_who_decides_before_the_first_run_says_so(user: User, verb, mode):
    """``--new`` stores the choice; without it the error names it."""
    refused = user.ours(verb, "--app", "prog")
    assert f"otel-usage {verb} --app prog --new".encode() in refused.err
    assert [] == user.kept

    ended = user.ours(verb, "--app", "prog", "--new")

    assert (0, b"") == (ended.status, ended.err)
    assert mode == user.choice[0]


@pytest.mark.parametrize(("name", "value"), [("PROG_TELEMETRY", "on"), ("PROG_DISABLE_ANALYTICS", "1")])
def test_who_has_a_variable_is_known(user: User, name, value):
    """Somebody speaks of the program by its name, so that it is no mistyped one."""
    ended = user.ours("status", "--app", "prog", **{name: value})

    assert (0, b"") == (ended.status, ended.err)


def test_of_many_known_programs_some_are_named(user: User):
    """The nearest ten, and how many there are besides."""
    known(user, *[f"tool{n}" for n in range(12)], "pantry")

    ended = user.ours("off", "--app", "pantri")

    assert b"known are: pantry, " in ended.err
    assert b" and 3 more (otel-usage status lists them)" in ended.err


def test_status_without_a_program_lists_all(user: User):
    """One line each: what is in effect, what waits, and by whose word. What is no program's folder is left out."""
    known(user, "archive", "pantry")
    (user.home / "archive" / "consent").write_text("off 1 1\n")
    (user.home / "services" / "web").mkdir(parents=True)
    (user.home / "stray").mkdir()
    (user.home / "file").write_text("")

    ended = user.ours("status")
    answers = json.loads(user.ours("status", "--json").out)

    assert (0, b"") == (ended.status, ended.err)
    _, *lines = ended.out.decode().splitlines()
    assert [["archive", "off"], ["pantry", "on"]] == [line.split()[:2] for line in lines]
    assert [("archive", "off"), ("pantry", "on")] == [(answer["app"], answer["mode"]) for answer in answers]


def test_status_of_all_where_there_is_none(user: User):
    """Says so: 0, and nothing is left."""
    ended = user.ours("status")

    assert (0, b"no program is known here: nothing was recorded by any\n") == (ended.status, ended.out)
    assert "[]" == user.ours("status", "--json").out.decode().strip()
    assert [] == user.kept


@pytest.mark.parametrize("framework", ["argparse", "click", "typer"])
def test_the_mounted_word_alone_is_status(user: User, framework):
    """``prog telemetry`` is ``prog telemetry status``, with ``--json`` as well."""
    alone = user.prog("telemetry", T_FRAMEWORK=framework)
    json_alone = user.prog("telemetry", "--json", T_FRAMEWORK=framework)

    assert (0, b"") == (alone.status, alone.err)
    assert alone.out.startswith(b"prog: telemetry is off")
    assert "prog" == json.loads(json_alone.out)["app"]


def test_a_default_that_is_not_known_is_not_called_off(user: User):
    """Records lie here, and no sender has worked yet: the program may be opt-out, and record its next run."""
    user.prog("report", PROG_TELEMETRY="on")

    ended = user.ours("status", "--app", "prog")
    listed = user.ours("status")

    assert ended.out.startswith(b"prog: nothing is decided here, and its own default is not known\n")
    assert b"off" not in listed.out
    assert b"3 records" in listed.out


def test_our_command_runs_by_the_programs_own_interpreter(user: User):
    """``python -m otel_usage`` is ``otel-usage``, which is not on the PATH of those who installed a program alone."""
    known(user, "prog")

    ended = user.run("-m", "otel_usage", "off", "--app", "prog")

    assert (0, "off") == (ended.status, user.choice[0])


def test_a_sender_that_has_just_ended_need_not_be_stopped():
    """Between the question who holds the lock and the kill it may end by itself: that is no error."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()

    _kill(child.pid)
