"""Vendors behind the store: each gets what is stored, as often as it can bear, and none holds up another."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otel_usage.serve.conversion import RowDecoder, RowMaker
from otel_usage.serve.forwarding import Forwarding, select_vendors
from otel_usage.serve.store.store import Store
from tests.collector.harness import DEADLINE_S, metrics, post, traces
from tests.server.vendors import Vendors

from .stores import ServeProcess, ask


@pytest.fixture
def ambient(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment, as it was before, afterwards."""
    for variable in ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"):
        monkeypatch.setenv(variable, "")
    return monkeypatch


class Passing:
    """A store in this process, with vendors behind it."""

    def __init__(self, path: Path, vendors: Vendors, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        for variable, value in vendors.environ().items():
            monkeypatch.setenv(variable, value)
        select_vendors(names)
        self.store = Store(path)
        self.decoder = RowDecoder({}, items=10_000, maker=RowMaker(passing_on=True))
        self.forwarding = Forwarding(self.store, names)

    def take(self, request: Any) -> tuple[int, int]:
        """Store *request*; return how many of its records are new, and how many known."""
        kind = "traces" if hasattr(request, "resource_spans") else "metrics"
        rows = self.decoder.decode(kind, request.SerializeToString(), as_json=False)
        written = self.store.writer.submit(rows.batch).result()
        return written.stored, written.known

    def __enter__(self) -> Passing:
        return self

    def __exit__(self, *error: object) -> None:
        self.forwarding.close()
        self.store.close()


BEGAN_NS = time.time_ns() - 10**10


def runs(numbers: range) -> Any:
    """Return a request of runs, each with a time of its own, by which GA4's events are told apart."""
    return traces(numbers, began_ns=BEGAN_NS)


def wait(condition: Callable[[], object]) -> None:
    """Return once *condition* holds."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.02)


def test_each_vendor_gets_each_event_once(tmp_path: Path, ambient: pytest.MonkeyPatch) -> None:
    """What clients send again is known, and passed on to nobody a second time; the outbox is empty in the end."""
    with Vendors() as vendors, Passing(tmp_path / "s", vendors, ambient, "ga4", "segment") as passing:
        fresh, again = passing.take(runs(range(20))), passing.take(runs(range(25)))
        counted = passing.take(metrics(5))
        wait(lambda: len(vendors.ga4) == 26 and len(vendors.segment) == 26)
        wait(lambda: not ask(passing.store, "SELECT number FROM outbox"))

        assert ((20, 0), (5, 20), (1, 0)) == (fresh, again, counted)
        assert {1} == set(vendors.ga4.values()) | set(vendors.segment.values())


def test_a_vendor_that_is_down_holds_up_nobody(tmp_path: Path, ambient: pytest.MonkeyPatch) -> None:
    """Clients are answered, the other vendor is served, and what waits is passed on when it is back, across a restart."""
    down = threading.Event()
    down.set()

    def answer(vendor: str, body: Any) -> int:
        return 503 if vendor == "segment" and down.is_set() else 200

    with Vendors(answer) as vendors:
        with Passing(tmp_path / "s", vendors, ambient, "ga4", "segment") as passing:
            stored = passing.take(runs(range(10)))
            wait(lambda: len(vendors.ga4) == 10)
            wait(lambda: passing.forwarding.states()["segment"].paused)
        down.clear()
        pause = next((tmp_path / "s.queues").rglob("pause"))
        pause.unlink()  # what an operator does who knows better than the back-off
        with Passing(tmp_path / "s", vendors, ambient, "ga4", "segment"):
            wait(lambda: len(vendors.segment) == 10)

        assert (10, 0) == stored
        assert {1} == set(vendors.ga4.values())


def test_killed_while_it_passes_on_it_doubles_nothing_at_ga4(tmp_path: Path) -> None:
    """SIGKILL: nothing comes twice to GA4, everything comes to Segment, and no more than what was in flight is missing."""
    with Vendors() as vendors:
        server = ServeProcess(tmp_path / "s", "--to", "ga4", "--to", "segment", **vendors.environ())
        with server:
            stored = [post(server.port, "/v1/traces", runs(range(n, n + 40)).SerializeToString())[0] for n in (0, 40)]
            wait(lambda: vendors.ga4)
            server.end(signal.SIGKILL)
            server.start()
            wait(lambda: len(vendors.segment) == 80)
            server.end(signal.SIGTERM)

        assert [200, 200] == stored
        assert {1} == set(vendors.ga4.values())
        assert len(vendors.ga4) >= 80 - 25


def test_what_was_put_into_a_queue_and_not_handed_over_is_put_there_anew(
    tmp_path: Path, ambient: pytest.MonkeyPatch
) -> None:
    """A process that died between the file and the commit leaves a file: it is removed, and its records come once."""
    with Vendors() as vendors:
        with Passing(tmp_path / "s", vendors, ambient, "segment") as passing:
            passing.forwarding.close()
            passing.take(runs(range(3)))
            vendor = passing.forwarding._vendors[0]
            lines = [line.encode() + b"\n" for (line,) in ask(passing.store, "SELECT line FROM outbox")]
            vendor.queue.put(f"{time.time_ns():016x}-{3:016x}.traces.jsonl", lines)
        with Passing(tmp_path / "s", vendors, ambient, "segment") as passing:
            wait(lambda: len(vendors.segment) == 3)
            wait(lambda: not ask(passing.store, "SELECT number FROM outbox"))

        assert {1} == set(vendors.segment.values())


def test_a_vendor_that_is_left_out_for_a_while_keeps_its_queue(tmp_path: Path, ambient: pytest.MonkeyPatch) -> None:
    """What it had been handed and could not be sent then is sent when it is named again, each record once."""
    with Vendors() as vendors:
        vendors.rates["segment"] = 1.0
        with Passing(tmp_path / "s", vendors, ambient, "segment") as passing:
            passing.take(runs(range(3)))
            wait(lambda: passing.forwarding.states()["segment"].paused)
        next((tmp_path / "s.queues").rglob("pause")).unlink()
        with Passing(tmp_path / "s", vendors, ambient, "ga4") as passing:
            passing.take(runs(range(3, 5)))
            wait(lambda: not ask(passing.store, "SELECT number FROM outbox"))
        vendors.rates["segment"] = 0.0
        with Passing(tmp_path / "s", vendors, ambient, "segment") as passing:
            passing.take(runs(range(5, 6)))
            wait(lambda: len(vendors.segment) == 4)

        assert {1} == set(vendors.segment.values())


def test_an_erased_installation_is_passed_on_no_more(tmp_path: Path, ambient: pytest.MonkeyPatch) -> None:
    """What waits in the outbox goes with what is stored."""
    with Vendors() as vendors, Passing(tmp_path / "s", vendors, ambient, "segment") as passing:
        passing.forwarding.close()
        passing.take(runs(range(3)))
        removed = passing.store.erase("mycli", "4f8b12f2-92a8-4d67-8a8a-0f3d3b6d7f01")

        assert {"events": 3, "outbox": 3} == removed
