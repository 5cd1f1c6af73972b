"""What worker processes leave when they are killed is sent by the next sender, once; what living ones have counted, too."""

from __future__ import annotations

import subprocess
import sys

from ..hosts import ROOT
from ..spools import Sink, Spool

PROGRAM = """
import os, signal, sys
import otel_usage
schema = {"events.seen": {"kind": "count", "why": "x", "fields": {"channel": ["slack", "discord"]}},
          "report.upload": {"why": "x"}}
usage = otel_usage.init("prog", version="1.0", consent="opt-in", schema=schema)
usage.command("scan")
def work(n):
    for i in range(n):
        usage.count("events.seen", channel="slack")
    usage.action("report.upload")
if os.fork() == 0:
    work(5)
    os.kill(os.getpid(), signal.SIGKILL)
os.wait()
if os.fork() == 0:
    work(7)
    print("counted", flush=True)
    sys.stdin.readline()
    work(2)
    print("counted", flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
os.wait()
"""


def test_dead_workers_are_heard_once_and_living_ones_when_they_end(spool: Spool, sink: Sink) -> None:
    """Three senders: while one worker lives, while it goes on counting, and after it was killed."""
    env = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "OTEL_USAGE_HOME": str(spool.home.parent),
        "OTEL_USAGE_SENDER": "none",
        "PROG_TELEMETRY": "on",
    }
    program = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PROGRAM.replace('consent="opt-in"', 'consent="opt-in", service=True')],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert program.stdin is not None
    assert program.stdout is not None
    counted = []
    for _ in range(2):
        assert b"counted\n" == program.stdout.readline()
        spool.drain()
        counted.append(sink.points()["usage.count.events.seen", "slack"])
        program.stdin.write(b"\n")
        program.stdin.flush()
    program.wait(20)
    program.stdin.close()
    program.stdout.close()
    for _ in range(2):
        spool.drain()
        counted.append(sink.points()["usage.count.events.seen", "slack"])

    assert [12, 14, 14, 14] == counted
    actions = [span for span in sink.spans() if span["attributes"]["usage.kind"] == "action"]
    assert 3 == len(actions)
    assert 3 == len({span["spanId"] for span in actions})
    assert [] == [name for name in spool.files() if name.startswith("open/")]
