"""Services, which have no user to be asked: a line in the log, and the operator's environment."""

from __future__ import annotations

import pytest

from ..users import User


def test_a_service_says_so_in_one_line_of_its_log(user: User):
    """Without any terminal: recorded by default, one line at start-up, with the switch that stops it."""
    ended = user.prog("report", T_SERVICE="1")

    assert 1 == ended.err.count(b"\n")
    assert b"prog: usage data is on" in ended.err
    assert b"PROG_TELEMETRY=off" in ended.err
    assert "start" == user.spans[0].name
    assert [] == user.runs


@pytest.mark.parametrize("env", [{"PROG_TELEMETRY": "off"}, {"DO_NOT_TRACK": "1"}, {"T_CONSENT": "opt-in"}])
def test_the_operators_environment_decides(user: User, env):
    """Off by the operator, or not switched on where the default is opt-in: silence, and nothing kept."""
    ended = user.prog("report", T_SERVICE="1", **env)

    assert (b"", []) == (ended.err, user.kept)


@pytest.mark.parametrize("stderr", ["open('/dev/full', 'w')", "None", "closed"])
def test_a_service_whose_log_cannot_be_written_records_all_the_same(user: User, stderr):
    """The line at start-up is lost, and nothing else."""
    source = "import sys\n"
    source += "sys.stderr.close()\n" if stderr == "closed" else f"sys.stderr = {stderr}\n"
    source += "import otel_usage\notel_usage.init('prog', version='1', consent='opt-out', service=True)\n"

    user.run(source + "sys.stderr = sys.__stderr__ = None\n")

    assert ["start"] == [span.name for span in user.spans]
