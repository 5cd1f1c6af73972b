"""Bounds of the sender's memory, of a request, of a queue, and of the ledger."""

from __future__ import annotations

import json

import pytest

from otel_usage.delivery.ledger import Ledger, Result

from ..spools import Sink, Spool, run_line


def test_at_most_one_segment_of_spans_is_in_memory(spool: Spool, sink: Sink) -> None:
    """5,000 runs leave in requests of at most 2,048 spans."""
    for n in range(50):
        spool.put(b"".join(run_line()[2] for _ in range(100)), f"{n:016x}-{'0' * 16}.traces.jsonl")

    spool.drain()

    assert 5_000 == len(set(sink.ids()))
    assert max(body.count(b"usage.command") for path, _h, body in sink.told if path == "/v1/traces") <= 2_148


def test_a_request_is_bounded_in_bytes_too(spool: Spool, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Receivers limit a request, and refuse for good what is larger: many large records are several requests."""
    import otel_usage.delivery.intake

    monkeypatch.setattr(otel_usage.delivery.intake, "MAX_TEXT", 3_000)
    made = {spool.run() for _ in range(9)}

    spool.drain()

    bodies = [body for path, _, body in sink.told if path == "/v1/traces"]
    assert made == set(sink.ids())
    assert 3 <= len(bodies) <= 5
    assert all(len(body) < 3_000 for body in bodies)


def test_a_queue_has_bounds(spool: Spool, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its size the oldest segments go, and are counted."""
    import otel_usage.delivery.queue

    sink.answer = lambda _n: (503, {"Retry-After": "3600"}, b"")
    for _ in range(3):
        spool.run()
        spool.drain()
    before = len([name for name in spool.files() if "traces" in name])
    monkeypatch.setattr(otel_usage.delivery.queue, "MAX_QUEUE_BYTES", 1500)

    spool.run()
    spool.drain()

    assert 3 == before
    assert len([name for name in spool.files() if "traces" in name]) < 3
    assert json.loads((spool.folder / "dropped").read_text())["limit"] > 0


def test_the_ledger_is_bounded_and_readable(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps the newest deliveries, and passes over what can't be read."""
    import otel_usage.delivery.ledger

    monkeypatch.setattr(otel_usage.delivery.ledger, "MAX_LEDGER_BYTES", 300)
    ledger = Ledger(str(spool.home))
    for n in range(10):
        ledger.append("otlp", "traces", n, Result.SENT, 200, {})
    with open(ledger.path, "a", encoding="utf-8") as file:
        file.write("torn")

    records = [entry["records"] for entry in ledger.entries()]

    assert 9 == records[-1]
    assert len(records) < 10
    assert sum(p.stat().st_size for p in spool.home.glob("ledger*")) < 1000
