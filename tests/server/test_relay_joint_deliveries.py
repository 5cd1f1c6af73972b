"""Requests of several clients that are delivered together: each is answered for its own records."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_usage.delivery.verdict import Verdict
from tests.collector.harness import DEADLINE_S
from tests.hosts import until
from tests.server.serving import Fake, Serving, send


def delivered_together(verdict: Verdict, *batches: list[int]) -> tuple[list[tuple[int, str]], list[float]]:
    """Return what each of *batches*, delivered as one, is told (status, reasons), and the relay's totals."""
    gate = threading.Event()

    def answer(given: list[Any]) -> Verdict:
        if given[0].context.span_id == 1_000:
            assert gate.wait(DEADLINE_S)
            return Verdict()
        return verdict

    with Serving(Fake(answer), workers=1) as serving:
        told: dict[int, tuple[int, str]] = {}

        def go(key: int, numbers: list[int]) -> None:
            status, _, body = send(serving, *numbers)
            why = ExportTraceServiceResponse.FromString(body).partial_success.error_message if status == 200 else ""
            told[key] = (status, why)

        threads = [threading.Thread(target=go, args=(-1, [999]))]
        threads[0].start()
        until(lambda: serving.fake.given)
        for key, numbers in enumerate(batches):
            threads.append(threading.Thread(target=go, args=(key, numbers)))
            threads[-1].start()
            until(lambda key=key: len(serving.destination._jobs) == key + 1)  # type: ignore[misc]
        gate.set()
        for thread in threads:
            thread.join()
        value = serving.relay.metrics.value
        totals = [value(f"{n}_total") for n in ("received", "sent", "known", "again", "rejected", "skipped")]
    return [told[key] for key in range(len(batches))], totals


def test_each_request_is_told_of_its_own() -> None:
    """Of requests delivered as one each hears what became of its own spans, where the exporter says which."""
    gone = {1: "http_400", 2: "http_400", 5: "too_old"}
    verdict = Verdict(unsent=(6,), dropped={"http_400": 2, "too_old": 1}, gone=gone)

    told, totals = delivered_together(verdict, [1], [2, 3, 4], [5, 6], [7, 8])

    assert [(200, ""), (200, "http_400: 2"), (200, "too_old: 1"), (503, "")] == told
    assert [9, 5, 0, 1, 3, 0] == totals


def test_where_nobody_says_whose_they_are_the_sum_is_right() -> None:
    """An exporter that only counts has no request told of more than it sent, and the totals add up."""
    told, totals = delivered_together(Verdict(dropped={"rejected": 3}, skipped=2), [1], [2, 3], [4, 5, 6])

    assert [(200, "rejected: 1"), (200, "rejected: 2"), (200, "")] == told
    assert [7, 2, 0, 0, 3, 2] == totals
    assert totals[0] == sum(totals[1:])


def test_a_count_that_says_more_than_there_is_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """Nonsense of an exporter does not make the totals nonsense."""
    caplog.set_level(logging.ERROR)

    told, totals = delivered_together(Verdict(dropped={"rejected": 30}, skipped=20), [1], [2, 3])

    assert [(200, "rejected: 1"), (200, "rejected: 2")] == told
    assert [4, 1, 0, 0, 3, 0] == totals
