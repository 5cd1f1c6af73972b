"""What GA4 and Segment answer when an address or a key is wrong: what was recorded waits for the right one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from otel_usage.delivery.ledger import Ledger

from ..spools import Spool
from .backends import Backend, backends, takes
from .test_partial_delivery import revive

HOUR_NS = 3600 * 10**9


def destinations(name: str, backend: Backend) -> dict[str, Any]:
    """Return the vendor *name* at *backend*, as ``destinations``."""
    return {name: backend.as_ga4 if name == "ga4" else backend.as_segment}


def rows(spool: Spool, name: str) -> list[tuple[str, Any, Any, dict[str, int]]]:
    """Return (result, status, reason, dropped) of the ledger's entries about spans."""
    entries = [e for e in Ledger(str(spool.home)).entries() if (e["destination"], e["signal"]) == (name, "traces")]
    return [(e["result"], e["status"], e.get("reason"), e["dropped"]) for e in entries]


@pytest.mark.parametrize("status", [401, 403, 404, 405, 407, 302])
@pytest.mark.parametrize("name", ["ga4", "segment"])
def test_a_wrong_address_or_key_waits(tmp_path: Path, plain_environ: None, name: str, status: int) -> None:
    """One request is made, not one for each 25 events; all of it arrives once, when the right answer comes."""
    with backends(lambda n, commands: (status, {"Location": "https://portal.example/"}, b"no")) as (vendor,):
        spool = Spool(tmp_path / "state", destinations(name, vendor))
        for n in range(60):
            spool.run(command=f"c{n}")

        spool.drain()
        spool.drain()

        assert 1 == len(vendor.asked)
        assert [("retry", status, f"http_{status}", {})] == rows(spool, name)
        vendor.answer = takes
        revive(spool)
        spool.drain()
        assert {f"c{n}": 1 for n in range(60)} == vendor.acknowledged
        assert [] == spool.files()


@pytest.mark.parametrize("status", [400, 413])
def test_what_ga4_refuses_is_dropped(tmp_path: Path, plain_environ: None, status: int) -> None:
    """A request that is wrong in itself costs its own events, and the next one is made."""
    with backends(lambda n, commands: (status, {}, b"") if n == 0 else takes(n, commands)) as (ga4,):
        spool = Spool(tmp_path / "state", destinations("ga4", ga4))
        for n in range(40):
            spool.run(command=f"c{n}")

        spool.drain()

        assert [("dropped", status, f"http_{status}", {f"http_{status}": 25}), ("sent", 200, None, {})] == [
            (result, answer or 200, reason, dropped) for result, answer, reason, dropped in rows(spool, "ga4")
        ]
        assert 15 == sum(ga4.acknowledged.values())


def test_ga4_takes_nothing_older_than_three_days(tmp_path: Path, plain_environ: None) -> None:
    """What waited too long for the right address is dropped there, and counted."""
    with backends(takes) as (ga4,):
        spool = Spool(tmp_path / "state", destinations("ga4", ga4))
        spool.run(command="old", start_ns=time.time_ns() - 73 * HOUR_NS)
        spool.run(command="new")

        spool.drain()

        assert {"new": 1} == ga4.acknowledged
        assert {"too_old": 1} == rows(spool, "ga4")[0][3]


def test_an_exception_of_an_exporter_is_an_outcome(
    tmp_path: Path, plain_environ: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is raised: counted, with a reason; at GA4 as what may have arrived, elsewhere it waits."""
    from otel_usage_exporters.exporting import Exporter

    def fails(*_: object, **__: object) -> None:
        raise RecursionError("deep")

    monkeypatch.setattr(Exporter, "_send", fails)
    with backends(takes) as (vendor,):
        spool = Spool(tmp_path / "state", {**destinations("ga4", vendor), **destinations("segment", vendor)})
        spool.run(command="c0")

        spool.drain()

    assert [("dropped", None, "fault", {"unknown_delivery": 1})] == rows(spool, "ga4")
    assert [("retry", None, "fault", {})] == rows(spool, "segment")
