"""A service in its own process: one start, one line, one thread, no waiting, and nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..hosts import INTERPRETERS, ROOT, Host, Span, spans_in, version_of

HEAD = """
import os, signal, sys, threading, time
import otel_usage
schema = {
    "n": {"kind": "count", "why": "x"}, "did": {"why": "x"},
    "alive": {"kind": "heartbeat", "why": "x", "fields": {"plugins": otel_usage.several(["git", "slack"])}},
}
usage = otel_usage.init("prog", version=os.environ.get("V", "1.4"), consent="opt-in", schema=schema, service=True, **OPTIONS)
def work():
    usage._recorder.service.work()
"""
LINE = b"prog: usage data is on (by PROG_TELEMETRY); to switch it off set PROG_TELEMETRY=off\n"


def program(source: str, **options: object) -> str:
    return HEAD.replace("**OPTIONS", f"**{options!r}") + source


def kinds(host: Host) -> list[str]:
    host.adopt()
    return [str(span.attributes["usage.kind"]) for span in host.spans]


def starts(host: Host) -> list[tuple[object, object]]:
    host.adopt()
    spans = [span.attributes for span in host.spans if span.attributes["usage.kind"] == "start"]
    return [(span.get("usage.start"), span.get("usage.previous_version")) for span in spans]


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
def test_a_start_and_a_stop(host: Host, python: str) -> None:
    """A service that ends in order has a start, a stop, and no run; its log has one line."""
    ended = host.run(program("usage.count('n')\n"), python=python, flags=("-W", "error"), start_new_session=True)

    assert (0, LINE) == (ended.status, ended.err)
    assert ["start", "stop"] == kinds(host)
    assert {"prog"} == {span.resource["service.name"] for span in host.spans}


def test_first_restart_and_upgrade(host: Host) -> None:
    """The reason of each start is known by what ran before on the same disk."""
    for version in ("1.4", "1.4", "1.5"):
        host.run(program("os._exit(0)\n"), env={"V": version}, start_new_session=True)

    reasons = starts(host)
    assert [("restart", None), ("upgrade", "1.4")] == reasons[1:]
    assert reasons[0] in [("first", None), (None, None)]  # a container's own disk can't tell


FORKS = {
    "workers that were forked": "for i in range(3):\n    if os.fork() == 0:\n        usage.count('n')\n        os._exit(0)\n    os.wait()\n",
    "workers that are started anew": """
if len(sys.argv) < 2:
    import subprocess
    for i in range(3):
        subprocess.run([sys.executable, __file__, "worker"], check=True)
else:
    usage.count("n")
""",
    "workers that are recycled": """
def worker(left):
    if left and os.fork() == 0:
        usage.count("n")
        os._exit(0)
    if left:
        os.wait()
        worker(left - 1)
worker(3)
""",
}


@pytest.mark.parametrize("how", FORKS)
def test_many_processes_are_one_start(host: Host, how: str) -> None:
    """Workers come and go: the service has started once, and says so once."""
    ended = host.run(program(FORKS[how]), start_new_session=True, flags=("-W", "error"))

    assert (0, LINE) == (ended.status, ended.err), ended.err.decode()
    assert 1 == len(starts(host))
    assert 3 == sum(n for (name, _), n in host.counts.items() if name == "usage.count.n")


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_shell_that_starts_it_again_is_no_leader(host: Host, shell: str) -> None:
    """A loop in a shell starts a service three times."""
    host.command(program("os._exit(0)\n"), ())
    script = f"for i in 1 2 3; do {sys.executable} {host.tmp}/work/host.py; done"
    host.command(program("os._exit(0)\n"), ())
    subprocess.run([shell, "-c", script], env=host.environ, check=True, capture_output=True, start_new_session=True)

    assert 3 == len(starts(host))


CRASHES = {
    "an exception": ("def f():\n    raise ValueError('s3cret')\nf()\n", ["start", "crash"]),
    "SystemExit": ("sys.exit(3)\n", ["start", "stop"]),
    "Ctrl-C": ("raise KeyboardInterrupt\n", ["start", "stop"]),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM)\n", ["start"]),
    "SIGKILL": ("os.kill(os.getpid(), signal.SIGKILL)\n", ["start"]),
}


@pytest.mark.parametrize("how", CRASHES)
def test_how_it_ends(host: Host, how: str) -> None:
    """A crash has the exception's class and a hash of the place, never a text; who is killed says nothing."""
    source, expected = CRASHES[how]
    host.run(program(source), start_new_session=True)

    assert expected == kinds(host)
    for span in host.spans:
        if span.name == "crash":
            assert ("ValueError", 16) == (span.attributes["error.type"], len(span.attributes["usage.frames"]))
            assert span.failed
    assert not any(b"s3cret" in path.read_bytes() for path in host.spool.rglob("*") if path.is_file())


