"""``otel-usage verify`` finds out when off is not off: the proof can fail."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from otel_usage.cli.proof import compare

from ..users import User
from .programs_to_verify import HOST, PROGRAM, found_in, leaking, program, verified

# -- the proof can fail -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env", [{"MYCLY_TELEMETRY": "off"}, {"CI": "1"}, {"PYTEST_CURRENT_TEST": "x"}, {}])
def test_where_nobody_says_off_nothing_is_proved(user: User, env):
    """A misspelt variable, and what only keeps a default off, leave the program on: who agreed would be recorded."""
    told = verified(user, **env)

    assert 1 == told["status"]
    assert None is told["decided_by"]
    assert [] == user.kept


def test_a_gate_that_ignores_a_switch_is_found_out(user: User):
    """Here DO_NOT_TRACK is not among those that are asked."""
    env = leaking(user, "pass")
    gate = user.tmp / "leaking" / "otel_usage" / "consent" / "gate.py"
    gate.write_text(gate.read_text().replace('    "!DO_NOT_TRACK",\n', ""))

    ignored = found_in(user, HOST, **env)
    obeyed = found_in(user, HOST, **{**env, "DO_NOT_TRACK": "", "OTEL_USAGE_DISABLED": "1"})

    assert not ignored.clean
    assert obeyed.clean


def test_one_switch_is_proved_at_a_time(user: User):
    """The strongest that says off is named; a weaker one can't hide that it doesn't work."""
    env = leaking(user, "pass")
    gate = user.tmp / "leaking" / "otel_usage" / "consent" / "gate.py"
    gate.write_text(gate.read_text().replace('    "{APP}_TELEMETRY",\n', ""))

    found = found_in(user, HOST, **env, PROG_TELEMETRY="off")

    assert not found.clean
    assert ("environment", "PROG_TELEMETRY") == found.decided_by
    assert "DO_NOT_TRACK" in found.set_aside


def test_who_decided_is_printed(user: User):
    """So that a proof by another switch than the one that was meant is seen."""
    ended = user.ours("verify", "--", *PROGRAM, PROG_TELEMETRY="off", PATH=str(user.tmp))

    assert b"kept off by: PROG_TELEMETRY=off in the environment" in ended.out


def test_the_option_is_a_switch(user: User):
    """``mycli --disable-analytics``: taken out with and without us, and proved able to fail."""
    code = (
        HOST + "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('word')\nparser.parse_args()\n"
    )

    found = compare([*program(user, code), "--disable-analytics", "x"], user.environ, strace=None)

    assert found.clean, (found.only_with_us, found.proved_nothing)
    assert ("flag", "--disable-analytics") == found.decided_by


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may write /etc")
def test_the_machine_switch_can_be_proved(user: User, request):
    """``/etc/otel-usage/<app>.off``: the control does not see it, and records."""
    app = "test-" + uuid.uuid4().hex[:12]
    folder = Path("/etc/otel-usage")
    was = folder.exists()
    folder.mkdir(exist_ok=True)
    file = folder / f"{app}.off"
    request.addfinalizer(lambda: (file.unlink(), None if was else folder.rmdir()))
    file.touch()

    found = compare(program(user, HOST.replace("'prog'", repr(app))), user.environ, strace=None)

    assert found.clean, (found.only_with_us, found.proved_nothing)
    assert ("machine", str(file)) == found.decided_by


def test_the_default_can_be_proved(user: User):
    """``--default``: with nobody's word at all nothing happens under opt-in; but a switch may not be in the way."""
    code = program(user, HOST)

    found = compare(code, user.environ, strace=None, default=True)
    hidden = compare(code, {**user.environ, "DO_NOT_TRACK": "1"}, strace=None, default=True)

    assert found.clean, (found.only_with_us, found.proved_nothing)
    assert ("default", "opt-in") == found.decided_by
    assert "DO_NOT_TRACK" in hidden.proved_nothing


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import nosuchmodule\n" + HOST, "nosuchmodule"),
        ("print(1)", "otel_usage.init"),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("import os; os.environ['OTEL_USAGE_DISABLED'] = '1'\n" + HOST, "not seen to record"),
        ("import otel_usage; otel_usage.retired('prog')", "otel_usage.init"),
    ],
)
def test_a_program_that_never_records_proves_nothing(user: User, code, why):
    """It dies before `init`, does not call it, or is never on: exit code 2, and what to do."""
    found = found_in(user, code)
    ended = user.ours("verify", "--", *program(user, code), DO_NOT_TRACK="1", PATH=str(user.tmp))

    assert not found.clean
    assert why in found.proved_nothing
    assert 2 == ended.status
    assert b"proved nothing" in ended.err


# -- what resembles what the program does itself ------------------------------------------------------------------


CONNECT = "import socket\nwith socket.socket() as s:\n    s.connect_ex(({host!r}, {port}))"
ALIKE = {
    "port": (CONNECT.format(host="127.0.0.1", port=9), CONNECT.format(host="127.0.0.1", port=11)),
    "address": (CONNECT.format(host="127.0.0.1", port=9), CONNECT.format(host="127.0.0.2", port=9)),
    "again": (CONNECT.format(host="127.0.0.1", port=9),) * 2,
    "lookup": ("import socket\nsocket.getaddrinfo('127.0.0.1', 80)", "import socket\nsocket.getaddrinfo('127.0.0.2', 80)"),
    "python": (
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', ''])",
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'pass'])",
    ),
    "shell": (
        "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'true'])",
        "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'true leak'])",
    ),
    "file": ("import tempfile\ntempfile.NamedTemporaryFile().close()",) * 2,
    "descriptors": ("import os\nos.closerange(3, 1024)", "open('/etc/hostname').close()"),
}  # fmt: skip


@pytest.mark.parametrize(("own", "leak"), ALIKE.values(), ids=ALIKE)
@pytest.mark.parametrize("instead", [False, True], ids=["added", "elsewhere"])
def test_a_leak_is_seen_beside_the_like(user: User, own, leak, instead):
    """What only we do is found although the program does nearly the same; the program alone is not accused."""
    code = f"{own}\n{HOST}"
    env = leaking(user, leak)

    found = found_in(user, code, **(env if not instead else {}))

    assert instead == found.clean, (found.only_with_us, found.proved_nothing)


def test_watching_that_fails_proves_nothing(user: User):
    """A program that can open nothing any more is not watched, and that is said."""
    code = (
        "import os, resource\nos.closerange(3, 1024)\nresource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "try: open('x')\nexcept OSError: pass\n"
    )

    found = found_in(user, HOST + code)

    assert not found.clean
    assert "watch" in found.proved_nothing
