"""``reset-id`` and ``forget``: what is removed here, and what is said of what lies elsewhere."""

from __future__ import annotations

from pathlib import Path

from otel_usage.spool.removal import clear_folder

from ..hosts import until
from ..users import Sink, User, asked, sent_once, settled


def test_reset_id_makes_a_new_one_at_the_next_sending(user: User, sink: Sink):
    """The old id is gone at once; what is sent next bears another."""
    sent_once(user, sink)
    (old,) = {span["resource"]["app.installation.id"] for span in sink.spans()}

    ended = user.ours("reset-id", "--app", "prog")
    assert not (user.folder / "id").exists()
    assert old.encode() in ended.out
    assert b"To have it deleted, send that id, and what stands" in ended.out
    assert b"to the maintainers of prog: https://prog.example.org" in ended.out
    assert {"app": "prog", "reset": False, "id": None, "known_as": {}} == asked(user, "reset-id")
    (user.spool / "wake").unlink()
    user.sends(sink, "report")
    until(lambda: len(sink.ids()) == 4)
    settled(user)

    assert 2 == len({span["resource"]["app.installation.id"] for span in sink.spans()})
    assert old not in (user.folder / "id").read_text()


def test_forget_removes_everything_and_says_what_lies_where(user: User, sink: Sink):
    """Only the choice stays. Named are the receivers, how much they have, and under which id, for the last time."""
    sent_once(user, sink)
    user.prog("report", T_SINK=sink.address)
    installation = (user.folder / "id").read_text().split()[0]

    ended = user.ours("forget", "--app", "prog")

    assert ["prog", "prog/consent"] == user.kept
    assert b"otlp: 7 records" in ended.out  # with the first run
    assert installation.encode() in ended.out
    assert b"https://prog.example.org/telemetry" in ended.out


def test_forget_where_nothing_was_ever_sent(user: User):
    """Says that nobody has anything; without a choice not even the folder stays."""
    user.prog("report", PROG_TELEMETRY="on")

    ended = user.ours("forget", "--app", "prog")

    assert b"nobody else has anything" in ended.out
    assert [] == user.kept


def test_forget_where_there_is_no_folder(user: User):
    """Says that there is nothing, and does not claim to have removed it."""
    env = {"OTEL_USAGE_HOME": "/proc/nope", "PROG_TELEMETRY": "on"}
    ended = user.ours("forget", "--app", "prog", **env)
    told = asked(user, "forget", **env)

    assert (0, b"prog: there is nothing to remove: '/proc/nope/prog' does not exist.\n") == (ended.status, ended.out)
    assert not told["existed"]


def test_forget_keeps_an_off(user: User):
    """Forgetting must not switch anything on: an explicit off outlives it."""
    user.choose("off")

    user.ours("forget", "--app", "prog")

    assert "off" == user.choice[0]


def test_an_id_that_a_killed_writer_left_is_ours(tmp_path: Path) -> None:
    """It is written to a file of the writer's own first: that one is removed with the rest, since it holds an id too."""
    (tmp_path / "id.4711").write_text("an id")

    clear_folder(str(tmp_path), (), lambda: None)

    assert [] == list(tmp_path.iterdir())
