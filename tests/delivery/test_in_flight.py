"""What a killed sender may cost a destination that can't tell a repetition: what one request held, whatever the records are."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from otel_usage.delivery.ledger import Ledger

from ..hosts import until
from ..spools import Spool
from .backends import Answer, backends, takes

RUNS = 60
KILLED_AT = 1  # the request during which the sender dies, counted from 0

# What the runs of one spool differ in, by the number of the run.
PLAIN: tuple[Any, ...] = ({},)
IN_CI_OR_NOT = ({"more": [("usage.ci", True)]}, {"more": [("usage.ci", False)]})
PYTHONS = (
    {"resource": [("process.runtime.version", "3.11.7")]},
    {"resource": [("process.runtime.version", "3.12.1")]},
    {"resource": [("process.runtime.version", "3.13.0")]},
)


@pytest.mark.parametrize("screens", [None, "page_view"])
@pytest.mark.parametrize("kinds", [PLAIN, IN_CI_OR_NOT, PYTHONS], ids=["alike", "CI or not", "three Pythons"])
def test_a_killed_sender_loses_one_request(
    tmp_path: Path, plain_environ: None, kinds: tuple[Any, ...], screens: str | None
) -> None:
    """Sent, or lost in doubt: each run is one of both, and lost is what the last request held."""
    with backends(takes) as (ga4,):
        spool = Spool(tmp_path, {"ga4": {**ga4.as_ga4, **({"screens": screens} if screens else {})}})
        for n in range(RUNS):
            spool.run(command=f"c{n}", **kinds[n % len(kinds)])
        code = f"from otel_usage.delivery.start import main; main({spool.settings!r})"

        senders: list[subprocess.Popen[bytes]] = []
        ga4.answer = lambda number, commands: kill(senders, number, commands)
        senders.append(subprocess.Popen([sys.executable, "-c", code]))
        senders[0].wait(60)
        spool.drain()

        assert -signal.SIGKILL == senders[0].returncode
        sent, dropped = counted(spool)
        in_doubt = ga4.asked[KILLED_AT]
        assert {"unknown_delivery": len(in_doubt)} == dropped
        assert RUNS == sent + len(in_doubt)
        assert {1} == set(ga4.acknowledged.values())
        assert RUNS == len(ga4.acknowledged)


def kill(senders: list[subprocess.Popen[bytes]], number: int, commands: list[str]) -> Answer:
    """Take everything, but kill the sender before it hears so of the request `KILLED_AT`."""
    if number == KILLED_AT:
        until(lambda: senders)
        senders[0].kill()
    return takes(number, commands)


def counted(spool: Spool) -> tuple[int, Counter[str]]:
    """Return how many runs the ledger says were sent, and dropped, by reason."""
    sent, dropped = 0, Counter[str]()
    for entry in Ledger(str(spool.home)).entries():
        if entry["signal"] == "traces":
            sent += entry["records"] if entry["result"] == "sent" else 0
            dropped.update(entry["dropped"])
    return sent, dropped
