"""What worker processes record is not lost, however they end: it is on the disk when the call returns."""

import json
import os
import subprocess
import sys

import pytest

from ..hosts import INTERPRETERS, Host, spans_in, version_of

HEAD = """
import os, sys, signal, time, multiprocessing
import otel_usage
schema = {"n": {"kind": "count", "why": "x", "fields": {"where": ["here", "there"]}},
          "did": {"why": "x", "fields": {"ok": bool}}, "bad": {"kind": "error", "why": "x"}}
usage = otel_usage.init("prog", version="1.4", consent="opt-in", schema=schema)
usage.command("scan")
fork = multiprocessing.get_context("fork")
def work(i):
    usage.count("n", where="there")
    usage.action("did", ok=True)
"""
ENDINGS = {
    "a pool that is terminated": "with fork.Pool(2) as pool: pool.map(work, range(6))",
    "a pool that is joined": "pool = fork.Pool(2); pool.map(work, range(6)); pool.close(); pool.join()",
    "os._exit": """
for i in range(6):
    if os.fork() == 0:
        work(i)
        os._exit(0)
    os.wait()
""",
    "terminate": """
def forever(i):
    work(i)
    ready.release()
    time.sleep(60)
ready = fork.Semaphore(0)
children = [fork.Process(target=forever, args=(i,)) for i in range(6)]
for child in children:
    child.start(); ready.acquire(); child.terminate(); child.join()
""",
    "SIGKILL": """
for i in range(6):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        work(i)
        os.write(write, b"x")
        time.sleep(60)
    os.read(read, 1); os.kill(child, signal.SIGKILL); os.waitpid(child, 0)
""",
    "a fork that Python does not know of": """
import ctypes
for i in range(6):
    child = ctypes.PyDLL(None).fork()
    if child == 0:
        work(i)
        os._exit(0)
    os.waitpid(child, 0)
""",
    "an exception": """
import concurrent.futures
def fail(i):
    work(i)
    raise ValueError(i)
with concurrent.futures.ProcessPoolExecutor(2, mp_context=fork) as pool:
    list(pool.map(work, range(6)))
""",
    "descriptors closed": """
for i in range(6):
    if os.fork() == 0:
        usage.count("n", where="there")
        os.closerange(3, 300)
        usage.action("did", ok=True)
        os._exit(0)
    os.wait()
""",
}


def recorded(host: Host) -> tuple[int, list[dict]]:
    """Return what the counter says, and the attributes of the actions, of living and dead processes."""
    actions = []
    n = sum(value for (name, _), value in host.counts.items() if name == "usage.count.n")
    for folder in ("open", "new"):
        for file in host.files(folder, ".traces.jsonl"):
            actions += [span.attributes for span in spans_in(file) if span.attributes["usage.kind"] == "action"]
    return n, actions


@pytest.mark.parametrize("how", ENDINGS)
def test_nothing_is_lost_however_a_worker_ends(host, how):
    """Six workers count once and do one thing each."""
    ended = host.run(HEAD + "if __name__ == '__main__':\n    pass\n" + ENDINGS[how], flags=("-W", "ignore"))

    assert 0 == ended.status, ended.err.decode()
    n, actions = recorded(host)
    assert (6, 6) == (n, len(actions))
    assert "scan" == host.the_run.command


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
def test_spawned_workers(host, python):
    """They import the program anew, and `init` is called in each."""
    source = (
        HEAD
        + """
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(work, range(6))
"""
    )
    ended = host.run(source, python=python)

    assert 0 == ended.status, ended.err.decode()
    n, actions = recorded(host)
    assert (6, 6) == (n, len(actions))
    assert 1 == len(host.runs)


def test_numbers_are_exact_in_a_hot_loop_that_is_killed(host):
    """What the worker says it has counted when it is killed is what is on the disk, or one more."""
    source = (
        HEAD
        + """
read, write = os.pipe()
child = os.fork()
if child == 0:
    for i in range(10_000_000):
        usage.count("n", where="there" if i % 2 else "here")
        if i % 100 == 0:
            os.write(write, i.to_bytes(8, "little"))
while True:
    i = int.from_bytes(os.read(read, 8), "little")
    if i >= 5000:
        break
os.kill(child, signal.SIGKILL); os.waitpid(child, 0)
os.set_blocking(read, False)
try:
    while True:
        i = int.from_bytes(os.read(read, 8), "little")
except BlockingIOError:
    pass
print(i)
"""
    )
    ended = host.run(source)
    counted = int(ended.out)

    assert counted < recorded(host)[0] <= counted + 102


def test_a_long_action_has_its_duration_and_comes_once(host):
    """An action is written when it is made; entered, it is taken back and written at its end."""
    host.run(
        HEAD
        + """
if os.fork() == 0:
    with usage.action("did") as did:
        time.sleep(0.02)
        usage.count("n", where="here")
        did.set(ok=False)
    usage.action("did", ok=True)
    with usage.action("did") as did:
        usage.error("bad")
    os._exit(0)
os.wait()
"""
    )
    spans = [span for file in host.files("open", ".traces.jsonl") for span in spans_in(file)]
    long, *others = sorted(spans, key=lambda span: span.start_ns)

    assert ["action", "action", "action", "error"] == sorted(span.attributes["usage.kind"] for span in spans)
    assert False is long.attributes["usage.field.ok"]
    assert long.end_ns - long.start_ns >= 20_000_000
    assert others


def test_a_full_disk_costs_the_worker_nothing(host):
    """A limit on the size of files stands for it."""
    ended = host.run(
        HEAD
        + """
import resource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
if os.fork() == 0:
    resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900))
    for i in range(50):
        usage.action("did", ok=True)
        usage.count("n", where="here")
    os._exit(7)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    )
    assert b"7\n" == ended.out, ended.err.decode()
    for file in host.files("open"):
        for line in file.read_bytes().splitlines():
            json.loads(line)


def test_off_said_meanwhile(host):
    """What was counted before is not handed over; nothing is made anew."""
    process = host.start(
        HEAD
        + """
if os.fork() == 0:
    usage.count("n", where="here")
    print("counted", flush=True)
    sys.stdin.readline()
    usage.count("n", where="here")
    usage.flush()
    os._exit(0)
os.wait()
""",
        stdin=subprocess.PIPE,
    )
    assert b"counted\n" == process.stdout.readline()
    env = {**os.environ, **host.environ}
    subprocess.run(
        [sys.executable, "-m", "otel_usage.cli", "off", "--app", "prog"], env=env, check=True, capture_output=True
    )
    process.communicate(b"\n", timeout=20)

    assert [] == [*host.home.rglob("*.jsonl"), *host.home.rglob("*.cells")]
