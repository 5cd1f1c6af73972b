"""Hosts and senders as processes: many at once, and what a sender holds of its host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ..hosts import ROOT, Host, until
from ..spools import Sink, Spool

PROGRAM = """
import argparse, sys
import otel_usage
usage = otel_usage.init("prog", version="1", consent="opt-out", destinations={"otlp": sys.argv.pop(1)},
    schema={"events.seen": {"kind": "count", "why": "x", "fields": {"channel": ["slack"]}}, "done": {"why": "x"}})
parser = argparse.ArgumentParser()
parser.add_argument("--hold", type=float)
told = parser.parse_args()
usage.count("events.seen", channel="slack")
"""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A user whose programs start real, detached senders."""
    made = Host(tmp_path)
    made.environ.update(OTEL_USAGE_SENDER="detached", OTEL_USAGE_SEND_DELAY_S="0.2")
    return made


def quiet(host: Host) -> bool:
    """True if nothing waits and no sender lives."""
    waiting = [p for p in host.spool.rglob("*.jsonl") if "bad" not in p.parts]
    return not waiting and not senders(host)


def senders(host: Host) -> list[int]:
    """Return the process ids of this host's senders."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environ = (entry / "environ").read_bytes()
        except OSError:
            continue
        if b"OTEL_USAGE_CHILD=1" in environ and str(host.home).encode() in environ:
            found.append(int(entry.name))
    return found


def test_twenty_programs_fifty_times(host: Host, sink: Sink) -> None:
    """1,000 runs, twenty at a time, arrive exactly once, and so do their counts."""
    program = host.tmp / "work" / "host.py"
    program.write_text(
        "import sys\n"
        "import otel_usage\n"
        "usage = otel_usage.init('prog', version='1', consent='opt-out', destinations={'otlp': sys.argv[1]},\n"
        "    schema={'events.seen': {'kind': 'count', 'why': 'x'}})\n"
        "with usage.command('scan'):\n"
        "    usage.count('events.seen')\n"
    )
    site = next(path for path in sys.path if path.endswith("site-packages"))
    # Without site: what takes the time is starting an interpreter a thousand times.
    environ = {
        **host.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "exporters"), site]),
        "OTEL_USAGE_SEND_DELAY_S": "1",
    }
    loop = 'i=0; while [ $i -lt 50 ]; do "$0" -S "$1" "$2"; i=$((i+1)); done'
    command = ["sh", "-c", loop, sys.executable, str(program), sink.address]
    children = [subprocess.Popen(command, env=environ, cwd=host.tmp / "work") for _ in range(20)]
    try:
        assert [0] * 20 == [child.wait(timeout=100) for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()

    until(lambda: quiet(host), 60)

    ids = sink.ids()
    assert 1_000 == len(ids)
    assert 1_000 == len(set(ids))
    assert 1_000 == sum(n for (name, _of), n in sink.points().items() if name == "usage.count.events.seen")


def test_bursts_leave_nothing_behind(host: Host, sink: Sink) -> None:
    """Runs that end while a sender sleeps, drains or leaves are taken along, or by the next."""
    file = host.tmp / "work" / "host.py"
    file.write_text(PROGRAM)
    host.environ["OTEL_USAGE_SEND_DELAY_S"] = "0.05"
    for burst in range(6):
        children = [
            subprocess.Popen([sys.executable, str(file), sink.address], env=host.environ, cwd=host.tmp)
            for _ in range(4)
        ]
        for child in children:
            assert 0 == child.wait()
        time.sleep(0.05 * burst)

    until(lambda: quiet(host), 30)

    assert 24 == len(set(sink.ids())) == len(sink.ids())


def test_two_senders_at_once(spool: Spool, sink: Sink) -> None:
    """The second finds the lock and leaves: everything is sent once."""
    wanted = {spool.run() for _ in range(300)}
    code = f"from otel_usage.delivery.start import main; main({spool.settings!r})"
    children = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]

    for child in children:
        assert 0 == child.wait(timeout=60)

    assert wanted == set(sink.ids())
    assert len(wanted) == len(sink.ids())


# What 0.1 had its senders run, after closing what was the host's.
BOOT_OF_0_1 = """
import os,sys,time
text=sys.stdin.buffer.read()
os.chdir("/")
delay,ours,told=text.split(b"\\n",2)
time.sleep(float(delay))
from ast import literal_eval
ours=literal_eval(ours.decode())
sys.path[:]=ours["path"]
from otel_usage.sender import start
start(ours,told.decode())
"""


def test_a_sender_of_the_previous_version_finds_its_module(spool: Spool, sink: Sink) -> None:
    """One that sleeps while this version is installed wakes up, and delivers."""
    wanted = {spool.run() for _ in range(3)}
    ours = {"app": "prog", "path": [p for p in sys.path if p], "home": spool.settings["home"], "mode": "on"}
    ours |= {"since_s": 0, "ci": "", "lines": []}
    settings = {key: value for key, value in spool.settings.items() if key not in ours}
    command = [sys.executable, "-I", "-S", "-c", BOOT_OF_0_1, "otel-usage", "prog"]

    ended = subprocess.run(command, input=f"0.1\n{ours!r}\n{settings!r}".encode(), capture_output=True, timeout=60)

    assert (0, b"") == (ended.returncode, ended.stderr)
    assert wanted == set(sink.ids())


def test_the_sender_holds_nothing_of_its_host(host: Host, sink: Sink) -> None:
    """Its own session; null streams; no descriptor, folder, secret or argument of the host's."""
    host.environ["OTEL_USAGE_SEND_DELAY_S"] = "8"
    read, write = os.pipe()
    os.set_inheritable(write, True)
    host.start(PROGRAM, sink.address, "--hold", "4711", pass_fds=(write,), env={"COLUMNS": "80"}).communicate()
    os.close(write)
    (pid,) = until(lambda: senders(host))
    proc = Path(f"/proc/{pid}")
    until(lambda: os.readlink(proc / "cwd") == "/")

    descriptors = {name.name: os.readlink(name) for name in (proc / "fd").iterdir()}
    command = (proc / "cmdline").read_bytes()
    session = int((proc / "stat").read_text().rpartition(")")[2].split()[3])
    got = os.read(read, 1)  # b"": nobody holds the other end

    os.kill(pid, 9)
    os.close(read)
    assert {"0": "/dev/null", "1": "/dev/null", "2": "/dev/null"} == descriptors
    assert pid == session
    assert b"4711" not in command
    assert sink.address.encode() not in command
    assert command.endswith(b"-c\0" + command.split(b"-c\0")[1])
    assert re.search(rb"\0otel-usage\0prog\0$", command)
    assert b"" == got


