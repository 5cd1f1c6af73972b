"""Ctrl-C while a program waits for us: the waiting stops, and nothing of ours is shown."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ..hosts import Host, until
from ..users import User, senders

PROGRAM = """
import os, sys
import otel_usage
usage = otel_usage.init("prog", version="1.4", consent="opt-in", destinations={"otlp": "http://127.0.0.1:9"})
print("done", flush=True)
"""
WAITS = {
    "inline": {"OTEL_USAGE_SENDER": "inline"},
    "in CI": {"CI": "1", "OTEL_USAGE_SENDER": ""},
    "log": {"PROG_TELEMETRY": "log"},
}


def interrupt(process: subprocess.Popen[bytes]) -> tuple[int, bytes, float]:
    """Send SIGINT; return (status, stderr, seconds until the end)."""
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    return process.returncode, err, time.monotonic() - start


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_ends_the_waiting(user: User, wait: str) -> None:
    """Inline, in CI and in log mode: exit code 0 as without us, at once, without a word."""
    process = user.start(PROGRAM, env={"PROG_TELEMETRY": "on", **WAITS[wait]})
    until(lambda: senders(user))

    status, err, _ = interrupt(process)

    assert 0 == status
    assert b"" == err or (wait == "log" and err.startswith(b"prog telemetry")), err  # printed before
    if wait == "log":
        until(lambda: not senders(user))


def test_ctrl_c_at_any_moment_of_the_end(user: User) -> None:
    """From the last line on, whatever is under way: no frame of ours, and the exit code of a program without us or R18's."""
    for moment in range(12):
        env = {"PROG_TELEMETRY": "on", "OTEL_USAGE_SENDER": "detached", "OTEL_USAGE_SEND_DELAY_S": "0"}
        process = user.start(PROGRAM, env=env)
        assert process.stdout is not None
        assert b"done\n" == process.stdout.readline()
        end = time.perf_counter() + moment * 0.0005
        while time.perf_counter() < end:
            pass

        status, err, _ = interrupt(process)

        assert b"otel_usage" not in err, err.decode()
        assert status in (0, -signal.SIGINT)
    until(lambda: not senders(user))


LINE_BY_LINE = """
import linecache, signal, sys
ENDING = {"finish", "close", "unwatch_exit"}
lines = 0
def trace(frame, event, _):
    global lines
    if frame.f_code.co_name not in ENDING or "otel_usage" not in frame.f_code.co_filename:
        return trace
    # A line of `try:` alone is no instruction that could be interrupted, though it lies outside of the outer `try`.
    if event == "line" and linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip() != "try:":
        if lines == MOMENT:
            signal.raise_signal(signal.SIGINT)
        lines += 1
    return trace
sys.settrace(trace)
import atexit
atexit._run_exitfuncs()
print(end="-" * (lines >= MOMENT))
"""


def test_ctrl_c_at_every_line_of_the_end(user: User) -> None:
    """Whatever line of ours runs when Ctrl-C comes, from the first to the last."""
    moment, end = -1, b"-"
    while end.endswith(b"-"):
        moment += 1
        source = PROGRAM + LINE_BY_LINE.replace("MOMENT", str(moment))
        ended = user.run(source, env={"PROG_TELEMETRY": "on"})
        assert (0, b"") == (ended.status, ended.err), (moment, ended.err.decode())
        end = ended.out

    assert 15 < moment, "the lines of the end were not found"


@pytest.mark.parametrize("function", ["rename", "fstat", "pwrite", "posix_spawn", "utime"])
def test_a_mock_that_raises_at_the_end_is_not_seen(user: User, function: str) -> None:
    """A test of the program's has put something in place of os.rename that raises: our handler says nothing of it."""
    source = (
        PROGRAM
        + f"""
class Unmocked(BaseException): pass
def raising(*_, **__): raise Unmocked("not expected")
os.{function} = raising
"""
    )
    ended = user.run(
        source, env={"PROG_TELEMETRY": "on", "OTEL_USAGE_SENDER": "detached", "OTEL_USAGE_SEND_DELAY_S": "0"}
    )

    assert (0, b"") == (ended.status, ended.err)


def test_an_interrupted_end_in_the_midst_of_a_program_is_the_programs(host: Host) -> None:
    """Ctrl-C during `shutdown` in the midst of a program reaches the program."""
    source = (
        PROGRAM
        + """
import signal
run = usage._recorder.run
run.ending = lambda: signal.raise_signal(signal.SIGINT)
try: usage.shutdown()
except KeyboardInterrupt: os.write(2, b"reached")
"""
    )
    assert b"reached" == host.run(source).err


def test_ctrl_c_at_the_question(user: User) -> None:
    """Ctrl-C at "May prog record ...?" ends the program with 130, without a frame."""
    master, slave = os.openpty()
    source = PROGRAM.replace('"opt-in"', '"ask"')
    process = user.start(source, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(master, 4096)
    process.send_signal(signal.SIGINT)
    assert 130 == process.wait(30)
    try:
        shown += os.read(master, 4096)
    except OSError:  # closed on the other side
        pass
    os.close(master)

    assert b"Traceback" not in shown
    assert Path(user.folder / "consent").read_text().startswith("asked")
