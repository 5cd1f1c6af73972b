"""The relay's answers: what clients are told, and what reaches the destination."""

from __future__ import annotations

import gzip
import http.client
import json
import logging
import os
import random
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from otel_usage.delivery.verdict import Verdict
from otel_usage.otlp import json_from_protobuf
from tests.collector.harness import RUN, get, memory_mib, metrics, pairs, post, resource, traces
from tests.server.serving import Fake, Serving

TRACES = "/fake/v1/traces"
METRICS = "/fake/v1/metrics"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def shared() -> Iterator[Serving]:
    """A relay for the tests that change nothing in it."""
    with Serving(body_bytes=1 << 20, decoded_bytes=2 << 20) as serving:
        yield serving


def status_of(answer: tuple[int, Mapping[str, str], bytes]) -> tuple[int, int, str]:
    """Return (HTTP status, google.rpc code, message) of a failure."""
    told = Status.FromString(answer[2])
    return answer[0], told.code, told.message


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


def test_dropped_is_told_and_not_tried_again() -> None:
    """What an exporter drops for good is a partial success."""
    with Serving(Fake(lambda given: Verdict(dropped={"http_400": 1}))) as serving:
        body = traces([1, 2]).SerializeToString()
        status, _, answer = post(serving.port, TRACES, body)
        again, _, _ = post(serving.port, TRACES, body)

    told = ExportTraceServiceResponse.FromString(answer).partial_success
    assert (200, 1, "http_400: 1", 200) == (status, told.rejected_spans, told.error_message, again)
    assert 1 == len(serving.fake.given)


def test_a_fault_of_an_exporter_does_not_block_the_queue(caplog: pytest.LogCaptureFixture) -> None:
    """An exporter that raises has its spans dropped and counted; asked for again they would clog the client's queue."""

    def broken(given: list[Any]) -> Verdict:
        raise KeyError("/home/ada")

    with Serving(Fake(broken)) as serving:
        status, _, answer = post(serving.port, TRACES, traces([1]).SerializeToString())

    assert (200, 1) == (status, ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans)
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


# -- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code"),
    [
        (TRACES, b"\xff\xff\xff", {}, 400, 3),
        (METRICS, b"\xff\xff\xff", {}, 400, 3),
        (TRACES, b"not gzip", {"content-encoding": "gzip"}, 400, 3),
        (TRACES, gzip.compress(b"x" * 1000, mtime=0)[:-9], {"content-encoding": "gzip"}, 400, 3),
        (TRACES, b"", {"content-encoding": "gzip"}, 400, 3),
        (TRACES, b"", {"content-encoding": "br"}, 415, 3),
        (TRACES, b"", {"content-type": "text/plain"}, 415, 3),
        (TRACES, b"x" * (1 << 20) + b"x", {}, 413, 3),
        ("/other/v1/traces", b"", {}, 404, 5),
        ("/fake/v1/logs", b"", {}, 404, 5),
        ("/v1/traces", b"", {}, 404, 5),
    ],
)
def test_what_cant_be_taken_is_refused(
    shared: Serving, path: str, body: bytes, headers: dict[str, str], status: int, code: int
) -> None:
    """The status says whose fault it is, and the body is a google.rpc.Status."""
    told = status_of(post(shared.port, path, body, headers))

    assert (status, code) == told[:2]
    assert told[2]


@pytest.mark.parametrize("headers", [{}, {"content-encoding": "gzip"}, {"content-encoding": "br"}])
def test_a_refusal_can_be_read(shared: Serving, headers: dict[str, str]) -> None:
    """A client that sends its whole body before it reads hears why it is refused; the connection stays usable."""
    for _ in range(3):
        connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=10)
        for _ in range(2):
            large = random.Random(1).randbytes(8 << 20)
            connection.request("POST", TRACES, large, {"content-type": "application/x-protobuf", **headers})
            answer = connection.getresponse()
            answer.read()

            assert (415 if headers.get("content-encoding") == "br" else 413) == answer.status
        connection.close()


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'"x"', b"[" * 100_000, b'{"resourceSpans":[5]}', b"\xff"])
def test_json_that_is_not_otlp_is_refused_in_json(shared: Serving, body: bytes) -> None:
    """A JSON client hears in JSON, whatever it sent."""
    status, headers, told = post(shared.port, TRACES, body, JSON)

    assert (400, "application/json") == (status, headers["content-type"])
    assert 3 == json.loads(told)["code"]


