"""What the relay takes reaches the destination, and what the destination says reaches the client."""

from __future__ import annotations

import gzip
import json
import threading
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from otel_usage.delivery.verdict import Verdict
from otel_usage.otlp import json_from_protobuf
from tests.collector.harness import RUN, metrics, post, resource, traces
from tests.server.serving import JSON, METRICS, TRACES, Fake, Serving, status_of

# -- what is taken ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_run_reaches_the_destination_whole(encoding: str, compressed: bool) -> None:
    """A run arrives as the SDK's span with all that was recorded, in both encodings, compressed or not."""
    request = traces([7])
    request.resource_spans[0].scope_spans[0].spans[0].status.code = 2
    body = request.SerializeToString()
    headers = {}
    if encoding == "json":
        body, headers = json.dumps(json_from_protobuf("traces", body)).encode(), dict(JSON)
    if compressed:
        body, headers = gzip.compress(body), {**headers, "content-encoding": "gzip"}
    with Serving() as serving:
        status, told, answer = post(serving.port, TRACES, body, headers)

        [[span]] = serving.fake.given
    assert (200, headers.get("content-type", "application/x-protobuf")) == (status, told["content-type"])
    assert (b"{}" if encoding == "json" else b"") == answer
    assert RUN == dict(span.attributes)
    assert resource() == dict(span.resource.attributes)
    assert ("mycli report upload", 8, "ERROR") == (span.name, span.context.span_id, span.status.status_code.name)
    assert 120_000_000 == span.end_time - span.start_time
    assert "otel_usage" == span.instrumentation_scope.name


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_a_count_reaches_the_destination(encoding: str) -> None:
    """A host's count arrives as a data point of the SDK's."""
    body = metrics(3).SerializeToString()
    with Serving() as serving:
        if encoding == "json":
            answer = post(serving.port, METRICS, json.dumps(json_from_protobuf("metrics", body)).encode(), JSON)
        else:
            answer = post(serving.port, METRICS, body)

        [[(name, point)]] = serving.fake.given
    assert (200, "usage.count.events.handled") == (answer[0], name)
    assert (3, {"usage.field.channel": "slack"}) == (point.value, dict(point.attributes))


def test_an_empty_request_is_taken(shared: Serving) -> None:
    """No spans are no error: some clients send that to see if somebody is there."""
    assert 200 == post(shared.port, TRACES, b"")[0]


def test_what_may_not_pass_is_rejected_and_told() -> None:
    """What breaks the structural rules does not reach the destination; the client is told how many."""
    spoiled = [
        traces([1], attributes={**RUN, "process.command_args": ["--token", "s3cret"]}),
        traces([2], attributes={**RUN, "process.exit.code": "0"}),
        traces([3], name="mycli /home/ada"),
        traces([4], of={**resource(), "host.name": "laptop-of-ada"}),
        traces([5], attributes={**RUN, "usage.options": [{"a": "b"}.__repr__() * 90]}),
        traces([6]),
    ]
    spoiled[5].resource_spans[0].scope_spans[0].spans[0].events.add(name="exception")
    request = ExportTraceServiceRequest()
    for one in [traces([10]), *spoiled, traces([11])]:
        request.MergeFrom(one)
    with Serving() as serving:
        status, _, body = post(serving.port, TRACES, request.SerializeToString())
        as_json = json.dumps(json_from_protobuf("traces", request.SerializeToString())).encode()
        json_status, _, json_body = post(serving.port, TRACES, as_json, JSON)

        given = serving.fake.numbers()
    told = ExportTraceServiceResponse.FromString(body).partial_success
    assert (200, 6, "attribute: 4, value: 2") == (status, told.rejected_spans, told.error_message)
    assert [10, 11] == given
    partial = {"rejectedSpans": "6", "errorMessage": "attribute: 4, value: 2"}
    assert (200, {"partialSuccess": partial}) == (json_status, json.loads(json_body))


def test_rejected_data_points_are_told() -> None:
    """The same for metrics."""
    request = metrics(1)
    for other in (metrics(2, name="http.server.duration"), metrics(3, attributes={"host.name": "x"})):
        request.MergeFrom(other)
    with Serving() as serving:
        status, _, body = post(serving.port, METRICS, request.SerializeToString())

        [[(name, point)]] = serving.fake.given
    told = ExportMetricsServiceResponse.FromString(body).partial_success
    assert (200, 2) == (status, told.rejected_data_points)
    assert ("usage.count.events.handled", 1) == (name, point.value)


def test_a_schema_narrows_what_passes() -> None:
    """With the app's own schema a name or value that it does not declare is rejected; other apps are not affected."""
    schema = {"report.upload": {"why": "?", "fields": {"format": ["pdf", "html"]}}}
    action = {"usage.kind": "action", "usage.action": "report.upload", "usage.field.format": "pdf"}
    other = {**action, "usage.action": "other.thing"}
    request = traces([1], attributes=action, name="report.upload")
    request.MergeFrom(traces([2], attributes={**action, "usage.field.format": "docx"}, name="report.upload"))
    request.MergeFrom(traces([3], attributes=other, name="other.thing"))
    request.MergeFrom(traces([4], attributes=other, name="other.thing", of={**resource(), "service.name": "theirs"}))
    with Serving(schemas={"mycli": schema}) as serving:
        _, _, body = post(serving.port, TRACES, request.SerializeToString())

        assert [1, 4] == serving.fake.numbers()
    assert "undeclared: 1, value: 1" == ExportTraceServiceResponse.FromString(body).partial_success.error_message


