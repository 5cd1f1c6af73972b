"""Clients that send too much, too slowly or not at all keep nobody else out; and stopping is an answer, too."""

from __future__ import annotations

import gzip
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_usage.delivery.verdict import Verdict
from otel_usage.server import body_reader, connections
from otel_usage.server.decode import Decoder
from otel_usage.server.workers import DestinationWorkers
from tests.collector.harness import DEADLINE_S, get, post, traces
from tests.server.serving import Fake, Serving

TRACES = "/fake/v1/traces"
HEAD = f"POST {TRACES} HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n".encode()


@contextmanager
def clients(serving: Serving, n: int, begun: bytes) -> Iterator[list[socket.socket]]:
    """Open *n* connections, one after the other, each of which sends *begun* and then nothing."""
    opened = []
    try:
        for _ in range(n):
            opened.append(socket.create_connection(("127.0.0.1", serving.port), DEADLINE_S))
            opened[-1].sendall(begun)
        yield opened
    finally:
        for one in opened:
            one.close()


def heard(client: socket.socket) -> bytes:
    """Return all that *client* hears until the relay closes the connection."""
    said = b""
    try:
        while part := client.recv(65_536):
            said += part
    except ConnectionError:
        pass
    return said


def until(condition: Callable[[], object]) -> None:
    """Return when *condition* holds."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def send(serving: Serving, *numbers: int) -> tuple[int, Any, bytes]:
    """Post runs as another client."""
    return post(serving.port, TRACES, traces(numbers).SerializeToString())


# -- heads and connections --------------------------------------------------------------------------------------


def test_a_head_is_bounded() -> None:
    """A request whose headers do not end is refused after 16 KiB, before anything is asked of it."""
    with Serving(tokens=("one",)) as serving, clients(serving, 1, HEAD) as [client]:
        sent = 0
        try:
            while sent < 1 << 20:
                client.sendall(b"x-a: " + b"a" * 2_000 + b"\r\n")
                sent += 2_000
                time.sleep(0.001)
        except ConnectionError:
            pass

    assert sent < 200_000


@pytest.mark.parametrize("begun", [b"", b"POST /fake", HEAD])
def test_a_head_has_to_come_in_time(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which no whole head comes is closed; one that is kept alive between requests is not."""
    monkeypatch.setattr(connections, "HEAD_S", 0.2)
    body = traces([1]).SerializeToString()
    whole = HEAD + b"content-length: %d\r\n\r\n" % len(body) + body
    with Serving() as serving, clients(serving, 1, begun) as [client], clients(serving, 1, whole) as [kept]:
        assert kept.recv(1_000).startswith(b"HTTP/1.1 200 ")
        assert b"" == heard(client)
        time.sleep(0.3)
        kept.sendall(whole[:50])
        kept.sendall(whole[50:])
        assert kept.recv(1_000).startswith(b"HTTP/1.1 200 ")
        kept.sendall(whole[:50])
        assert b"" == heard(kept)


def test_connections_that_do_nothing_make_room() -> None:
    """With as many connections as there may be, a new one takes the place of the one that is idle for longest."""
    with Serving(connections=8) as serving, clients(serving, 8, b"POST /fake") as idle:
        until(lambda: len(serving.server.server_state.connections) == 8)
        answers = [send(serving, n)[0] for n in range(3)]

        assert [200] * 3 == answers
        assert b"" == heard(idle[0])


