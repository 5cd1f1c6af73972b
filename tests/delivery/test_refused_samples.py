"""Backends that have read samples and refuse them for their times: that batch is dropped and counted, and nothing waits for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from otel_usage.delivery.ledger import Ledger
from otel_usage.delivery.otlp_answer import judge
from otel_usage.delivery.queue import Queue

from ..spools import Spool
from .backends import OTLP_TYPE, Answer, Backend, takes

TEXT = {"Content-Type": "text/plain; charset=utf-8"}
OCTETS = {"Content-Type": "application/octet-stream"}
MIMIR = (
    b"send data to ingesters: failed pushing to ingester mimir-0: user=fake: the sample has been rejected because another "
    b"sample with a more recent timestamp has already been ingested and %s. The affected sample has timestamp "
    b"2026-11-26T04:30:39.356Z and is from series usage_runs_total"
)
# Status and text of each receiver's code; where it was read is in otlp_answer.py.
REFUSALS: dict[str, Answer] = {
    "prometheus-order": (400, TEXT, b"out of order sample\n"),
    "prometheus-duplicate": (400, TEXT, b"duplicate sample for timestamp\n"),
    "prometheus-bounds": (400, TEXT, b"out of bounds\n"),
    "prometheus-future": (400, TEXT, b"out of bounds: timestamp is too far in the future\n"),
    "prometheus-old": (500, TEXT, b"too old sample\n"),
    "mimir-order": (400, TEXT, MIMIR % b"out-of-order samples are not allowed (err-mimir-sample-out-of-order)"),
    "mimir-old": (400, OCTETS, b"\x08\x03\x12\x7f" + MIMIR % b"it is beyond 1h (err-mimir-sample-timestamp-too-old)"),
    "mimir-duplicate": (400, OTLP_TYPE, b"\x08\x03\x12\x30" + b"(err-mimir-sample-duplicate-timestamp)"),
    "cortex": (
        400,
        TEXT,
        b'user=fake: err: out of order sample. timestamp=2026-11-26T04:30:39Z, series={__name__="usage"}',
    ),
    "thanos": (409, TEXT, b"store locally for endpoint 127.0.0.1:10901: conflict\n"),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_refused_sample_holds_up_nothing(tmp_path: Path, plain_environ: None, otlp: Backend, refusal: Answer) -> None:
    """The counters of that request are dropped, and counted with their reason; those of the next run are sent at once."""
    spool = Spool(tmp_path / "state", {"otlp": otlp.url})
    otlp.answer = lambda n, commands: takes(n, commands) if otlp.requests[n][0] == "/v1/traces" else refusal
    spool.run(command="c0")
    spool.drain()
    assert "" == Queue(str(spool.folder), "otlp").blamed_settings()[1]
    assert {"rejected"} == set(json.loads((spool.folder / "dropped").read_text()))

    otlp.answer = takes
    spool.run(command="c1")
    spool.drain()

    rows = [row for row in Ledger(str(spool.home)).entries() if row["signal"] == "metrics"]
    assert [("dropped", f"http_{refusal[0]}"), ("sent", None)] == [(row["result"], row.get("reason")) for row in rows]
    assert {"c0": 1, "c1": 1} == otlp.acknowledged
    assert [] == spool.files()


@pytest.mark.parametrize(
    ("signal", "answer"),
    [
        ("metrics", (400, {"Content-Type": "text/html"}, b"<h1>Service out of order sample</h1>")),
        ("metrics", (404, TEXT, b"out of order sample")),
        ("metrics", (503, TEXT, b"out of order sample")),
        ("metrics", (400, TEXT, b"Client sent an HTTP request to an HTTPS server.\n")),
        ("metrics", (500, TEXT, b"panic: runtime error: index out of bounds")),
        ("traces", (400, TEXT, b"out of order sample")),
    ],
)
def test_what_no_receiver_has_read_still_waits(signal: str, answer: Answer) -> None:
    """A page, a wrong path, an outage, a wrong port, or an answer to spans that has nothing to do with them."""
    status, headers, body = answer

    verdict = judge(signal, 2, status, headers["Content-Type"], body, None)

    assert ((0, 1), {}) == (verdict.unsent, dict(verdict.dropped))
