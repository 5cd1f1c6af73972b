"""``/v1/traces`` and ``/v1/metrics``: one request for all destinations, and one answer that is true of each."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_usage.delivery.verdict import Verdict
from otel_usage.otlp import json_from_protobuf
from otel_usage.server.body import Body
from otel_usage.server.received import Received
from otel_usage.server.workers import DestinationWorkers
from tests.collector.harness import DEADLINE_S, Backend, get, metrics, post, traces
from tests.server.serving import Fake, Process, Serving
from tests.server.vendors import Vendors

SENT = Verdict()
LATER = Verdict(unsent=(0, 1), reason="refused")
SLOWER = Verdict(unsent=(0, 1), status=429, retry_after_s=30)
GONE = Verdict(dropped={"http_401": 2}, status=401)


@contextmanager
def serving(
    first: Callable[[list[Any]], Verdict], second: Callable[[list[Any]], Verdict], **limits: Any
) -> Iterator[Any]:
    """A relay with the destinations ``fake`` and ``other``; yields it and their exporters."""
    other = Fake(second)
    with Serving(Fake(first), **limits) as running:
        exporters = {"traces": other, "metrics": other}
        running.relay.destinations["other"] = DestinationWorkers("other", exporters, window=1_000, workers=1)
        try:
            yield running, running.fake, other
        finally:
            running.relay.destinations["other"].close()


def raising(exc: Exception) -> Callable[[list[Any]], Verdict]:
    """Return what makes an exporter raise *exc*."""

    def deliver(given: list[Any]) -> Verdict:
        raise exc

    return deliver


@pytest.mark.parametrize("as_json", [False, True])
def test_everything_reaches_every_destination(as_json: bool) -> None:
    """Spans and counts, once each."""
    bodies = {"traces": traces([1, 2]).SerializeToString(), "metrics": metrics(5).SerializeToString()}
    headers = {"content-type": "application/json"} if as_json else {}
    with serving(lambda _: SENT, lambda _: SENT) as (relay, fake, other):
        for signal, body in bodies.items():
            content = json.dumps(json_from_protobuf(signal, body)).encode() if as_json else body
            assert 200 == post(relay.port, f"/v1/{signal}", content, headers)[0]

        assert [2, 1] == [len(given) for given in fake.given] == [len(given) for given in other.given]
        shown = get(relay.port, "/metrics")[1]
    assert 'requests_total{destination="*",signal="traces",code="200"} 1' in shown
    for name in ("fake", "other"):
        assert f'sent_total{{destination="{name}",signal="traces"}} 2' in shown


@pytest.mark.parametrize(
    ("first", "second", "status", "retry_after"),
    [
        (SENT, LATER, 503, "1"),
        (LATER, GONE, 503, "1"),
        (SENT, SLOWER, 429, "30"),
        (LATER, SLOWER, 503, "30"),
        (SENT, GONE, 200, None),
        (GONE, GONE, 400, None),
        (Verdict(skipped=2), GONE, 200, None),
        (SENT, KeyError("x"), 500, None),
        (LATER, KeyError("x"), 503, "1"),
        (SENT, MemoryError(), 503, "1"),
        (SENT, RuntimeError("can't start new thread"), 503, "1"),
    ],
)
@pytest.mark.parametrize("swap", [False, True])
def test_the_answer_is_true_of_each(first: Any, second: Any, status: int, retry_after: str | None, swap: bool) -> None:
    """To be sent again if one of them may take it later; refused only if all refuse; in any order."""
    actions = [raising(one) if isinstance(one, Exception) else (lambda _, one=one: one) for one in (first, second)]
    if swap:
        actions.reverse()
    with serving(*actions) as (relay, _, _):
        answer = post(relay.port, "/v1/traces", traces([1, 2]).SerializeToString())

    assert (status, retry_after) == (answer[0], answer[1].get("retry-after"))
    if status == 200:
        partial = ExportTraceServiceResponse.FromString(answer[2]).partial_success
        assert (2, f"{'fake' if swap else 'other'}: http_401: 2") == (partial.rejected_spans, partial.error_message)
    if status == 400:
        assert "fake: http_401: 2, other: http_401: 2" in Status.FromString(answer[2]).message


def test_a_redelivery_skips_those_that_took_it() -> None:
    """While one destination fails, the other hears of each record once, however often the client comes again."""
    failing = [True]

    def half(given: list[Any]) -> Verdict:
        return Verdict(unsent=(len(given) - 1,)) if failing[0] else SENT

    body = traces([1, 2]).SerializeToString()
    with serving(lambda _: SENT, half) as (relay, fake, other):
        answers = [post(relay.port, "/v1/traces", body)[0] for _ in range(5)]
        failing[0] = False
        answers += [post(relay.port, "/v1/traces", body)[0] for _ in range(2)]
        answers.append(post(relay.port, "/other/v1/traces", body)[0])

        assert [503] * 5 + [200] * 3 == answers
        assert [1, 2] == fake.numbers()
        # One of the two was sent at once, and the other when it was taken.
        assert [1, 2, *[2] * 5] == other.numbers()


def test_a_destination_without_a_place_does_not_keep_the_other_waiting() -> None:
    """It counts as one that may take it later."""
    released = threading.Event()

    def stuck(given: list[Any]) -> Verdict:
        assert released.wait(DEADLINE_S)
        return SENT

    with serving(lambda _: SENT, stuck, waiting=1) as (relay, fake, other):
        thread = threading.Thread(target=post, args=(relay.port, "/other/v1/traces", traces([9]).SerializeToString()))
        thread.start()
        other.wait(lambda: other.given)
        full = post(relay.port, "/v1/traces", traces([1]).SerializeToString())
        released.set()
        thread.join()
        again = post(relay.port, "/v1/traces", traces([1]).SerializeToString())

        assert (429, 200) == (full[0], again[0])
        assert ([1], [9, 1]) == (fake.numbers(), other.numbers())


def test_one_of_them_that_is_slow_is_waited_for_until_the_deadline() -> None:
    """Then the client is to come again; what the slow one then takes is not sent to it again, nor held any longer."""
    released = threading.Event()

    def slow(given: list[Any]) -> Verdict:
        assert released.wait(DEADLINE_S)
        return SENT

    body = traces([1]).SerializeToString()
    with serving(lambda _: SENT, slow, deadline_s=0.2) as (relay, fake, other):
        first = post(relay.port, "/v1/traces", body)[0]
        released.set()
        while relay.relay.destinations["other"].waiting:
            pass
        again = post(relay.port, "/v1/traces", body)[0]

        assert (503, 200) == (first, again)
        assert ([1], [1]) == (fake.numbers(), other.numbers())
        assert (0, 0) == (relay.destination.waiting, relay.relay.reader.budget.held_bytes)


def test_what_may_not_pass_is_counted_once() -> None:
    """A record that is rejected here goes nowhere, and is one record."""
    request = traces([1])
    request.MergeFrom(traces([2], name="not ours"))
    with serving(lambda _: SENT, lambda _: SENT) as (relay, _, _):
        answer = post(relay.port, "/v1/traces", request.SerializeToString())

    partial = ExportTraceServiceResponse.FromString(answer[2]).partial_success
    assert (200, 1, "attribute: 1") == (answer[0], partial.rejected_spans, partial.error_message)


def test_vendors_and_an_otlp_backend_from_one_command() -> None:
    """``otel-usage relay ga4 segment otlp``: no Collector, and each gets all of it."""
    with Vendors() as vendors, Backend() as backend:
        environ = {**vendors.environ(), "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{backend.port}"}
        with Process(["ga4", "segment", "otlp"], **environ) as process:
            body = traces(range(1, 4)).SerializeToString()
            backend.answer = lambda path, body: 503
            first = post(process.port, "/v1/traces", body)
            backend.answer = lambda path, body: 200
            second = post(process.port, "/v1/traces", body)[0]
            third = post(process.port, "/v1/metrics", metrics(7).SerializeToString())[0]

            assert (503, 200, 200) == (first[0], second, third)
            assert {1: 1, 2: 1, 3: 1} == backend.numbers
            assert [7] == [point.as_int for _, _, point in backend.points]
            vendors.wait(lambda: vendors.ga4.total() == 4)
            assert (4, 4) == (vendors.ga4.total(), vendors.segment.total())
            shown = get(process.port, "/metrics")[1]
    assert 'failures_total{destination="otlp",signal="traces",reason="http_503"} 1' in shown


def test_a_refused_request_is_held_by_nothing() -> None:
    """Neither its body nor what was decoded of it waits for the garbage collector: a client can make many of them."""
    gc.collect()
    gc.disable()
    try:
        with serving(lambda _: LATER, lambda _: SENT, workers=1) as (relay, _, _):
            for n in range(30):
                assert 503 == post(relay.port, "/v1/traces", traces([2 * n, 2 * n + 1]).SerializeToString())[0]
                assert 400 == post(relay.port, "/v1/traces", b"\xff" * 40_000)[0]
            held = [one for one in gc.get_objects() if isinstance(one, (Received, Body))]
    finally:
        gc.enable()
    assert len(held) < 12  # a worker's last job, or two