def test_the_place_of_a_crash_is_told_apart(host: Host) -> None:
    """The same place gives the same hash, which is recorded once a day, and then counted; another place gives another."""
    for text in ("1 / 0", "1 / 0", "\n1 / 0"):
        host.run(program(f"{text}\n"), start_new_session=True)
    kinds(host)

    first, other = [span.attributes["usage.frames"] for span in host.spans if span.name == "crash"]
    assert first != other
    assert {("usage.dropped", (("reason", "repeated"),)): 1} == host.counts


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
def test_one_thread_that_forks_do_not_meet(host: Host, python: str) -> None:
    """There is one thread of ours, also after a fork, in parent and child; a fork warns of none."""
    source = """
def ours():
    return [thread.name for thread in threading.enumerate()].count("otel-usage")
print(ours(), flush=True)
child = os.fork()
if child == 0:
    before = ours()
    usage.count("n")
    print(before, ours(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(ours(), flush=True)
"""
    ended = host.run(program(source), python=python, flags=("-W", "error"), start_new_session=True)

    assert (b"1\n0 1\n1\n", LINE) == (ended.out, ended.err)


def test_without_a_thread(host: Host) -> None:
    """``heartbeat="calls"`` starts none, and a host without threads records all the same."""
    source = """
print(threading.active_count(), flush=True)
usage.count("n"); usage.flush()
os._exit(0)
"""
    ended = host.run(program(source, heartbeat="calls"), start_new_session=True)
    unable = 'import threading\ndef start(self): raise RuntimeError("can\'t start new thread")\nthreading.Thread.start = start\n'
    host.run(unable + program("usage.count('n')\nos._exit(0)\n"), start_new_session=True)

    assert b"1\n" == ended.out
    assert 2 == sum(n for (name, _), n in host.counts.items() if name == "usage.count.n")


BEATS = """
from otel_usage.recording import heartbeat
said = [["git"]]
usage.snapshot(lambda: {"plugins": said[0]})
day = 86_400
now = [1_800_000_000.0]
heartbeat.time = lambda: now[0]
heartbeat.time_ns = lambda: int(now[0] * 1e9)
beat = usage._recorder.service.heartbeat
def at(seconds):
    now[0] = 1_800_000_000.0 + seconds
    beat.due_s = 0.0
    work()
"""


def beats(host: Host) -> list[Span]:
    host.adopt()
    return [span for span in host.spans if span.attributes["usage.kind"] == "heartbeat"]


def test_a_heartbeat_a_day_and_one_when_the_snapshot_changes(host: Host) -> None:
    """The first after some minutes; one a day; sooner if the snapshot says something else, at most hourly."""
    source = """
work()  # nothing is due yet
for hour in range(0, 72):
    if hour == 30:
        said[0] = ["slack", "git"]
    at(hour * 3600); at(hour * 3600 + 10)
os._exit(0)
"""
    host.run(program(BEATS + source), start_new_session=True)

    found = beats(host)
    assert {"alive"} == {span.name for span in found}
    sets = [span.attributes["usage.field.plugins"] for span in found]
    assert [["git"]] * 2 + [["git", "slack"]] * (len(found) - 2) == sets
    # 72 hours touch four days (UTC): one each, and the change.
    assert 5 == len(found)


def test_replicas_on_one_disk_write_one(host: Host) -> None:
    """Eight processes, three starts each: one heartbeat of a day."""
    source = (
        BEATS
        + "for i in range(8):\n    if os.fork() == 0:\n        work(); at(5)\n        os._exit(0)\n    os.wait()\n"
    )
    for _ in range(3):
        host.run(program(source), start_new_session=True)

    assert 1 == len(beats(host))


