"""A sender that is told to end, or whose time is over: what never left is sent by the next one, and counted as nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from otel_usage.delivery.ledger import Ledger

from ..hosts import until
from ..spools import Spool
from .backends import Answer, Backend, backends, takes
from .test_partial_delivery import ledger_sums


def start_sender(spool: Spool, before: str = "") -> subprocess.Popen[bytes]:
    """Start a sender in a process of its own, as a host does but for the delay."""
    code = f"{before}\nfrom otel_usage.delivery.start import main; main({spool.settings!r})"
    return subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OTEL_USAGE_CHILD": "1"})


def dropped(spool: Spool) -> Counter[str]:
    """Return what the ledger says was dropped, by reason."""
    sums: Counter[str] = Counter()
    for entry in Ledger(str(spool.home)).entries():
        sums.update(entry["dropped"])
    return sums


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_terminated_while_ga4_is_slow(tmp_path: Path, plain_environ: None, number: int) -> None:
    """The request that is under way comes to its end; all others were never begun, and the next sender makes them."""
    ga4 = Backend()

    def third_waits(n: int, commands: list[str]) -> Answer:
        if n == 2:
            sender.send_signal(number)
            ga4.over.wait(0.3)
        return takes(n, commands)

    ga4.answer = third_waits
    spool = Spool(tmp_path / "state", {"ga4": ga4.as_ga4})
    commands = {spool.run(command=f"c{n}") and f"c{n}" for n in range(200)}
    sender = start_sender(spool)
    assert 0 == sender.wait(30)
    first = Counter(ga4.acknowledged)

    spool.drain()

    ga4.close()
    assert 75 == len(first)
    assert Counter(dict.fromkeys(commands, 1)) == ga4.acknowledged
    assert {} == dropped(spool)
    assert {"sent": 200} == ledger_sums(spool)["ga4"]


def test_killed_while_ga4_is_slow(tmp_path: Path, plain_environ: None) -> None:
    """At SIGKILL nobody can know what became of one request: its events are lost, counted one by one, and no others."""
    ga4 = Backend()

    def third_waits(n: int, commands: list[str]) -> Answer:
        if n == 2:
            sender.kill()
        return takes(n, commands)

    ga4.answer = third_waits
    spool = Spool(tmp_path / "state", {"ga4": ga4.as_ga4})
    for n in range(200):
        spool.run(command=f"c{n}")
    sender = start_sender(spool)
    sender.wait(30)

    spool.drain()

    ga4.close()
    assert set(ga4.acknowledged.values()) == {1}
    assert {"unknown_delivery": 25} == dropped(spool)
    assert 175 == ledger_sums(spool)["ga4"]["sent"]
    assert {"unknown_delivery": 25} == json.loads((spool.folder / "dropped").read_text())


def test_terminated_while_otlp_hangs(tmp_path: Path, plain_environ: None) -> None:
    """A destination that recognises repetitions is not waited for: the sender ends at once, and says nothing against it."""
    with backends(takes) as (otlp,):

        def hangs(n: int, commands: list[str]) -> Answer:
            sender.terminate()
            otlp.over.wait(30)
            return takes(n, commands)

        otlp.answer = hangs
        spool = Spool(tmp_path / "state", {"otlp": {"endpoint": otlp.url, "timeout_s": 60}})
        own = spool.run(command="c0")
        sender = start_sender(spool)

        assert 0 == sender.wait(10)

        assert [] == list(Ledger(str(spool.home)).entries())
        assert not list(spool.folder.glob("queue/otlp/pause"))
        assert not list(spool.folder.glob("queue/otlp/flight/*"))
        otlp.answer = takes
        spool.drain()
        assert own
        assert {"c0": 1} == otlp.acknowledged


def test_who_hung_when_a_sender_died_is_asked_last(tmp_path: Path, plain_environ: None) -> None:
    """The sender is killed while one destination holds it up: the next one asks the others first."""
    order: list[str] = []
    with backends(takes, takes) as (otlp, segment):

        def hangs(n: int, commands: list[str]) -> Answer:
            order.append("otlp")
            otlp.over.wait(20)
            return takes(n, commands)

        otlp.answer = hangs
        spool = Spool(tmp_path / "state", {"otlp": {"endpoint": otlp.url, "timeout_s": 30}})
        spool.run(command="c0")
        sender = start_sender(spool)
        until(lambda: order)
        sender.kill()
        sender.wait()

        def answers(n: int, commands: list[str]) -> Answer:
            order.append("segment")
            return takes(n, commands)

        segment.answer = answers
        otlp.answer = lambda n, commands: (order.append("otlp"), takes(n, commands))[1]
        spool.settings["destinations"] = {"otlp": otlp.url, "segment": segment.as_segment}
        spool.run(command="c1")
        spool.drain()

        assert ["otlp", "segment"] == order[:2]
        assert {"c0", "c1"} == set(otlp.acknowledged)