def test_connections_that_are_all_in_use_are_told() -> None:
    """Where none is idle, the newest hears at once to come again."""
    released = threading.Event()

    def slow(given: list[Any]) -> Verdict:
        assert released.wait(DEADLINE_S)
        return Verdict()

    with Serving(Fake(slow), connections=2) as serving:
        threads = [threading.Thread(target=send, args=(serving, n)) for n in range(2)]
        for thread in threads:
            thread.start()
        until(lambda: serving.destination.waiting == 2)
        with clients(serving, 1, b"") as [client]:
            said = heard(client)
        released.set()
        for thread in threads:
            thread.join()

        assert said.startswith(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n")
        assert 200 == send(serving, 9)[0]


# -- bodies -----------------------------------------------------------------------------------------------------


def test_slow_bodies_take_no_place() -> None:
    """Clients that stop within their body keep nobody waiting: a place is taken when a body has come."""
    stalled = HEAD + b"content-length: 100\r\n\r\nx"
    with Serving(waiting=2) as serving, clients(serving, 4, stalled):
        until(lambda: len(serving.relay.reader.reading) == 4)

        assert 200 == send(serving, 1)[0]
        assert "otel_usage_relay_reading_requests 4" in get(serving.port, "/metrics")[1]


def test_of_too_many_slow_bodies_the_oldest_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It hears to come again, and holds nothing any more."""
    monkeypatch.setattr(body_reader, "MAX_READING", 3)
    stalled = HEAD + b"content-length: 100\r\n\r\nx"
    with Serving() as serving, clients(serving, 3, stalled) as slow:
        until(lambda: len(serving.relay.reader.reading) == 3)
        first = send(serving, 1)[0]
        said = heard(slow[0])

        assert 200 == first
        assert said.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\nconnection: close\r\n" in said
        assert 2 == serving.relay.reader.budget.held_bytes


def test_slow_bodies_that_hold_all_there_is_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies of few bytes that decompress to many, and do not end, are interrupted when others need the room."""
    monkeypatch.setattr(body_reader, "SLOW_S", 0.0)
    bomb = gzip.compress(bytes(50_000))[:-8]
    begun = HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % (len(bomb) + 8) + bomb
    with Serving(held_bytes=51_000) as serving, clients(serving, 1, begun) as [slow]:
        until(lambda: serving.relay.reader.budget.held_bytes >= 50_000)
        body = traces(range(10)).SerializeToString()
        first = post(serving.port, TRACES, body)
        said = heard(slow)

        assert (429, "1") == (first[0], first[1]["retry-after"])
        assert said.startswith(b"HTTP/1.1 503 ")
        assert 200 == post(serving.port, TRACES, body)[0]


def test_the_rest_of_a_refused_body_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that goes on sending after it was told that its body is too large is cut off."""
    monkeypatch.setattr(connections, "REST_BYTES", 1 << 20)
    with (
        Serving(body_bytes=1_000) as serving,
        clients(serving, 1, HEAD + b"transfer-encoding: chunked\r\n\r\n") as [one],
    ):
        sent = 0
        try:
            while sent < 64 << 20:
                one.sendall(b"10000\r\n" + bytes(1 << 16) + b"\r\n")
                sent += 1 << 16
        except ConnectionError:
            pass

    assert sent < 64 << 20


def test_the_deadline_covers_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that waits for others to be decoded hears in time that it is to come again."""
    released = threading.Event()
    with Serving(deadline_s=0.3) as serving:
        real = serving.relay.decoder.decode

        def slow(signal: str, body: bytes, *, as_json: bool) -> Any:
            assert released.wait(DEADLINE_S)
            return real(signal, body, as_json=as_json)

        monkeypatch.setattr(serving.relay.decoder, "decode", slow)
        threads = [threading.Thread(target=send, args=(serving, *range(n, n + 200))) for n in (0, 200)]
        for thread in threads:
            thread.start()
        status, headers, _ = send(serving, *range(400, 600))
        released.set()
        for thread in threads:
            thread.join()

        assert (503, "1") == (status, headers["retry-after"])
        until(lambda: send(serving, *range(400, 600))[0] == 200)
        assert (0, 0) == (serving.destination.waiting, serving.relay.reader.budget.held_bytes)


def test_a_body_that_is_too_large_is_told_what_it_exceeds() -> None:
    """The client's operator reads which limit it was, and where to raise it."""
    with Serving(body_bytes=1_000, decoded_bytes=5_000, items=5) as serving:
        told = []
        for body in (bytes(1_001), gzip.compress(bytes(5_001)), gzip.compress(traces(range(6)).SerializeToString())):
            headers = {"content-encoding": "gzip"} if body[:1] == b"\x1f" else {}
            status, _, said = post(serving.port, TRACES, body, headers)
            assert 413 == status
            told.append(Status.FromString(said).message)

    assert [
        "a body of more than 1000 bytes: send less, or raise --body-mib",
        "a body of more than 5000 bytes once decompressed: send less, or raise --decoded-mib",
        "6 spans in one request, more than 5: send fewer, or raise --items",
    ] == told


# -- paths and refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["//fake/v1/traces", "/fake/v1/traces/", "/fake//v1/traces"])
def test_slashes_too_many_are_none(path: str) -> None:
    """An address that ends with a slash, which a Collector then has two of, leads where it was meant to."""
    with Serving() as serving:
        status, headers, _ = post(serving.port, path, traces([1]).SerializeToString(), {"host": "evil.example"})

        assert (200, None, [0 + 1]) == (status, headers.get("location"), serving.fake.numbers())


def test_what_is_refused_for_good_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """A Collector throws away what is answered so: the log says why, and what would be right, and not more."""
    with Serving(tokens=("one",)) as serving:
        for _ in range(5):
            send(serving, 1)
            post(serving.port, "/ga4/v1/traces", b"", {"authorization": "Bearer one"})
            post(serving.port, "/v1/traces%0a%0dx", b"", {"authorization": "Bearer one"})
        counted = serving.relay.metrics.value("requests_total", code="404")

    said = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert [
        "refused a request for good, its data is lost: HTTP 401, no bearer token came with it",
        "refused a request for good, its data is lost: HTTP 404, no such path; there are /fake/v1/traces, "
        "/fake/v1/metrics",
    ] == said
    assert 10 == counted


@pytest.mark.parametrize("as_json", [False, True])
def test_a_wrong_method_is_answered_as_all_failures_are(as_json: bool) -> None:
    """405 is a google.rpc.Status as well."""
    import http.client
    import json

    kind = "application/json" if as_json else "application/x-protobuf"
    with Serving() as serving:
        connection = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=DEADLINE_S)
        connection.request("PUT", TRACES, b"", {"content-type": kind})
        answer = connection.getresponse()
        said = answer.read()
        connection.close()

    told = json.loads(said) if as_json else {"code": Status.FromString(said).code}
    assert (405, kind, 12) == (answer.status, answer.headers["content-type"], told["code"])