@pytest.mark.parametrize(
    "snapshot", ["lambda: 1 / 0", "lambda: None", "lambda: {'plugins': ['s3cret']}", "lambda: {'s3cret': 1}"]
)
def test_a_broken_snapshot(host: Host, snapshot: str) -> None:
    """It is counted, and the heartbeat goes without it."""
    ended = host.run(program(BEATS + f"usage.snapshot({snapshot})\nat(0)\nos._exit(0)\n"), start_new_session=True)

    assert LINE == ended.err
    assert [{"usage.kind": "heartbeat", "usage.heartbeat": "alive"}] == [span.attributes for span in beats(host)]
    assert 1 == sum(n for (name, _), n in host.counts.items() if name == "usage.dropped")


def test_off_said_meanwhile(host: Host) -> None:
    """A service that finds, at an hour's end, that somebody has said off, stops for good: its thread ends, no file is left."""
    source = """
usage.count("n"); usage.action("did")
import subprocess
subprocess.run([sys.executable, "-m", "otel_usage.cli", "off", "--app", "prog"], check=True, stdout=subprocess.DEVNULL)
service = usage._recorder.service
thread, service.flush_at_s = service.thread, 0.0
work()
thread.join(10)
usage.count("n"); usage.action("did"); usage.flush(); service.work()
print(thread.is_alive(), usage.recording, flush=True)
"""
    ended = host.run(program(source), start_new_session=True)

    assert (0, b"False False\n", LINE) == (ended.status, ended.out, ended.err)
    assert [] == [path.name for path in (host.home / "prog").rglob("*") if path.is_file() and path.name != "consent"]


def test_an_unwritable_folder_is_said_once(host: Host) -> None:
    """Where nothing can be kept, the log says why, and the service goes on."""
    host.spool.parent.mkdir()
    host.spool.write_text("in the way")
    ended = host.run(
        program("usage.count('n')\nwith usage.action('did'):\n    pass\nusage.snapshot(dict)\nsys.exit(3)\n")
    )

    assert 3 == ended.status
    assert 1 == ended.err.count(b"\n")
    assert b"but none is recorded" in ended.err


CAN_UNSHARE = shutil.which("unshare") is not None and (
    subprocess.run(["unshare", "-pmf", "--mount-proc", "true"], capture_output=True, check=False).returncode == 0
)


@pytest.mark.skipif(not CAN_UNSHARE, reason="no pid namespaces here")
def test_process_1_of_a_container(host: Host, tmp_path: Path) -> None:
    """As process 1, with real senders: no call waits, and none leaves a zombie."""
    source = """
service = usage._recorder.service
took = []
for i in range(30):
    began = time.thread_time()
    usage.count("n"); usage.action("did")
    took.append(time.thread_time() - began)
    service.flush_at_s = 0.0; service.wakeup.set(); service.wakeup = threading.Event()
    service.thread = None; service.serve()
    work()
    end = time.monotonic() + 20
    while usage._recorder.children and time.monotonic() < end:
        time.sleep(0.002)
        service.reap()
states = [open(f"/proc/{n}/stat").read().rpartition(")")[2].split()[0] for n in os.listdir("/proc") if n.isdigit()]
print(os.getpid(), states.count("Z"), len(states), sorted(took)[-2] < 0.005, flush=True)
os._exit(0)
"""
    file = tmp_path / "svc.py"
    file.write_text(program(source, destinations={}))
    env = {
        **host.environ,
        "OTEL_USAGE_SENDER": "",
        "OTEL_USAGE_SEND_DELAY_S": "0",
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
    }
    command = ["unshare", "-pmf", "--mount-proc", sys.executable, str(file)]
    ended = subprocess.run(command, env=env, capture_output=True, check=False, timeout=120)

    assert b"1 0 1 True\n" == ended.stdout, ended.stderr.decode()


def test_a_file_of_one_service_can_be_read(host: Host) -> None:
    """What lies in ``open/`` while a service runs is whole lines."""
    host.run(program("usage.action('did')\nos._exit(0)\n"), start_new_session=True)
    for path in host.files("open"):
        assert all(json.loads(line) for line in path.read_bytes().splitlines())
        assert ["start", "did"] == [span.name for span in spans_in(path)]
    assert ROOT.exists()
    assert os.path.isdir(host.spool / "starts")