# -- what the destination says ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "status", "retry_after"),
    [
        (Verdict(unsent=(0,)), 503, "1"),
        (Verdict(unsent=(0,), status=503, retry_after_s=7.2), 503, "8"),
        (Verdict(unsent=(0,), status=429, retry_after_s=30), 429, "30"),
        (Verdict(unsent=(0,), status=429, retry_after_s=1e9), 429, "3600"),
    ],
)
def test_undelivered_is_to_be_sent_again(verdict: Verdict, status: int, retry_after: str) -> None:
    """What the destination did not take is never answered with 200, and the client learns when to come back."""
    with Serving(Fake(lambda given: verdict)) as serving:
        answer = post(serving.port, TRACES, traces([1]).SerializeToString())

    assert (status, retry_after) == (answer[0], answer[1]["retry-after"])


def test_what_was_sent_is_not_sent_again() -> None:
    """Of a request that was delivered in part, a repetition delivers the rest: nothing becomes two events."""
    taken: list[list[int]] = []

    def first_half(given: list[Any]) -> Verdict:
        taken.append([span.context.span_id - 1 for span in given])
        return Verdict(unsent=tuple(range(len(given) // 2, len(given))))

    body = traces([1, 2, 3, 4]).SerializeToString()
    with Serving(Fake(first_half)) as serving:
        answers = [post(serving.port, TRACES, body)[0] for _ in range(4)]

    # One is half of neither two nor one: the third and fourth go on.
    assert [[1, 2, 3, 4], [3, 4], [4], [4]] == taken
    assert [503, 503, 503, 503] == answers


def test_a_repetition_is_answered_with_success() -> None:
    """A client that lost our answer, and asks again, hears 200; the destination hears nothing."""
    request = traces([1, 2])
    counts = metrics(5).SerializeToString()
    with Serving() as serving:
        answers = [post(serving.port, TRACES, request.SerializeToString())[0] for _ in range(3)]
        answers += [post(serving.port, METRICS, counts)[0] for _ in range(2)]

        assert [2, 1] == [len(given) for given in serving.fake.given]
    assert [200] * 5 == answers


def test_what_is_under_way_is_not_sent_twice() -> None:
    """A repetition that comes while the first is being delivered has to come again, and then hears 200."""
    released = threading.Event()

    def slow(given: list[Any]) -> Verdict:
        assert released.wait(30)
        return Verdict()

    body = traces([1]).SerializeToString()
    fake = Fake(slow)
    with Serving(fake) as serving:
        first: list[int] = []
        thread = threading.Thread(target=lambda: first.append(post(serving.port, TRACES, body)[0]))
        thread.start()
        fake.wait(lambda: fake.given)
        second = post(serving.port, TRACES, body)[0]
        released.set()
        thread.join()
        third = post(serving.port, TRACES, body)[0]

    assert ([200], 503, 200) == (first, second, third)
    assert 1 == len(fake.given)


def test_what_an_exporter_drops_is_a_partial_success() -> None:
    """What an exporter drops for good is a partial success."""
    with Serving(Fake(lambda given: Verdict(dropped={"http_400": 1}))) as serving:
        body = traces([1, 2]).SerializeToString()
        status, _, answer = post(serving.port, TRACES, body)
        again, _, _ = post(serving.port, TRACES, body)

    told = ExportTraceServiceResponse.FromString(answer).partial_success
    assert (200, 1, "http_400: 1", 200) == (status, told.rejected_spans, told.error_message, again)
    assert 1 == len(serving.fake.given)


def test_a_fault_of_an_exporter_does_not_block_the_queue(caplog: pytest.LogCaptureFixture) -> None:
    """An exporter that raises has its spans dropped and counted, and the client hears 500: asked for again they would
    clog its queue, and 200 would be a lie."""

    def broken(given: list[Any]) -> Verdict:
        raise KeyError("/home/ada")

    with Serving(Fake(broken)) as serving:
        status = post(serving.port, TRACES, traces([1]).SerializeToString())[0]

        assert 1 == serving.relay.metrics.value("rejected_total", reason="fault")
        assert 1 == serving.relay.metrics.value("failures_total", reason="fault")
    assert 500 == status
    assert "KeyError" in caplog.text
    assert "ada" not in caplog.text


def test_a_fault_of_ours_is_an_answer(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that breaks the relay hears 500, which is not to be tried again, and the log does not repeat it."""
    with Serving() as serving:

        def broken(*_: object, **__: object) -> None:
            raise LookupError("/home/ada")

        monkeypatch.setattr(serving.relay.decoder, "decode", broken)
        answers = [status_of(post(serving.port, TRACES, traces([1]).SerializeToString())) for _ in range(40)]

    assert {(500, 13, "the relay failed")} == set(answers)
    assert "LookupError" in caplog.text
    assert "ada" not in caplog.text


def test_the_deadline_is_kept() -> None:
    """A destination that takes too long has the client told to come back; what it then still takes is not repeated."""
    released = threading.Event()

    def slow(given: list[Any]) -> Verdict:
        assert released.wait(30)
        return Verdict()

    fake = Fake(slow)
    with Serving(fake, deadline_s=0.2) as serving:
        body = traces([1]).SerializeToString()
        status, headers, _ = post(serving.port, TRACES, body)
        released.set()
        fake.wait(lambda: fake.given)
        while len(serving.destination.window) == 0:  # the delivery ends by itself
            pass
        again = post(serving.port, TRACES, body)[0]

    assert (503, "1", 200) == (status, headers["retry-after"], again)
    assert 1 == len(fake.given)