def test_a_fault_that_passes_is_to_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without memory a request fails, and the next may not: 503. Any other fault would come back: see test_relay."""
    with Serving() as serving:

        def full(*_: object, **__: object) -> None:
            raise MemoryError

        monkeypatch.setattr(serving.relay.decoder, "decode", full)
        status, headers, _ = send(serving, 1)

    assert (503, "1") == (status, headers["retry-after"])


# -- stopping ---------------------------------------------------------------------------------------------------


def test_what_is_interrupted_is_to_be_sent_again() -> None:
    """A server that does not wait for a request has it answered with 503; what is delivered of it stays known."""
    released = threading.Event()

    def slow(given: list[Any]) -> Verdict:
        assert released.wait(DEADLINE_S)
        return Verdict()

    with Serving(Fake(slow)) as serving:
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(send(serving, 1)))
        thread.start()
        until(lambda: serving.fake.given)
        loop = next(iter(serving.server.server_state.tasks)).get_loop()
        for task in serving.server.server_state.tasks:
            loop.call_soon_threadsafe(task.cancel)
        thread.join()
        released.set()

        assert (503, "1") == (answers[0][0], answers[0][1]["retry-after"])
        until(lambda: len(serving.destination.window))
        assert 200 == send(serving, 1)[0]
        assert 1 == len(serving.fake.given)


class Timed(Fake):
    """A fake that can be told how long it has, as ours can."""

    def __init__(self) -> None:
        super().__init__()
        self.within_s: list[float] = []
        self.stopped = threading.Event()

    def deliver(self, what: Any, *, within_s: float = 1e9) -> Verdict:
        """Wait until told to stop."""
        self.within_s.append(within_s)
        with self.changed:
            self.given.append(list(what))
            self.changed.notify_all()
        assert self.stopped.wait(DEADLINE_S)
        return Verdict(unsent=tuple(range(1, len(what))))

    def shutdown(self) -> None:
        """Begin nothing any more."""
        self.stopped.set()


def test_a_delivery_is_told_how_long_it_has_and_when_to_stop() -> None:
    """An exporter that takes a limit gets what is left of the request's; closing stops it, and the rest is unsent."""
    timed = Timed()
    destination = DestinationWorkers("fake", {"traces": timed}, window=100, workers=1)
    received = Decoder({}, items=100).decode("traces", traces([1, 2, 3]).SerializeToString(), as_json=False)
    late = time.monotonic() + 5

    first = destination.submit(received, late)
    timed.wait(lambda: timed.given)
    second = destination.submit(received, late)
    destination.close()
    third = destination.submit(received, late)

    assert [(1, 2), (0, 3), (0, 3)] == [(o.sent, o.again) for o in (first.result(5), second.result(5), third.result(5))]
    assert 4 < timed.within_s[0] <= 5


def test_closing_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """An exporter that hangs is left behind, and the log says so."""
    monkeypatch.setattr("otel_usage.server.workers.CLOSE_S", 0.1)
    released = threading.Event()

    def stuck(given: list[Any]) -> Verdict:
        assert released.wait(DEADLINE_S)
        return Verdict()

    fake = Fake(stuck)
    destination = DestinationWorkers("fake", {"traces": fake}, window=100, workers=1)
    received = Decoder({}, items=100).decode("traces", traces([1]).SerializeToString(), as_json=False)
    outcome = destination.submit(received, time.monotonic() + 60)
    fake.wait(lambda: fake.given)

    destination.close()
    released.set()

    assert "a delivery does not end" in caplog.text
    assert 1 == outcome.result(DEADLINE_S).sent


# -- each its own -----------------------------------------------------------------------------------------------


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
