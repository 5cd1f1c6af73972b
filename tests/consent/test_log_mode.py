"""Log mode: what would be sent is printed, and nothing is sent."""

from __future__ import annotations

import pytest

from ..hosts import until
from ..users import Sink, User, settled


def test_log_mode_prints_what_would_be_sent_and_sends_nothing(user: User, sink: Sink):
    """The exact payload on stderr, through gate and translators; nothing sent, nothing kept."""
    ended = user.prog("report", PROG_TELEMETRY="log", T_SINK=sink.address)

    assert b"reported\n" == ended.out
    for word in (b"Nothing was.", b"report.upload", b"usage.count.lines", b"app.installation.id"):
        assert word in ended.err
    assert ([], []) == (sink.told, user.kept)


def test_log_mode_shows_the_id_that_is_kept(user: User, sink: Sink):
    """An installation that has an id would send that one; printing makes none, and changes nothing that is kept."""
    user.choose("on")
    user.sends(sink, "report")
    until(lambda: len(sink.ids()) == 2)
    settled(user)
    kept, already = (user.folder / "id").read_text().split()[0], len(sink.told)
    before = {path: (user.home / path).stat().st_mtime_ns for path in user.kept}

    ended = user.prog("report", PROG_TELEMETRY="log", T_SINK=sink.address)

    assert kept.encode() in ended.err
    assert b"00000000-0000" not in ended.err
    assert before == {path: (user.home / path).stat().st_mtime_ns for path in user.kept}
    assert already == len(sink.told)


def test_log_mode_does_not_hold_up_a_program_that_goes_on(user: User, sink: Sink):
    """What is handed over meanwhile is printed by and by, by nobody that the program's own wait() could meet."""
    source = (
        "import os, sys, otel_usage\n"
        "u = otel_usage.init('prog', version='1', consent='opt-in', schema={'lines': {'kind': 'count', 'why': 'x'}},\n"
        f"    destinations={{'otlp': {sink.address!r}}})\n"
        "u.count('lines')\nu.flush()\nos.write(2, b'went on\\n')\n"
        "try: print(os.wait())\nexcept ChildProcessError: print('no child')\n"
    )

    ended = user.run(source, env={"PROG_TELEMETRY": "log"})

    assert b"no child\n" == ended.out
    assert ended.err.startswith(b"went on\n")
    assert 2 == ended.err.count(b"Nothing was.")
    assert b"usage.count.lines" in ended.err
    assert [] == sink.told


def test_log_mode_names_a_wrong_setting_once(user: User):
    """Neither the exporter nor the sender says it again."""
    source = "import otel_usage\notel_usage.init('prog', version='1', consent='opt-in', "
    source += "destinations={'ga4': {'measurement_id': 'nonsense', 'api_secret': 'x'}})\n"

    ended = user.run(source, env={"PROG_TELEMETRY": "log"})

    assert 1 == ended.err.count(b"measurement_id")


@pytest.mark.parametrize("env", [{"DO_NOT_TRACK": "1"}, {"OTEL_SDK_DISABLED": "true"}, {"PROG_DISABLE_ANALYTICS": "1"}])
def test_log_mode_under_an_off_prints_none(user: User, sink: Sink, env):
    """An explicit off beats log: one line says "none" and why; nothing is loaded, started or kept."""
    ended = user.prog("report", PROG_TELEMETRY="log", T_SINK=sink.address, **env)

    assert f"prog telemetry, log mode: none, because {next(iter(env))} says off\n".encode() == ended.err
    assert ([], []) == (sink.told, user.kept)


def test_log_mode_under_a_stored_off_prints_none(user: User):
    """So does the user's own stored off."""
    user.choose("off")

    ended = user.prog("report", PROG_TELEMETRY="log")

    assert b"log mode: none" in ended.err
    assert ["prog", "prog/consent"] == user.kept
