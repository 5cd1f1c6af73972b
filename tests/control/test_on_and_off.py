"""``on``, ``off`` and ``local``: what a choice changes, and what it removes."""

from __future__ import annotations

import os
import signal
import time

import pytest

from ..hosts import PROGRAMS, until
from ..users import Sink, User, senders, sent_once, settled


@pytest.mark.parametrize("mounted", [True, False])
def test_after_off_nothing_is_left_but_the_choice(user: User, sink: Sink, mounted):
    """Records, queues, ledger, settings and id are gone; later runs leave nothing and start nothing."""
    sent_once(user, sink)
    user.prog("report")
    assert (user.folder / "id").exists()
    assert user.files()

    ended = user.prog("telemetry", "off") if mounted else user.ours("off", "--app", "prog")
    user.sends(sink, "report")

    assert (0, b"") == (ended.status, ended.err)
    assert ["prog", "prog/consent"] == user.kept
    assert "off" == user.choice[0]
    assert [] == senders(user)


def test_off_while_programs_begin_and_end(user: User, request):
    """However much waits and whoever writes meanwhile, off succeeds, and nothing is left once they have ended."""
    loop = "import subprocess, sys\nwhile True: subprocess.run([sys.executable, *sys.argv[1:]], stdout=-3)"
    hosts = [user.start("-c", loop, str(PROGRAMS / "every_switch.py"), "report", start_new_session=True) for _ in "123"]
    request.addfinalizer(lambda: [(os.killpg(host.pid, signal.SIGKILL), host.communicate()) for host in hosts])
    new = user.spool / "new"
    for _ in range(2):
        user.choose("on")
        until(lambda: new.exists() and os.listdir(new))
        for n in range(4_000):
            (new / f"0-{n}.traces.jsonl").write_bytes(b"{}\n")
        until(lambda: len(os.listdir(new)) >= 4_003)

        ended = user.ours("off", "--app", "prog")

        assert (0, b"") == (ended.status, ended.err)
        assert ["prog", "prog/consent"] == user.kept


def test_on_never_lowers_the_policy_that_was_seen(user: User):
    """Where the program's settings are not known: what was agreed to stays agreed to, and the notice may still come."""
    user.choose("on", policy=2)

    ended = user.ours("on", "--app", "prog")

    assert "2" == user.choice[2]
    assert b"it may first show its notice" in ended.out
    user.ours("off", "--app", "prog")
    assert "2" == user.choice[2]


def test_on_in_the_program_knows_what_is_collected(user: User):
    """There nothing is left to be said."""
    ended = user.prog("telemetry", "on", T_POLICY="2")

    assert "2" == user.choice[2]
    assert b"notice" not in ended.out


def test_off_where_nothing_can_be_kept(user: User):
    """It can't be saved, so it is 1, and the words fit what is wrong: nobody owns what can't be made."""
    ended = user.ours("off", "--app", "prog", "--new", OTEL_USAGE_HOME="/proc/nope")

    assert 1 == ended.status
    assert b"who owns it" not in ended.err
    assert b"set OTEL_USAGE_HOME, or HOME" in ended.err
    assert b"Nothing is recorded there either; to be sure, set PROG_TELEMETRY=off" in ended.err


def test_off_ends_a_sender_at_work(user: User, sink: Sink):
    """A sender that is in the middle of a delivery is ended, and what it held is gone."""
    sink.answer = lambda _n: time.sleep(30) or (200, {}, b"")  # type: ignore[func-returns-value]
    user.choose("on")
    user.sends(sink, "report")
    until(lambda: sink.told)

    begun = time.monotonic()
    user.ours("off", "--app", "prog")

    settled(user)
    assert time.monotonic() - begun < 10
    assert ["prog", "prog/consent"] == user.kept


def test_off_is_heeded_by_a_sender_that_was_asleep(user: User, sink: Sink):
    """A sender started before the user said off looks again when it wakes: it sends nothing and leaves nothing."""
    user.choose("on")
    user.sends(sink, "report", OTEL_USAGE_SEND_DELAY_S="2")
    until(lambda: senders(user))

    user.ours("off", "--app", "prog")
    settled(user)

    assert [] == sink.told
    assert ["prog", "prog/consent"] == user.kept


@pytest.mark.parametrize("switch", ["DO_NOT_TRACK", "PROG_DISABLE_ANALYTICS", "OTEL_SDK_DISABLED"])
def test_on_under_an_explicit_off_says_so(user: User, switch):
    """The choice is saved, and the user learns that something stronger holds."""
    ended = user.prog("telemetry", "on", **{switch: "1"})

    assert 0 == ended.status
    assert f"saved, but currently off because of {switch}=1".encode() in ended.out
    assert "on" == user.choice[0]


def test_off_under_an_environment_that_says_on_holds(user: User):
    """The user's off is not overruled by anybody's on."""
    ended = user.prog("telemetry", "off", PROG_TELEMETRY="on")

    assert b"telemetry is off" in ended.out
    assert ["prog", "prog/consent"] == user.kept


def test_what_was_recorded_before_on_is_removed(user: User, sink: Sink):
    """An on is for what comes: neither records nor counts of before are sent, not even how many there were."""
    user.prog("report", PROG_TELEMETRY="on")
    early = {span.ids[1] for span in user.spans}

    user.ours("on", "--app", "prog")
    assert [] == user.files()
    user.sends(sink, "report")
    until(lambda: sink.ids() and sink.points())
    settled(user)

    assert not early & set(sink.ids())
    assert not [name for name, _ in sink.points() if name == "usage.dropped"]


def test_on_after_the_notice_keeps_what_waits(user: User):
    """Who saw the notice had agreed to what was recorded since: a later on takes nothing away."""
    user.choose("noticed", since=7)
    user.prog("report")

    user.prog("telemetry", "on")

    assert ["on", "7", "1"] == user.choice
    assert 2 == len(user.spans)


def test_a_choice_that_cannot_be_stored_is_1(user: User):
    """Where there is no folder the command says so, and does not pretend."""
    (user.home / "prog").write_text("a file where the folder should be")

    ended = user.ours("off", "--app", "prog")

    assert 1 == ended.status
    assert b"can't be changed" in ended.err


def test_off_says_what_lies_elsewhere_before_it_forgets(user: User, sink: Sink):
    """Who wants it deleted there needs the id, which is gone afterwards; then nothing is claimed of what was sent."""
    user.choose("on")
    user.sends(sink, "report")
    until(lambda: sink.ids())
    settled(user)
    installation = (user.folder / "id").read_text().split()[0]

    said = user.ours("off", "--app", "prog").out.decode()
    later = [user.ours(verb, "--app", "prog").out.decode() for verb in ("history", "forget", "status")]

    assert installation in said
    assert "otlp: " in said
    assert ["consent"] == [path.name for path in user.folder.iterdir()]
    for text in later[:2]:
        assert "is not known here any more" in text
    assert not any("ever sent" in text or "nothing sent" in text for text in later)
