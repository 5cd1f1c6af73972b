"""What a destination took a part of: the rest is sent again, and nothing else, whatever the other destinations do."""

from __future__ import annotations

import time
from collections import Counter
from itertools import permutations
from pathlib import Path

import pytest

from otel_usage.delivery.ledger import Ledger

from ..spools import Spool
from .backends import Answer, Backend, backends, takes


def ledger_sums(spool: Spool) -> dict[str, Counter[str]]:
    """Return by destination how many records of spans the ledger has, by result, drops by their reason."""
    sums: dict[str, Counter[str]] = {}
    for entry in Ledger(str(spool.home)).entries():
        if entry["signal"] == "traces":
            row = sums.setdefault(entry["destination"], Counter())
            row.update(entry["dropped"])
            if entry["result"] == "sent":
                row["sent"] += entry["records"]
    return sums


def fails_second(number: int, commands: list[str]) -> Answer:
    """Answer the second request with 503, as a vendor or a proxy before it may at any time."""
    return (503, {"Retry-After": "1"}, b"") if number == 1 else takes(number, commands)


def once_over(moment_s: float) -> None:
    """Return at *moment_s*, on the wall clock."""
    while time.time() < moment_s:
        time.sleep(0.01)


def test_ga4_is_not_counted_twice_while_another_destination_is_slow(tmp_path: Path, plain_environ: None) -> None:
    """GA4 fails once, and is due again while the same sender still delivers to a slow one: no event comes twice."""
    began_s = time.time()

    def slow(number: int, commands: list[str]) -> Answer:
        once_over(began_s + 2.5)
        return takes(number, commands)

    with backends(fails_second, slow) as (ga4, otlp):
        spool = Spool(tmp_path / "state", {"ga4": ga4.as_ga4, "otlp": otlp.url})
        commands = {spool.run(command=f"c{n}") and f"c{n}" for n in range(80)}
        spool.drain()
        once_over(time.time() + 1.1)
        spool.drain()

        assert {1} == set(ga4.acknowledged.values())
        assert commands == set(ga4.acknowledged) | set(ga4.refused)
        assert commands == set(otlp.acknowledged)
    assert {"sent": 55, "http_503": 25} == ledger_sums(spool)["ga4"]


KINDS = {
    "healthy": lambda number, commands: takes(number, commands),
    "failing": lambda number, commands: (503, {"Retry-After": "0"}, b""),
    "partly": lambda number, commands: (503, {"Retry-After": "0"}, b"") if number % 2 else takes(number, commands),
}


@pytest.mark.parametrize("kinds", list(permutations(KINDS)), ids="-".join)
def test_every_order_of_destinations(tmp_path: Path, plain_environ: None, kinds: tuple[str, ...]) -> None:
    """Whatever each of three destinations does: GA4 acknowledges nothing twice, and the ledger says what it acknowledged."""
    with backends(*[KINDS[kind] for kind in kinds]) as (ga4, segment, otlp):
        spool = Spool(
            tmp_path / "state", {"ga4": ga4.as_ga4, "segment": segment.as_segment, "otlp": {"endpoint": otlp.url}}
        )
        for n in range(60):
            spool.run(command=f"c{n}")
        for _ in range(3):
            spool.drain()
            revive(spool)

        assert set(ga4.acknowledged.values()) <= {1}
        sums = ledger_sums(spool)
        for name, backend in (("ga4", ga4), ("segment", segment), ("otlp", otlp)):
            assert sums.get(name, Counter())["sent"] == sum(backend.acknowledged.values()), name
        for backend, kind in zip((segment, otlp), kinds[1:], strict=True):
            if kind != "failing":
                assert {f"c{n}" for n in range(60)} == set(backend.acknowledged)


def revive(spool: Spool) -> None:
    """Let the pauses of all destinations be over, as after a while."""
    for path in spool.folder.glob("queue/*/pause"):
        path.unlink()


def test_segments_of_an_earlier_version_are_sent_request_by_request(tmp_path: Path, plain_environ: None) -> None:
    """A large segment file that waits for GA4 already: what a request holds is in flight, and each event is sent once."""
    waiting: list[int] = []

    def watch(number: int, commands: list[str]) -> Answer:
        flight = list(spool.folder.glob("queue/ga4/flight/*.traces.jsonl"))
        waiting.append(sum(path.read_bytes().count(b'"spanId"') for path in flight))
        return takes(number, commands)

    ga4 = Backend(watch)
    spool = Spool(tmp_path / "state", {"ga4": ga4.as_ga4})
    for n in range(110):
        spool.run(command=f"c{n}")

    spool.drain()

    ga4.close()
    assert [25, 25, 25, 25, 10] == waiting[:5]
    assert Counter({f"c{n}": 1 for n in range(110)}) == ga4.acknowledged
    assert [] == spool.files()