def test_only_post_is_allowed(shared: Serving) -> None:
    """Other methods hear 405, and which one is right."""
    connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=10)
    connection.request("PUT", TRACES, b"")
    answer = connection.getresponse()
    answer.read()
    connection.close()

    assert (405, "POST") == (answer.status, answer.headers["allow"])


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", "Basic b25l", "one", "Bearer oneone"])
def test_without_the_token_nothing_is_taken(given: str | None) -> None:
    """A wrong token, or none, is a 401 for data and metrics; health is for everybody."""
    with Serving(tokens=("one", "two")) as serving:
        body = traces([1]).SerializeToString()
        status, headers, _ = post(serving.port, TRACES, body, {} if given is None else {"authorization": given})

        assert (401, "Bearer") == (status, headers["www-authenticate"])
        assert [] == serving.fake.given
        assert 200 == post(serving.port, TRACES, body, {"authorization": "Bearer one"})[0]
        assert 200 == post(serving.port, TRACES, body, {"authorization": "bearer two "})[0]
        assert (401, 200) == (get(serving.port, "/metrics")[0], get(serving.port, "/healthz")[0])


BOMBS = {
    "one member": lambda: gzip.compress(bytes(64 << 20), 1),
    "nested": lambda: gzip.compress(gzip.compress(bytes(64 << 20), 1) * 100, 1),
    "many members": lambda: gzip.compress(bytes(1 << 20), 1) * 64,
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_gzip_bomb_is_refused_in_bounded_memory(kind: str) -> None:
    """A body that is small only while compressed is refused without ever being held whole."""
    bomb = BOMBS[kind]()
    with Serving(decoded_bytes=4 << 20) as serving:
        post(serving.port, TRACES, traces([1]).SerializeToString())
        before = memory_mib(os.getpid())

        answers = {post(serving.port, TRACES, bomb, {"content-encoding": "gzip"})[0] for _ in range(3)}

        assert answers <= {413, 400}
        assert memory_mib(os.getpid()) - before < 32
        assert 0 == serving.relay.reader.budget.held_bytes


def field(number: int, content: bytes) -> bytes:
    """Return a protobuf field that holds *content*."""
    size, length = len(content), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


N = 1_000_000
SMALL_THINGS = {
    "groups": (TRACES, b"\x0a\0" * N, 413),
    "scopes": (TRACES, field(1, b"\x12\0" * N), 413),
    "spans": (TRACES, field(1, field(2, b"\x12\0" * N)), 413),
    "attributes": (TRACES, field(1, field(2, field(2, b"\x4a\0" * N))), 200),
    "resource attributes": (TRACES, field(1, field(1, b"\x0a\0" * N)), 200),
    "list elements": (TRACES, field(1, field(2, field(2, field(9, field(2, field(5, b"\x0a\0" * N)))))), 200),
    "metrics' groups": (METRICS, b"\x0a\0" * N, 413),
    "metrics": (METRICS, field(1, field(2, b"\x12\0" * N)), 413),
    "sums": (METRICS, field(1, field(2, b"\x12\x02\x3a\0" * (N // 2))), 413),
    "points": (METRICS, field(1, field(2, field(2, field(7, b"\x0a\0" * N)))), 413),
    "point attributes": (METRICS, field(1, field(2, field(2, field(7, field(1, b"\x3a\0" * N))))), 200),
    "metrics' resource attributes": (METRICS, field(1, field(1, b"\x0a\0" * N)), 200),
    "exemplars": (METRICS, field(1, field(2, field(2, field(7, field(1, b"\x2a\0" * N))))), 200),
    "buckets": (METRICS, field(1, field(2, field(2, field(9, field(1, field(6, bytes(2 * N))))))), 200),
    "what is not UTF-8": (TRACES, field(1, field(2, b"\x12\0" * N) + field(3, b"\xff")), 413),
}


@pytest.mark.parametrize("kind", SMALL_THINGS)
def test_many_small_things_are_refused(kind: str) -> None:
    """Messages of two bytes on the wire are large in memory and slow to look at; their number is bounded as well."""
    path, body, expected = SMALL_THINGS[kind]
    with Serving(items=10_000) as serving:
        spent = time.process_time()
        status = post(serving.port, path, gzip.compress(body, 1), {"content-encoding": "gzip"})[0]
        spent = time.process_time() - spent

        assert expected == status
        assert [] == serving.fake.given
        assert spent < 1.5  # seconds of CPU, all of this process


def test_a_body_that_does_not_come_is_given_up() -> None:
    """A client that stalls within its body is told so when the deadline is over, and holds nothing."""
    with Serving(deadline_s=0.2) as serving, socket.create_connection(("127.0.0.1", serving.port), 10) as client:
        head = (
            f"POST {TRACES} HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 100\r\n\r\n"
        )
        client.sendall(head.encode() + b"x" * 10)
        answer = client.recv(1000)

        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in answer
        assert (0, 0) == (serving.destination.waiting, serving.relay.reader.budget.held_bytes)


def test_a_client_that_goes_away_holds_nothing() -> None:
    """A connection that ends within a body gives everything back, and the next request is served."""
    with Serving() as serving:
        for _ in range(40):  # more than may wait
            with socket.create_connection(("127.0.0.1", serving.port), 10) as client:
                head = f"POST {TRACES} HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
                client.sendall(head.encode() + b"content-length: 100\r\n\r\n" + b"x" * 10)
        status = post(serving.port, TRACES, traces([1]).SerializeToString())[0]
        while serving.destination.waiting:
            pass

        assert 200 == status or serving.destination.waiting == 0
        assert 0 == serving.relay.reader.budget.held_bytes


def test_beyond_what_may_wait_clients_are_told_to_wait() -> None:
    """Requests beyond the bound hear 429 at once; those within it are delivered, every one."""
    released = threading.Event()

    def slow(given: list[Any]) -> Verdict:
        assert released.wait(30)
        return Verdict()

    fake = Fake(slow)
    with Serving(fake, waiting=4, workers=2) as serving:
        answers: list[tuple[int, int]] = []
        threads = [
            threading.Thread(
                target=lambda n=n: answers.append((n, post(serving.port, TRACES, traces([n]).SerializeToString())[0]))
            )
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        while serving.destination.waiting < 4:
            pass
        status, headers, _ = post(serving.port, TRACES, traces([99]).SerializeToString())
        released.set()
        for thread in threads:
            thread.join()

    assert (429, "1") == (status, headers["retry-after"])
    assert [(n, 200) for n in range(4)] == sorted(answers)
    assert [0, 1, 2, 3] == sorted(fake.numbers())


def test_beyond_what_may_be_held_clients_are_told_to_wait() -> None:
    """When the bodies of all requests together are as large as they may be, more hear 429 until some are delivered."""
    released = threading.Event()

    def slow(given: list[Any]) -> Verdict:
        assert released.wait(30)
        return Verdict()

    fake = Fake(slow)
    bodies = [traces(range(first, first + 20)).SerializeToString() for first in (0, 20)]
    with Serving(fake, held_bytes=len(bodies[0]) * 3 // 2) as serving:
        answers: list[int] = []
        thread = threading.Thread(target=lambda: answers.append(post(serving.port, TRACES, bodies[0])[0]))
        thread.start()
        fake.wait(lambda: fake.given)
        refused = post(serving.port, TRACES, bodies[1])
        released.set()
        thread.join()
        again = post(serving.port, TRACES, bodies[1])[0]

    assert (429, "1", [200], 200) == (refused[0], refused[1]["retry-after"], answers, again)


def test_one_destination_does_not_delay_another() -> None:
    """A destination that hangs takes neither threads nor places from another."""
    from otel_usage.server.workers import DestinationWorkers

    released = threading.Event()

    def stuck(given: list[Any]) -> Verdict:
        assert released.wait(30)
        return Verdict()

    with Serving(Fake(stuck), waiting=2, workers=1) as serving:
        other = Fake()
        serving.relay.destinations["other"] = DestinationWorkers("other", {"traces": other}, window=10, workers=1)
        threads = [
            threading.Thread(target=post, args=(serving.port, TRACES, traces([n]).SerializeToString())) for n in (1, 2)
        ]
        for thread in threads:
            thread.start()
        while serving.destination.waiting < 2:
            pass
        status = post(serving.port, "/other/v1/traces", traces([3]).SerializeToString())[0]
        released.set()
        for thread in threads:
            thread.join()

    assert (200, [3]) == (status, other.numbers())


# -- what it tells of itself ------------------------------------------------------------------------------------


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
