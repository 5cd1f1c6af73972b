"""A sender killed at any step loses nothing, and repeats nothing under another id."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

from ..spools import Sink, Spool


def test_killed_at_every_system_call(spool: Spool, sink: Sink) -> None:
    """After each death the next sender delivers every run; what comes twice carries the same span ids."""
    wanted = {spool.run(command=f"c{n}") for n in range(3)}
    program = Path(__file__).with_name("kill_at_every_call.py")

    ended = subprocess.run(
        [sys.executable, str(program), repr(spool.settings)], capture_output=True, text=True, check=True, timeout=110
    )

    rows = [line.split() for line in ended.stdout.splitlines()]
    deaths = sum(row[2] == "True" for row in rows)
    assert deaths > 30
    assert [] == [row for row in rows if row[3] != "0"]
    counts = Counter(sink.ids())
    assert wanted == set(counts)
    for n in counts.values():
        assert len(rows) <= n <= 2 * len(rows)
