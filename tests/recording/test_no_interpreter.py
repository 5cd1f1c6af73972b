"""Programs that embed Python, or whose interpreter is gone: nothing is started that is no Python, and `status` says why."""

import shutil
import sys

import pytest

from ..hosts import ROOT, until
from ..users import settled

HEAD = """
import os, sys
import otel_usage
sys.executable = {executable}
spawned = []
real = os.posix_spawn
def spawn(path, *more, **keywords):
    spawned.append(path)
    return real(path, *more, **keywords)
os.posix_spawn = spawn
usage = otel_usage.init("prog", version="1.4", consent="opt-in", destinations={{"otlp": "http://127.0.0.1:9"}})
usage.command("scan")
usage.shutdown()
print(spawned)
"""
ODD = {
    "none": "None",
    "empty": "''",
    "no text": "b'/usr/bin/python3'",
    "uWSGI's binary": "'/bin/true'",
    "a shell named so": "'/usr/bin/uwsgi_python3'",
    "Nuitka's": "'/opt/no/such/dist/python'",
    "another program": "'/bin/sh'",
    "a folder": "'/'",
    "no program": "os.__file__",
}


@pytest.mark.parametrize("how", ODD)
def test_nothing_is_started(user, how):
    """What is no Python is not run; the record waits, and `status` says what is the matter."""
    ended = user.run(HEAD.format(executable=ODD[how]), env={"PROG_TELEMETRY": "on", "OTEL_USAGE_SENDER": "detached"})
    status = user.ours("status", "--app", "prog", PROG_TELEMETRY="on").out.decode()

    assert (0, b"[]\n", b"") == (ended.status, ended.out, ended.err)
    assert "scan" == user.the_run.command
    assert "sys.executable is " in status, status


def test_what_can_not_be_started(user):
    """A file that has the name and is none: tried once, and said."""
    program = user.tmp / "work" / "python3"
    program.write_bytes(b"\x7fELF no program")
    program.chmod(0o700)
    ended = user.run(
        HEAD.format(executable=repr(str(program))), env={"PROG_TELEMETRY": "on", "OTEL_USAGE_SENDER": "detached"}
    )
    status = user.ours("status", "--app", "prog", PROG_TELEMETRY="on").out.decode()

    assert (0, b"") == (ended.status, ended.err)
    assert "scan" == user.the_run.command
    assert "could not be started: Exec format error" in status, status


def test_a_frozen_program_says_so(user):
    """A frozen program has no interpreter: its records wait."""
    source = HEAD.format(executable="sys.executable").replace("spawned = []", "spawned = []; sys.frozen = True")
    user.run(source, env={"PROG_TELEMETRY": "on", "OTEL_USAGE_SENDER": "detached"})

    assert "the program is frozen" in user.ours("status", "--app", "prog", PROG_TELEMETRY="on").out.decode()


def test_the_bounds_hold(user):
    """What waits where nothing can be started is bounded as it is anywhere."""
    (user.home / "prog" / "1" / "new").mkdir(parents=True)
    for number in range(10_020):
        (user.home / "prog" / "1" / "new" / f"{number:016x}-0.traces.jsonl").touch()
    (user.home / "prog" / "1" / "open").mkdir()
    user.run(HEAD.format(executable="''"), env={"PROG_TELEMETRY": "on", "OTEL_USAGE_SENDER": "detached"})

    assert 10_000 == len(user.files("new"))


def test_a_python_by_another_name(user, sink):
    """A link to a Python is one; and a program of the same app that has one sends what waits."""
    user.run(HEAD.format(executable="''"), env={"PROG_TELEMETRY": "on", "OTEL_USAGE_SENDER": "detached"})
    link = user.tmp / "work" / "py"
    link.symlink_to(sys.executable)
    env = {"PROG_TELEMETRY": "on", "OTEL_USAGE_SENDER": "detached", "OTEL_USAGE_SEND_DELAY_S": "0"}
    source = HEAD.format(executable=repr(str(link))).replace("http://127.0.0.1:9", sink.address)
    ended = user.run(source, env=env)
    settled(user)

    assert str(link) in ended.out.decode()
    assert [] == user.files("new")
    assert "next sending" not in user.ours("status", "--app", "prog", PROG_TELEMETRY="on").out.decode()


@pytest.mark.parametrize("missing", ["start", "sender", "gone"])
def test_a_sender_that_can_not_be_imported(user, missing):
    """It says so where `status` looks, by the name of the module, though nothing of ours could be loaded."""
    package = user.tmp / "copy"
    shutil.copytree(ROOT / "otel_usage", package / "otel_usage", ignore=shutil.ignore_patterns("__pycache__"))
    env = {"PROG_TELEMETRY": "on", "OTEL_USAGE_SENDER": "detached", "OTEL_USAGE_SEND_DELAY_S": "0"}
    env["PYTHONPATH"] = str(package)
    if missing == "gone":
        shutil.rmtree(package / "otel_usage" / "delivery")
    else:
        (package / "otel_usage" / "delivery" / f"{missing}.py").write_text("import no_such_module\n")
    user.run(HEAD.format(executable="sys.executable"), env=env)
    token = user.spool / "wake"
    until(lambda: token.exists() and token.read_bytes())
    settled(user)
    status = user.ours("status", "--app", "prog", PROG_TELEMETRY="on").out.decode()

    names = {"gone": "otel_usage.delivery"}.get(missing, "no_such_module")
    assert f"ends at its first import: ModuleNotFoundError of {names}" in " ".join(status.split()), status
    assert "scan" == user.the_run.command
