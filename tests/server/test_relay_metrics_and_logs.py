"""What the relay's metrics and log say of its work, and that nothing of clients is in them."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from otel_usage.delivery.verdict import Verdict
from tests.collector.harness import RUN, get, pairs, post, traces
from tests.server.serving import TRACES, Fake, Serving


def test_its_metrics_add_up() -> None:
    """What was received is what was sent, known, to be sent again or rejected."""
    verdicts = iter([Verdict(), Verdict(unsent=(0,)), Verdict(dropped={"http_400": 1})])
    with Serving(Fake(lambda given: next(verdicts))) as serving:
        for numbers in ([1, 2], [1, 2], [3, 4], [5]):
            request = traces(numbers)
            request.resource_spans[0].scope_spans[0].spans.add(name="not ours")
            post(serving.port, TRACES, request.SerializeToString())
        status, text = get(serving.port, "/metrics")

        value = serving.relay.metrics.value
        counted = [value(f"{name}_total") for name in ("received", "sent", "known", "again", "rejected")]
    assert [11, 3, 2, 1, 5] == counted
    assert 200 == status
    assert 'otel_usage_relay_requests_total{destination="fake",signal="traces",code="200"} 3' in text
    assert 'otel_usage_relay_request_duration_seconds_count{destination="fake"} 4' in text
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(line.rpartition(" ")[2].replace(".", "").replace("e+", "").isdigit() for line in lines)


def test_closing_finishes_what_was_taken() -> None:
    """A relay that is told to stop answers what it has taken, and shuts its exporters down."""
    released = threading.Event()

    def slow(given: list[Any]) -> Verdict:
        assert released.wait(30)
        return Verdict()

    fake = Fake(slow)
    with Serving(fake) as serving:
        answers: list[int] = []
        body = traces([1]).SerializeToString()
        thread = threading.Thread(target=lambda: answers.append(post(serving.port, TRACES, body)[0]))
        thread.start()
        fake.wait(lambda: fake.given)
        serving.server.should_exit = True
        released.set()
        thread.join()

    assert [200] == answers
    assert fake.closed


def test_a_destination_that_comes_and_goes_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """The log says that a destination fails, and that it is back; not again and again."""
    caplog.set_level(logging.INFO, "otel_usage")
    verdicts = iter([Verdict(unsent=(0,), status=500), Verdict()] * 10)
    with Serving(Fake(lambda given: next(verdicts))) as serving:
        shown = []
        for number in range(20):
            post(serving.port, TRACES, traces([number]).SerializeToString())
            text = get(serving.port, "/metrics")[1]
            shown.append(text.partition('failing{destination="fake"} ')[2][0])

    assert ["1", "0"] * 10 == shown
    assert 1 == caplog.text.count("fake: can't deliver (HTTP 500)")
    assert 1 == caplog.text.count("fake: delivers again")


def test_nothing_of_the_client_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """No address, token, header or content of a request reaches the log, whatever is wrong with it."""
    caplog.set_level(logging.DEBUG, "otel_usage")
    with Serving(Fake(lambda given: Verdict(unsent=(0,), status=500)), tokens=("t0ken",)) as serving:
        headers = {"authorization": "Bearer t0ken", "user-agent": "secret-agent", "x-forwarded-for": "203.0.113.7"}
        post(serving.port, TRACES, traces([1]).SerializeToString(), headers)
        post(serving.port, TRACES, b"\xff/home/ada", headers)
        post(serving.port, TRACES, traces([1]).SerializeToString(), {"authorization": "Bearer wr0ng"})

    assert [] == [w for w in ("t0ken", "wr0ng", "agent", "203.0", "127.0", "ada", "mycli") if w in caplog.text]


def test_attributes_that_no_table_names_can_be_told_apart() -> None:
    """Two spans that differ in one attribute only are not taken for each other by what remembers decoded spans."""
    with Serving() as serving:
        for n, code in enumerate((0, 1, 2, 1, 0)):
            request = traces([n], attributes={**RUN, "process.exit.code": code})
            post(serving.port, TRACES, request.SerializeToString())

        spans = [span for given in serving.fake.given for span in given]
    assert [0, 1, 2, 1, 0] == [span.attributes["process.exit.code"] for span in spans]
    assert pairs(RUN)[0].key == "usage.kind"
