"""What a service pays: count() and action() in cells, and handing over as process 1 of a container, again and again.

And what it loses: servers of the checkout's environment that are killed at a random moment, twenty times each.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import lab

COUNT_US, ACTION_US, CALL_MS = 1.0, 20.0, 1.0  # promised
FLUSHES = int(os.environ.get("BENCH_FLUSHES", "1000"))
GROWTH_KB = 1_024
SOURCE = """
import json, os, resource, sys, threading, time
import otel_usage
usage = otel_usage.init("mycli", version="1", consent="opt-in", service=True, destinations={}, flush_s=3600, schema={
    "n": {"kind": "count", "why": "x"}, "m": {"kind": "count", "why": "x", "fields": {"channel": ["slack", "discord"]}},
    "did": {"why": "x", "fields": {"ok": bool}}})
flushes = int(sys.argv[1])

def each(call, n, clock=time.thread_time):
    best = 1e9
    for _ in range(20):
        began = clock()
        for _ in range(n):
            call()
        best = min(best, (clock() - began) / n)
    return best * 1e6

usage.count("n"); usage.count("m", channel="slack")
out = {"count_us": each(lambda: usage.count("n"), 5000), "field_us": each(lambda: usage.count("m", channel="slack"), 5000),
       "empty_us": each(lambda: None, 5000), "action_us": each(lambda: usage.action("did", ok=True), 200)}
service = usage._recorder.service
took, waited, zombies, at_first = [], [], 0, 0
for n in range(flushes):
    usage.count("n")
    service.flush_at_s = 0.0
    service.wakeup.set()  # what follows is the thread's: it finds that something is due
    service.wakeup = threading.Event(); service.thread = None; service.serve()
    end = time.monotonic() + 30
    for _ in range(5):  # while it works
        began, cpu = time.perf_counter(), time.thread_time()
        usage.count("n"); usage.action("did", ok=True)
        took.append(time.perf_counter() - began); waited.append(time.thread_time() - cpu)
        time.sleep(0.002)
    while usage._recorder.children and time.monotonic() < end:
        time.sleep(0.005)
        service.reap()
    states = [open(f"/proc/{p}/stat").read().rpartition(")")[2].split()[0] for p in os.listdir("/proc") if p.isdigit()] if n % 20 == 0 else []
    zombies += states.count("Z")
    if n == flushes // 10:
        at_first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
took.sort(); waited.sort()
out.update(pid=os.getpid(), zombies=zombies, calls=len(took), p50_ms=took[len(took) // 2] * 1e3, p99_ms=took[len(took) * 99 // 100] * 1e3,
           cpu_p99_ms=waited[len(waited) * 99 // 100] * 1e3, threads=threading.active_count(),
           growth_kb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - at_first)
print(json.dumps(out), flush=True)
os._exit(0)
"""  # fmt: skip


def measure(here):
    """Return what the program found of itself, as process 1 where that can be had."""
    env = here.ours(here.home(), "on", OTEL_USAGE_SEND_DELAY_S="0", KUBERNETES_SERVICE_HOST="10.0.0.1")
    inside = ["unshare", "-pmf", "--mount-proc"] if shutil.which("unshare") else []
    if inside and subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        inside = []
    command = [*inside, lab.PYTHON, "-c", SOURCE, str(FLUSHES)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=7_200, check=True)
    return json.loads(done.stdout)


def killed(server, trials=20):
    """Return over all trials how many requests or tasks were answered, cut off, and counted; and in how many that was wrong."""
    from ..hosts import Host
    from ..recording import test_servers as servers

    sums, wrong = [0, 0, 0], 0
    for trial in range(trials):
        with tempfile.TemporaryDirectory(prefix="ou") as short:
            host, folder = Host(Path(short)), Path(short) / "app"
            folder.mkdir()
            (folder / "app.py").write_text(servers.APP)
            (folder / "tasks.py").write_text(servers.CELERY)
            if server == "celery":
                answered, cut_off, counted = servers.kill_celery_at_random(host, folder, trial)
            else:
                answered, cut_off, counted = servers.kill_at_random(host, folder, server, trial)
        wrong += not answered <= counted <= answered + cut_off
        sums = [one + more for one, more in zip(sums, (answered, cut_off, counted), strict=True)]
    return [*sums, wrong]


def print_killed():
    """Print the table of servers that are killed."""
    rows = []
    for server in ("uvicorn", "gunicorn", "celery"):
        answered, cut_off, counted, wrong = killed(server)
        rows.append([server, f"{answered}", f"{cut_off}", f"{counted}", f"{wrong}", "0", lab.ok(wrong, 0)])
    heads = ["killed 20 times at a random moment", "answered", "cut off", "counted", "wrong trials", "promised", ""]
    lab.table("A server that is killed", heads, rows)


def main():
    """Print the tables."""
    with lab.Lab() as here:
        found = measure(here)
    rows = [["process", f"{found['pid']}"]]
    for what, key, promised in (
        ("count(), µs of CPU", "count_us", COUNT_US),
        ("the same, one field", "field_us", COUNT_US),
        ("action(), one field, written through", "action_us", ACTION_US),
    ):
        rows.append([what, f"{found[key]:.2f}", f"≤ {promised:.0f}", lab.ok(found[key], promised)])
    rows.append([f"calls while {FLUSHES} times something is handed over", f"{found['calls']}"])
    rows.append(["a call, median, ms", f"{found['p50_ms']:.3f}"])
    rows.append(["a call, p99, ms", f"{found['p99_ms']:.3f}", f"≤ {CALL_MS:.0f}", lab.ok(found["p99_ms"], CALL_MS)])
    rows.append(
        ["the same, ms of CPU", f"{found['cpu_p99_ms']:.3f}", f"≤ {CALL_MS:.0f}", lab.ok(found["cpu_p99_ms"], CALL_MS)]
    )
    rows.append(["zombies", f"{found['zombies']}", "0", lab.ok(found["zombies"], 0)])
    rows.append(["memory grew, kB", f"{found['growth_kb']}", f"≤ {GROWTH_KB}", lab.ok(found["growth_kb"], GROWTH_KB)])
    lab.table("A service", ["", "", "promised", ""], rows)
    print_killed()