def test_a_pipe_reader_does_not_wait_for_the_sender(host: Host, sink: Sink) -> None:
    """``prog | cat`` ends when prog ends."""
    host.environ["OTEL_USAGE_SEND_DELAY_S"] = "30"

    ended = host.run(PROGRAM, sink.address)  # reads both streams to their end

    (pid,) = senders(host)
    os.kill(pid, 9)
    assert 0 == ended.status


def test_a_long_running_host_hands_over_as_it_goes(host: Host, sink: Sink) -> None:
    """Counts arrive while it runs; its own wait() meets no child of ours."""
    program = PROGRAM.replace('consent="opt-out",', 'consent="opt-out", flush_s=0.05,') + (
        "import os, time\n"
        "while not os.path.exists('stop'):\n"
        "    usage.count('events.seen', channel='slack')\n"
        "    time.sleep(0.01)\n"
        "try:\n"
        "    print(os.wait())\n"
        "except ChildProcessError:\n"
        "    print('no children')\n"
    )
    running = host.start(program, sink.address)
    until(lambda: sink.points().get(("usage.count.events.seen", "slack"), 0) > 10)

    (host.tmp / "work" / "stop").touch()
    out, _err = running.communicate(timeout=30)
    until(lambda: quiet(host), 30)

    assert b"no children\n" == out
    assert 1 == len(sink.spans())


def test_a_dead_program_is_reported_by_the_next_run(host: Host, sink: Sink) -> None:
    """Killed with its command known: one span, unfinished, and one for the run after it."""
    killed = host.start(PROGRAM + "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", sink.address)
    killed.communicate()
    (stub,) = (host.spool / "open").iterdir()
    os.utime(stub, (1, 1))

    host.run(PROGRAM, sink.address)
    until(lambda: quiet(host), 30)

    told = sorted(span["attributes"]["usage.outcome"] for span in sink.spans())
    assert ["success", "unfinished"] == told
    assert 1 == sink.points()[("usage.runs", "(root) unfinished")]


def test_inline_waits_for_the_sender(host: Host, sink: Sink) -> None:
    """Where a background process would be killed (CI), the run's own end delivers it."""
    host.environ.update(CI="true", OTEL_USAGE_SENDER="", OTEL_USAGE_SEND_DELAY_S="")
    del host.environ["OTEL_USAGE_SENDER"]

    host.run(PROGRAM, sink.address)

    until(lambda: sink.spans())
    (span,) = sink.spans()
    assert span["attributes"]["usage.ci"] is True
    assert "other" == span["resource"]["usage.ci_system"]


def test_log_mode_prints_and_sends_nothing(host: Host, sink: Sink) -> None:
    """What would leave is on stderr when the program ends; nothing is kept and nobody is contacted."""
    host.environ["PROG_TELEMETRY"] = "log"

    ended = host.run(PROGRAM, sink.address)

    assert b'"usage.command"' in ended.err
    assert b"usage.count.events.seen" in ended.err
    assert [] == sink.told
    assert not (host.home / "prog").exists()


def test_off_records_nothing(host: Host, sink: Sink) -> None:
    """No file, no process, no connection."""
    host.environ["PROG_TELEMETRY"] = "off"

    host.run(PROGRAM, sink.address)

    assert not (host.home / "prog").exists()
    assert [] == senders(host)
    assert [] == sink.told


def test_a_sender_has_a_deadline(spool: Spool, sink: Sink) -> None:
    """One that hangs puts back what it holds as its time is over, and ends; the next one delivers it."""
    release = threading.Event()
    sink.answer = lambda _n: (release.wait(60), (200, {}, b""))[1]
    spool.settings["destinations"] = {"otlp": {"endpoint": sink.address, "timeout_s": 60}}
    own = spool.run()
    code = f"import otel_usage.delivery.start as s; s.DEADLINE_S = 2; s.main({spool.settings!r})"

    ended = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    release.set()
    spool.drain()

    assert 0 == ended.returncode
    assert {own} == set(sink.ids())
    assert [] == spool.files()
