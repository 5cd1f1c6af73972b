"""One run for eight destinations at once, one of which fails: the others get it once, and that one when it is well again.

With OTEL_USAGE_SLOW=1 each destination in each way of the fault table, from the sender, through the relay and through serve.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .everywhere import AT_MOST_ONCE, NAMES, WAYS, FromSender, Stations

FAULTS = ("refused", "400", "401", "403", "429", "500", "503", "cut", "silent", "302")
WAITS = ("refused", "401", "403", "302")  # nothing was taken, and nobody can doubt it
# Refused in the receiver's own words: OTLP says so of 500 as well.
DROPS = {name: ("400", "500") if name == "otlp" else ("400",) for name in NAMES}
REASONS = {"cut": "unknown_delivery", "silent": "unknown_delivery"}
FEW = [
    ("sender", "503", ("matomo",)),
    ("relay", "cut", ("mixpanel", "ga4")),
    ("serve", "refused", ("amplitude",)),
]
slow = pytest.mark.skipif(not os.environ.get("OTEL_USAGE_SLOW"), reason="takes minutes; set OTEL_USAGE_SLOW=1")


@pytest.fixture
def stations() -> Iterator[Stations]:
    """Eight destinations that are well."""
    stations = Stations()
    yield stations
    stations.close()


def check(folder: Path, stations: Stations, way_name: str, fault: str, failing: tuple[str, ...]) -> None:
    """Have each of *failing* fail in turn, for a run of its own, on one way; where the fault is silence, on a new one each."""
    way: FromSender | None = None
    try:
        for turn, name in enumerate(failing):
            if way is None or fault == "silent":
                if way is not None:
                    way.close()
                (folder / str(turn)).mkdir()
                way = WAYS[way_name](folder / str(turn), stations, name if fault == "silent" else "")
            check_one(way, stations, fault, name)
            if turn + 1 < len(failing) and never(name, fault):
                # With one more goes the count of what was dropped, which else would come before the next one's run.
                runs = {one: station.taken.total() for one, station in stations.by_name.items()}
                way.send()
                way.wait("", {one: n + 1 for one, n in runs.items()})
            if way_name != "relay" and never(name, fault):
                # What the relay's client has in its ledger, or a sender of OTLP, is one word for all reasons.
                reason = "rejected" if name == "otlp" else REASONS.get(fault, f"http_{fault}")
                assert {reason: 1} == way.dropped(name), (name, fault)
        assert 0 == stations.elsewhere.asked
    finally:
        if way is not None:
            way.close()


def never(name: str, fault: str) -> bool:
    """True if the destination *name* does not get what it answered so, even when it is well."""
    return fault in DROPS[name] or (name in AT_MOST_ONCE and fault not in WAITS)


def check_one(way: FromSender, stations: Stations, fault: str, name: str) -> None:
    """Have the destination *name* fail for one run, and be well again."""
    station = stations.by_name[name]
    before = {one: stations.by_name[one].taken.copy() for one in NAMES}
    doubted, dropped = station.doubted.copy(), way.dropped(name).total()
    station.fault = fault

    span_id = way.send()
    way.wait(name, {one: before[one].total() + 1 for one in NAMES if one != name})
    assert station.taken == before[name]
    station.fault = ""
    for _ in range(2):
        way.send_again(name)

    arrived = {one: stations.by_name[one].taken - before[one] for one in NAMES}
    often = {one: list(arrived[one].values()) for one in NAMES}
    assert {one: [1] if one != name or not never(name, fault) else [] for one in NAMES} == often, (name, fault)
    assert set(arrived["otlp"]) <= {span_id}
    if name in AT_MOST_ONCE:
        assert set((arrived[name] + (station.doubted - doubted)).values()) <= {1}, (name, fault)
    assert never(name, fault) == way.dropped(name).total() - dropped, (name, fault)
    assert [] == way.waiting()


@pytest.mark.parametrize(("way", "fault", "failing"), FEW)
def test_one_of_eight_fails(
    tmp_path: Path, plain_environ: None, stations: Stations, way: str, fault: str, failing: tuple[str, ...]
) -> None:
    """Nobody waits for it, nothing comes twice, and what can't be sent again is counted."""
    check(tmp_path, stations, way, fault, failing)


@slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("way", WAYS)
def test_each_of_eight_fails_in_each_way(
    tmp_path: Path, plain_environ: None, stations: Stations, way: str, fault: str
) -> None:
    """All of the fault table."""
    check(tmp_path, stations, way, fault, NAMES)
