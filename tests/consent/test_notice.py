"""The notice before anything is recorded, and that of a new policy."""

from __future__ import annotations

import pytest

from ..hosts import until
from ..users import Sink, User, senders, settled

# -- notice -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "env"),
    [
        (("--help",), {}), (("--version",), {}), (("report",), {"_PROG_COMPLETE": "complete_bash"}),
        (("report",), {"COMP_LINE": "prog re"}), (("telemetry", "status"), {}), (("usage-data", "off"), {}),
    ],
)  # fmt: skip
def test_the_notice_disturbs_neither_completion_nor_help_nor_a_choice(user: User, argv, env):
    """What is shown there is in the way, or not seen: it comes with the next run that does something."""
    source = "import otel_usage\notel_usage.init('prog', version='1', consent='opt-out')\n"

    passing = user.on_terminal(*argv, program=source, **env)
    told = user.on_terminal("work", program=source)

    assert b"" == passing.out
    assert b"collects usage data from now on" in told.out


# -- a new policy -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["noticed", "on"])
def test_a_new_policy_pauses_until_its_notice_was_seen(user: User, sink: Sink, choice):
    """Raised policy: nothing is recorded or sent until a terminal showed what is new; then it goes on by itself."""
    user.choose(choice, since=7)
    user.sends(sink, "report")
    until(lambda: len(sink.ids()) == 2)
    settled(user)
    before = user.kept

    user.sends(sink, "report", T_POLICY="2")
    settled(user)
    assert before == user.kept
    assert 2 == len(sink.ids())

    seen = user.on_terminal("report", T_POLICY="2", T_SINK=sink.address)
    assert b"newly.seen: what is new" in seen.out
    assert b"report.upload" not in seen.out
    assert [choice, "7", "2"] == user.choice
    assert before == user.kept

    (user.spool / "wake").unlink()
    user.sends(sink, "report", T_POLICY="2")
    until(lambda: len(sink.ids()) == 4)
    settled(user)


def test_a_new_policy_where_nothing_was_ever_sent_has_the_whole_notice(user: User):
    """What is new can't be told there: no list without entries."""
    user.choose("on")

    seen = user.on_terminal("report", T_POLICY="2")

    assert b"which commands and options are used" in seen.out
    assert b"New is" not in seen.out
    assert ["on", "1", "2"] == user.choice


def test_what_waits_under_the_old_policy_waits_on(user: User, sink: Sink):
    """A sender that wakes to find the notice of its policy unseen sends nothing of what waits."""
    user.choose("noticed")
    user.sends(sink, "report", OTEL_USAGE_SEND_DELAY_S="1.5")
    until(lambda: senders(user))

    user.choose("noticed", policy=0)
    settled(user)

    assert [] == sink.told
    assert 2 == len(user.spans)
