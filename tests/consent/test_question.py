"""The question that ``ask`` puts to a user once, and what its answers do."""

from __future__ import annotations

import pytest

from ..users import User


def test_the_question_comes_once_and_no_is_the_default(user: User):
    """Enter alone is a no: stored, nothing else kept, and never asked again."""
    first = user.on_terminal("report", typed="\n", T_CONSENT="ask")
    assert b"[y/N]" in first.out
    assert b"https://prog.example.org/telemetry" in first.out
    assert (["prog", "prog/consent"], "off") == (user.kept, user.choice[0])

    second = user.on_terminal("report", T_CONSENT="ask")

    assert b"reported\n" == second.out
    assert ["prog", "prog/consent"] == user.kept


def test_a_yes_counts_from_the_next_run_on(user: User):
    """The run that asked is not recorded; the next one is."""
    user.on_terminal("report", typed="yes\n", T_CONSENT="ask")
    assert ["prog", "prog/consent"] == user.kept

    user.prog("report", T_CONSENT="ask")

    assert 1 == len(user.runs)


@pytest.mark.parametrize(
    ("argv", "env"),
    [
        (("--help",), {}), (("telemetry", "status"), {}), (("report", "-h"), {}), (("report",), {"CI": "1"}),
        (("report",), {"_PROG_COMPLETE": "complete_bash"}), (("report",), {"COMP_LINE": "prog re"}),
        (("report",), {"DO_NOT_TRACK": "1"}), (("report",), {"PROG_TELEMETRY": "local"}),
    ],
)  # fmt: skip
def test_nobody_is_asked_in_passing(user: User, argv, env):
    """Not under help, version or completion, not in CI, and not who has said something already."""
    ended = user.on_terminal(*argv, T_CONSENT="ask", **env)

    assert b"[y/N]" not in ended.out
    assert not (user.folder / "consent").exists()


def test_without_a_terminal_nobody_is_asked(user: User):
    """A pipe is no answer: nothing is asked, stored or recorded."""
    ended = user.prog("report", T_CONSENT="ask")

    assert b"" == ended.err
    assert [] == user.kept


def test_the_attempt_is_stored_before_the_question(user: User):
    """Who closes the terminal instead of answering is not asked again, and nothing is recorded."""
    source = (
        "import os, signal, sys\n"
        "write = sys.stderr.write\n"
        "def killed(text):\n"
        "    write(text)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.stderr.write = killed\n"
        "import otel_usage\notel_usage.init('prog', version='1', consent='ask')\n"
    )
    killed = user.on_terminal(program=source)
    assert -9 == killed.status
    assert "asked" == user.choice[0]

    again = user.on_terminal("report", T_CONSENT="ask")

    assert b"reported\n" == again.out
    assert ["prog", "prog/consent"] == user.kept


def test_ctrl_c_at_the_question_ends_the_program_quietly(user: User):
    """No traceback through our code, the exit code of an interrupted program, and no second question."""
    source = (
        "import os, signal, sys\n"
        "write = sys.stderr.write\n"
        "def interrupted(text):\n"
        "    write(text)\n"
        "    if '[y/N]' in text: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.stderr.write = interrupted\n"
        "import otel_usage\notel_usage.init('prog', version='1', consent='ask')\nprint('went on')\n"
    )

    ended = user.on_terminal(program=source)

    assert 130 == ended.status
    assert b"Traceback" not in ended.out
    assert b"went on" not in ended.out
    assert "asked" == user.choice[0]
