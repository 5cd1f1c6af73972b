"""Programs that gave telemetry up: they go on accepting its switches, and clean up."""

from __future__ import annotations

from ..hosts import until
from ..users import Sink, User, senders, settled


def test_a_retired_host_accepts_flag_and_variables_and_cleans_up(user: User, sink: Sink):
    """Flag and variables are no-ops that harm nobody; records, id, ledger and choice of earlier versions are gone."""
    user.choose("on")
    user.sends(sink, "report")
    until(lambda: sink.ids())
    settled(user)
    assert (user.folder / "id").exists()

    ended = user.run("retired_program.py", "work", "--disable-analytics", env={"PROG_TELEMETRY": "on"})

    assert (0, b"did work\n", b"") == (ended.status, ended.out, ended.err)
    assert not user.folder.exists()
    assert [] == senders(user)


def test_retired_may_be_asked_for_twice(user: User):
    """It stays a function: the module behind it has another name."""
    ended = user.run("import otel_usage\nhasattr(otel_usage, 'retired')\notel_usage.retired('prog')\n")

    assert (0, b"") == (ended.status, ended.err)


def test_the_commands_of_a_retired_host_are_no_ops(user: User):
    """Users' scripts that say ``prog telemetry off`` go on working."""
    source = (
        "import argparse, otel_usage\notel_usage.retired('prog')\nparser = argparse.ArgumentParser('prog')\n"
        "otel_usage.mount(parser.add_subparsers())\nparser.parse_args()\n"
    )

    ended = user.run(source, "telemetry", "off")

    assert (0, b"prog records nothing any more, and nothing is kept here\n", b"") == (
        ended.status,
        ended.out,
        ended.err,
    )
    assert [] == user.kept
