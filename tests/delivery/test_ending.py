"""A sender that is told to end, or whose time is over: what never left is sent by the next one, and counted as nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
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


def test_what_was_in_flight_waits_for_settings_that_say_what_it_is(tmp_path: Path, plain_environ: None) -> None:
    """A release with wrong settings comes after a sender that was killed: what GA4 may have got is not sent again by the next."""
    with backends(takes) as (ga4,):

        def dies(n: int, commands: list[str]) -> Answer:
            sender.kill()
            return takes(n, commands)

        ga4.answer = dies
        spool = Spool(tmp_path / "state", {"ga4": ga4.as_ga4})
        spool.run(command="c0")
        sender = start_sender(spool)
        sender.wait()
        right = spool.settings["destinations"]
        spool.settings["destinations"] = {"ga4": {**ga4.as_ga4, "measurement_id": "?"}}
        spool.drain()
        assert {} == dropped(spool)
        ga4.answer = takes
        spool.settings["destinations"] = right
        spool.drain()

        assert {"c0": 1} == ga4.acknowledged
        assert {"unknown_delivery": 1} == dropped(spool)


def test_a_proxy_that_drips_holds_up_nobody(tmp_path: Path, plain_environ: None) -> None:
    """No time limit of any library ends its answer to CONNECT: the delivery's own does, and nothing of the request has left."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        while not over.is_set():
            try:
                with listener.accept()[0] as connection:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                    while not over.wait(0.05):
                        connection.sendall(b"x")
            except OSError:
                continue

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    with backends(takes) as (otlp,):
        secret = {"measurement_id": "G-ABC1234567", "api_secret": "s", "endpoint": "https://ga4.invalid"}
        spool = Spool(tmp_path / "state", {"ga4": secret, "otlp": otlp.url})
        spool.run(command="c0")
        os.environ["HTTPS_PROXY"] = f"http://127.0.0.1:{listener.getsockname()[1]}"

        sender = start_sender(spool, "import otel_usage.delivery.destination as d; d.DELIVERY_S = 0.7")

        assert 0 == sender.wait(15)
        assert {"c0": 1} == otlp.acknowledged
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
    entries = [entry for entry in Ledger(str(spool.home)).entries() if entry["destination"] == "ga4"]
    assert {} == dropped(spool)
    assert {"retry"} == {entry["result"] for entry in entries}
    assert 1 == len(list(spool.folder.glob("queue/ga4/wait/*.traces.jsonl")))
