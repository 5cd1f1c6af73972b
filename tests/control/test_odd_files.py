"""Whatever lies in the place of one of our files, the commands answer: they neither wait for it nor fail."""

import os

import pytest

FILES = ["settings.json", "id", "ledger.jsonl", "ledger.jsonl.1", "1/wake", "1/dropped", "1/queue/otlp/pause"]
ODD = {"a pipe": os.mkfifo, "a device that never ends": lambda path: path.symlink_to("/dev/zero")}


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("name", FILES)
def test_the_commands_answer(user, name, what):
    """`status` says something; `off` leaves nothing but the choice."""
    user.choose("on")
    for folder in ("new", "open", "queue/otlp"):
        (user.spool / folder).mkdir(parents=True)
    ODD[what](user.folder / name)

    status, off = user.ours("status", "--app", "prog"), user.ours("off", "--app", "prog")

    assert (0, b"", 0, b"") == (status.status, status.err, off.status, off.err)
    assert ["prog", "prog/consent"] == user.kept
    assert b"telemetry is off" in off.out
