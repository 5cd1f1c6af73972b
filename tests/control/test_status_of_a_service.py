"""What a running service has counted waits in its cells: `status` and `send` know of it."""

from __future__ import annotations

import json
import subprocess
import sys

from ..hosts import Host

SERVICE = """
import os, otel_usage
usage = otel_usage.init("prog", version="1.4", consent="opt-in", service=True, schema={
    "seen": {"kind": "count", "why": "x"}, "sent": {"kind": "count", "why": "x"},
})
usage.count("seen", 3)
usage.count("sent")
os._exit(0)
"""


def status(host: Host, *argv: str) -> str:
    command = [sys.executable, "-m", "otel_usage", "status", "--app", "prog", *argv]
    return subprocess.run(command, env=host.environ, capture_output=True, check=True, timeout=60).stdout.decode()


def test_what_is_counted_waits(host: Host) -> None:
    """Counters that no sender has looked at are named beside the records that wait, and add to the table of all programs."""
    host.run(SERVICE)

    assert {"processes": 1, "records": 2} == json.loads(status(host, "--json"))["counting"]
    assert "counting      2 counters since the last sending" in status(host)


def test_nothing_is_counted(host: Host) -> None:
    """No row where nothing counts."""
    host.run(SERVICE.replace("usage.count", "str"))

    assert {"processes": 0, "records": 0} == json.loads(status(host, "--json"))["counting"]
    assert "counting" not in status(host)
