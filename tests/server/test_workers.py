"""The workers of a destination: requests split, joined, and delivered side by side by any exporter."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_usage.delivery.verdict import Verdict
from otel_usage.server.decode import Decoder
from otel_usage.server.received import Received
from otel_usage.server.workers import DestinationWorkers, load_destination
from otel_usage.setting_error import SettingError
from tests.collector.harness import traces
from tests.server.serving import Fake


def spread(n: int) -> Received:
    """Return a run of each of *n* installations, some with two, in a random order."""
    numbers = [*range(n), *range(0, n, 3)]
    random.Random(5).shuffle(numbers)
    request = ExportTraceServiceRequest()
    for at, number in enumerate(numbers):
        request.MergeFrom(traces([at], installation=f"4f8b12f2-92a8-4d67-8a8a-{number:012x}"))
    return Decoder({}, items=10_000).decode("traces", request.SerializeToString(), as_json=False)


@pytest.mark.parametrize("n", [1, 9, 100, 300])
def test_a_batch_of_many_clients_is_sent_side_by_side(n: int) -> None:
    """For GA4 a batch is split by installation, each in one part; positions still name what was not sent."""
    received = spread(n)
    odd = {one for one in received.ids if one % 2}

    def half(given: list[Any]) -> Verdict:
        unsent = tuple(i for i, span in enumerate(given) if span.context.span_id % 2)
        return Verdict(unsent=unsent, retry_after_s=3.0 if unsent else None, dropped={}, status=503 if unsent else 200)

    fake = Fake(half)
    fake.one_client_per_request = True
    destination = DestinationWorkers("ga4", {"traces": fake}, window=1_000, workers=2)
    [outcome] = destination.deliver([received])
    seen = destination.window.claim(received.ids)
    destination.close()

    of_part = [{span.resource.attributes["app.installation.id"] for span in part} for part in fake.given]
    assert sum(map(len, of_part)) == len(set().union(*of_part)) == n
    assert (n < 16) == (len(fake.given) == 1)
    assert sorted(received.ids) == sorted(s.context.trace_id << 64 | s.context.span_id for p in fake.given for s in p)
    assert (len(odd), 3.0, 503) == (outcome.again, outcome.retry_after_s, outcome.status)
    assert odd == {received.ids[position] for position in seen.fresh}


def test_small_requests_that_wait_are_delivered_as_one() -> None:
    """What waits while a delivery is under way goes out together; each request has the outcome of its own spans."""
    released = threading.Event()

    def verdict(given: list[Any]) -> Verdict:
        assert released.wait(30)
        numbers = [span.context.span_id - 1 for span in given]
        return Verdict(unsent=tuple(i for i, n in enumerate(numbers) if n in (21, 30)), status=503)

    fake = Fake(verdict)
    destination = DestinationWorkers("fake", {"traces": fake, "metrics": fake}, window=100, workers=1)
    decoder = Decoder({}, items=10_000)
    late = time.monotonic() + 60
    batches = [[1], [10, 11], [20, 21], [11, 30], list(range(100, 600))]
    bodies = [traces(numbers).SerializeToString() for numbers in batches]
    requests = [decoder.decode("traces", body, as_json=False) for body in bodies]
    first = destination.submit(requests[0], late)
    fake.wait(lambda: fake.given)
    futures = [destination.submit(received, late) for received in requests[1:]]
    expired = destination.submit(requests[1], 0.0)
    released.set()
    outcomes = [future.result(30) for future in [first, *futures, expired]]
    destination.close()

    assert [[1], [10, 11, 20, 21, 30], batches[4]] == [[s.context.span_id - 1 for s in g] for g in fake.given]
    # 11 came twice: while its first delivery is under way its second has to come again.
    assert [(1, 0), (2, 0), (1, 1), (0, 2), (500, 0), (0, 2)] == [(o.sent, o.again) for o in outcomes]


def test_other_exporters_are_destinations_too() -> None:
    """An installed exporter that knows nothing of us delivers, or has everything sent again."""
    from opentelemetry.sdk.trace.export import SpanExportResult

    answers = iter([SpanExportResult.FAILURE, SpanExportResult.SUCCESS])

    class Theirs:
        def export(self, spans: Any) -> SpanExportResult:
            return next(answers)

        def shutdown(self) -> None:
            pass

    destination = DestinationWorkers("theirs", {"traces": Theirs()}, window=100, workers=1)
    received = Decoder({}, items=10).decode("traces", traces([1, 2]).SerializeToString(), as_json=False)
    outcomes = [destination.deliver([received])[0] for _ in range(3)]
    destination.close()

    assert [(0, 2, 0), (2, 0, 0), (0, 0, 2)] == [(o.sent, o.again, o.known) for o in outcomes]


def test_an_exporter_without_its_settings_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A destination that lacks its key stops the relay at its start: it would drop everything."""
    monkeypatch.delenv("OTEL_EXPORTER_SEGMENT_WRITE_KEY", raising=False)

    with pytest.raises(SettingError, match="OTEL_EXPORTER_SEGMENT_WRITE_KEY"):
        load_destination("segment", window=10, workers=1)
