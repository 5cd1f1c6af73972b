"""``prog telemetry VERB``: the commands mounted into programs of three frameworks."""

from __future__ import annotations

import json
import os

import pytest

from otel_usage.control.commands import VERBS

from ..users import PROGRAM, Sink, User, sent_once

FRAMEWORKS = ("argparse", "click", "typer")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_verb_is_mounted_in_one_line(user: User, framework):
    """``prog telemetry …`` offers the same commands in argparse, click and typer, and the host's help lists it."""
    listed = user.prog("--help", T_FRAMEWORK=framework)
    helped = user.prog("telemetry", "--help", T_FRAMEWORK=framework)

    assert b"telemetry" in listed.out
    assert 0 == helped.status
    assert [] == [verb for verb in VERBS if verb.encode() not in helped.out]
    assert b"telemetry" in helped.out.splitlines()[0]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_mounted_commands_work_and_are_not_recorded(user: User, framework):
    """on, status, off: each works in the host's process, ends with 0, and leaves no record of itself."""
    for verb, word in (("on", b"telemetry is on"), ("status", b"your choice"), ("off", b"telemetry is off")):
        ended = user.prog("telemetry", verb, T_FRAMEWORK=framework)

        assert (0, b"") == (ended.status, ended.err)
        assert word in ended.out
        assert [] == user.spans
    assert ["prog", "prog/consent"] == user.kept


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_wrong_usage_of_a_mounted_command_is_2(user: User, framework):
    """A verb that does not exist ends with 2, as any wrong usage, and is not recorded."""
    ended = user.prog("telemetry", "explode", T_FRAMEWORK=framework, PROG_TELEMETRY="on")

    assert 2 == ended.status
    assert b"explode" in ended.err
    assert [] == user.spans


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_host_with_the_commands_mounted_runs_as_before(user: User, framework):
    """The host's own commands are neither hidden nor slowed: what the commands do is not loaded."""
    ended = user.prog("report", "--to", "x", T_FRAMEWORK=framework, PROG_TELEMETRY="on", PYTHONVERBOSE="1")

    assert 0 == ended.status
    assert b"reported" in ended.out
    assert b"otel_usage.control.app" not in ended.err
    assert "report" == user.the_run.command


@pytest.mark.parametrize("framework", [*FRAMEWORKS, "otel-usage"])
@pytest.mark.parametrize("verb", ["status", "schema"], ids=["a little", "more than a pipe's buffer"])
def test_output_that_nobody_reads_to_its_end(user: User, sink: Sink, framework, verb):
    """``mycli telemetry status | head -1``: no traceback, nothing on stderr, and exit code 1."""
    sent_once(user, sink)
    words, program = (("telemetry", verb), PROGRAM)
    if framework == "otel-usage":
        words, program = ("otel_usage.cli", verb, "--app", "prog"), "-m"
    read, write = os.pipe()
    os.close(read)
    host = user.start(program, *words, stdout=write, env={"T_FRAMEWORK": framework, "T_SINK": sink.address})
    os.close(write)

    _, err = host.communicate()

    assert (1, b"") == (host.returncode, err)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_json_is_understood_before_and_behind_the_verb(user: User, framework):
    """``mycli telemetry --json status`` is ``mycli telemetry status --json``."""
    before = user.prog("telemetry", "--json", "status", T_FRAMEWORK=framework)
    behind = user.prog("telemetry", "status", "--json", T_FRAMEWORK=framework)

    assert 0 == before.status, before.err
    assert json.loads(before.out) == json.loads(behind.out)
