"""The relay's parts: reading bodies, decoding, the window, splitting, Prometheus' format."""

from __future__ import annotations

import asyncio
import gzip
import os
import random
import tempfile
import threading
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_usage.delivery.verdict import Verdict
from otel_usage.otlp import MalformedError, json_from_protobuf
from otel_usage.server.body import Body, Budget, MalformedBodyError, NoRoomError, TooLargeError
from otel_usage.server.decode import Decoder
from otel_usage.server.decode_protobuf import MAX_REMEMBERED
from otel_usage.server.prometheus import RelayMetrics
from otel_usage.server.received import Received, TooManyError, select
from otel_usage.server.window import Window
from otel_usage.server.workers import DestinationWorkers, load_destination
from otel_usage.setting_error import SettingError
from tests.collector.harness import RUN, metrics, pairs, resource, traces
from tests.server.serving import Fake, points


async def chunks(content: bytes, sizes: list[int]) -> AsyncIterator[bytes]:
    """Yield *content* in pieces of *sizes*, in turn."""
    at, turn = 0, 0
    while at < len(content):
        size = sizes[turn % len(sizes)]
        yield content[at : at + size]
        at, turn = at + size, turn + 1


def read(
    content: bytes, sizes: list[int], *, compressed: bool, budget: Budget | None = None, room: int = 1 << 22
) -> bytes:
    """Return what `Body` reads of *content*."""
    budget = budget or Budget(1 << 30)
    body = Body(budget, body_bytes=1 << 22, decoded_bytes=room, compressed=compressed)
    try:
        return asyncio.run(body.read(chunks(content, sizes)))
    finally:
        body.close()
        assert 0 == budget.held_bytes


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=300),
    st.integers(1, 1000),
    st.lists(st.integers(1, 70), min_size=1, max_size=5),
    st.integers(1, 3),
)
def test_a_body_is_read_whatever_pieces_it_comes_in(seed: bytes, times: int, sizes: list[int], members: int) -> None:
    """Plain or gzip, in one member or more, padded or not: what is read is what was written."""
    content = seed * times

    packed = b"".join(gzip.compress(content) for _ in range(members)) + b"\0" * (members - 1)

    assert content == read(content, sizes, compressed=False)
    assert content * members == read(packed, sizes, compressed=True)


def test_output_that_zlib_holds_back_is_read() -> None:
    """A member whose output is exactly as large as one step, or many, is read to its end."""
    for size in (65_535, 65_536, 65_537, 3 * 65_536, 1_000_000):
        content = bytes(size)

        assert content == read(gzip.compress(content), [1 << 20], compressed=True)
        assert content == read(gzip.compress(content), [7], compressed=True)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_what_is_not_gzip_is_malformed(content: bytes) -> None:
    """Any bytes are read as gzip does, or malformed; nothing else is raised."""
    try:
        expected: bytes | None = gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        expected = None

    try:
        assert expected == read(content, [16], compressed=True) or not content
    except MalformedBodyError:
        assert expected is None or not content


def test_limits_hold_where_they_are_reached() -> None:
    """One byte more than allowed is too much: as it comes, decompressed, and of all requests together."""
    assert 1000 == len(read(gzip.compress(bytes(1000)), [10], compressed=True, room=1000))
    with pytest.raises(TooLargeError):
        read(gzip.compress(bytes(1001)), [10], compressed=True, room=1000)
    with pytest.raises(TooLargeError):
        read(bytes((1 << 22) + 1), [1 << 16], compressed=False)
    with pytest.raises(NoRoomError):
        read(bytes(1001), [10], compressed=False, budget=Budget(1000))


# -- decoding ---------------------------------------------------------------------------------------------------

VALUES = st.one_of(
    st.sampled_from(["run", "action", "error", "report upload", "success", "mycli", "x" * 300, "/home/ada", ""]),
    st.booleans(),
    st.integers(-5, 300),
    st.lists(st.sampled_from(["--format", "-x", "/etc/passwd"]), max_size=3),
)
KEYS = st.sampled_from([*RUN, "usage.action", "usage.field.format", "error.type", "host.name", "process.pid"])
SPANS = st.fixed_dictionaries(
    {
        "attributes": st.dictionaries(KEYS, VALUES, max_size=4),
        "drop": st.sets(st.sampled_from(sorted(RUN)), max_size=2),
        "name": st.sampled_from(["mycli report upload", "report.upload", "mycli", "GET /"]),
        "host": st.booleans(),
        "event": st.booleans(),
        "status": st.sampled_from(["", "", "boom"]),
        "span_id": st.sampled_from([b"\1" * 8, b"", bytes(8), b"\1" * 7]),
        "parent": st.sampled_from([b"", b"\2" * 8, b"\2"]),
        "backwards": st.booleans(),
    }
)


@settings(max_examples=80, deadline=None)
@given(st.lists(SPANS, max_size=4))
def test_both_encodings_let_the_same_pass(told: list[dict[str, Any]]) -> None:
    """The fast path for protobuf and the general one through JSON keep and reject the same spans, first and again."""
    request = ExportTraceServiceRequest()
    for n, one in enumerate(told):
        attributes = {**{k: v for k, v in RUN.items() if k not in one["drop"]}, **one["attributes"]}
        about = {**resource(), "host.name": "x"} if one["host"] else resource()
        made = traces([n], attributes=attributes, name=one["name"], of=about, began_ns=10**18)
        span = made.resource_spans[0].scope_spans[0].spans[0]
        if one["event"] and n % 2:
            span.events.add(name="exception")
        if one["status"]:
            span.status.code, span.status.message = 2, one["status"]
        if n % 3 == 2:
            span.span_id = one["span_id"]
        span.parent_span_id = one["parent"]
        if one["backwards"] and n % 2:
            span.end_time_unix_nano = 1
        request.MergeFrom(made)
    body = request.SerializeToString()
    decoder = Decoder({}, items=100)

    fast = [decoder.decode("traces", body, as_json=False) for _ in range(2)]
    general = decoder.json.read_spans(json_from_protobuf("traces", body))

    for one in fast:
        assert general.rejected == one.rejected
        assert general.ids == one.ids
        assert [span.to_json() for span in general.spans] == [span.to_json() for span in one.spans]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.booleans(), st.sampled_from(["traces", "metrics"]))
def test_any_bytes_are_decoded_or_malformed(body: bytes, as_json: bool, signal: str) -> None:
    """No body makes the decoder raise anything but that it is malformed."""
    try:
        Decoder({}, items=100).decode(signal, body, as_json=as_json)
    except MalformedError:
        pass


WRONG: list[Any] = [None, True, -1, 1e999, 2**70, "", "x", [], [None], {}, {"a": 1}, [[]], "9" * 5000, "\ud800"]


def spoil(told: Any, chance: random.Random) -> Any:
    """Return *told* with one part, anywhere in it, replaced by something wrong or left out."""
    if isinstance(told, dict) and told and chance.random() < 0.9:
        key = chance.choice(list(told))
        if chance.random() < 0.1:
            return {k: v for k, v in told.items() if k != key}
        return {**told, key: spoil(told[key], chance)}
    if isinstance(told, list) and told and chance.random() < 0.9:
        at = chance.randrange(len(told))
        return [*told[:at], spoil(told[at], chance), *told[at + 1 :]]
    return chance.choice(WRONG)


@pytest.mark.parametrize("signal", ["traces", "metrics"])
def test_spoiled_json_is_decoded_or_malformed(signal: str) -> None:
    """The same for JSON that is OTLP but for one part of it."""
    import json

    request = traces([1, 2]) if signal == "traces" else metrics(1)
    if signal == "metrics":
        scope = request.resource_metrics[0].scope_metrics[0]
        point = scope.metrics.add(name="usage.run.duration", unit="s").histogram.data_points.add(count=2, sum=1.5)
        point.bucket_counts.extend([1, 1])
        point.explicit_bounds.append(1.0)
    sound = json_from_protobuf(signal, request.SerializeToString())
    chance = random.Random(3)
    passed = 0
    for _ in range(3_000):
        body = json.dumps(spoil(sound, chance)).encode()
        try:
            received = Decoder({}, items=100).decode(signal, body, as_json=True)
            passed += len(received.ids)
        except (MalformedError, TooManyError):
            pass

    assert passed


def test_what_is_remembered_of_spans_is_bounded() -> None:
    """Ever new attributes and resources do not make the decoder grow without bound."""
    decoder = Decoder({}, items=100_000)
    for first in range(0, MAX_REMEMBERED + 1_000, 1_000):
        request = ExportTraceServiceRequest()
        for n in range(first, first + 1_000):
            about = {**resource(), "service.version": f"1.{n}"}
            request.MergeFrom(traces([n], attributes={**RUN, "process.exit.code": n}, of=about))
        received = decoder.decode("traces", request.SerializeToString(), as_json=False)
        assert [n + 1 for n in range(first, first + 1_000)] == [s.context.span_id for s in received.spans]

    assert len(decoder.protobuf._shapes) <= MAX_REMEMBERED
    assert len(decoder.protobuf._resources) <= MAX_REMEMBERED


def test_data_points_are_picked_by_position() -> None:
    """`select` returns the data points at some positions, of all metrics in order."""
    request = metrics(1)
    for n in (2, 3, 4):
        request.MergeFrom(metrics(n, name=f"usage.count.c{n}"))
    received = Decoder({}, items=100).decode("metrics", request.SerializeToString(), as_json=False)

    picked = select(received, [1, 3])

    assert not isinstance(picked, list)
    assert [("usage.count.c2", 2), ("usage.count.c4", 4)] == [(name, point.value) for name, point in points(picked)]


# -- the window -------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.lists(st.integers(0, 15), max_size=8), st.sets(st.integers(0, 15))), max_size=25))
def test_nothing_done_is_fresh_again_while_the_window_lasts(steps: list[tuple[list[int], set[int]]]) -> None:
    """Whatever is claimed and settled in any order: an id is fresh exactly if it was not done."""
    window = Window(1_000)
    done: set[int] = set()
    for ids, again in steps:
        claim = window.claim(ids)

        fresh = [ids[position] for position in claim.fresh]
        assert len(ids) == len(fresh) + claim.known + claim.busy
        assert (set(ids) - done, 0) == (set(fresh), claim.busy)
        window.settle((one for one in fresh if one not in again), (one for one in fresh if one in again))
        done |= set(fresh) - again


def test_the_window_forgets_the_oldest_and_no_more() -> None:
    """At least half of its size is remembered, and never more than its size."""
    window = Window(100)
    for n in range(1_000):
        window.settle([n], [])
        assert len(window) <= 100
        assert () == window.claim(range(max(0, n - 49), n + 1)).fresh

    assert 900 == len(window.claim(range(900)).fresh)


def test_what_is_claimed_is_busy_for_others() -> None:
    """Until it is settled, what one request delivers is nobody else's."""
    window = Window(100)

    first = window.claim([1, 2])
    second = window.claim([2, 3, 3])

    assert ((0, 1), 0, 0) == (first.fresh, first.busy, first.known)
    assert ((1,), 1, 1) == (second.fresh, second.busy, second.known)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 15), max_size=8), st.sets(st.integers(0, 15)), st.booleans()), max_size=15
    )
)
def test_a_kept_window_survives_death(steps: list[tuple[list[int], set[int], bool]]) -> None:
    """Killed at any point, a window that is kept knows what was done and what was under way; nothing is fresh twice."""
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/ga4.window"
        window = Window(1_000, path)
        gone: set[int] = set()
        for ids, again, dies in steps:
            claim = window.claim(ids)
            fresh = [ids[position] for position in claim.fresh]
            assert (set(ids) - gone, 0) == (set(fresh), claim.busy)
            if dies:
                window.close()  # all that death does to it: nothing is settled
                gone |= set(fresh)
                window = Window(1_000, path)
            else:
                window.settle((one for one in fresh if one not in again), (one for one in fresh if one in again))
                gone |= set(fresh) - again
        window.close()


def test_a_kept_window_is_bounded_and_private(tmp_path: Path) -> None:
    """Its file holds no more than some times its size, however long a destination is down; nobody else reads it."""
    path = tmp_path / "ga4.window"
    window = Window(100, str(path))
    for _ in range(200):  # claimed and struck out
        window.claim(range(20))
        window.settle([], range(20))
    for n in range(1_000):
        window.settle([n], [])
        assert path.stat().st_size <= 25 * 450
    window.close()
    path.write_bytes(path.read_bytes() + b"+torn")
    again = Window(100, str(path))

    assert () == again.claim(range(951, 1_000)).fresh
    assert 0o600 == path.stat().st_mode & 0o777
    with pytest.raises(SettingError, match="another relay"):
        Window(100, str(path))
    again.close()


def test_a_full_disk_does_not_stop_deliveries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the window can't be noted any more it goes on in memory, and says so once."""
    window = Window(100, str(tmp_path / "ga4.window"))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    for n in range(200):
        assert (0,) == window.claim([n]).fresh
        window.settle([n], [])

    assert 1 == caplog.text.count("No space left")
    assert () == window.claim([199]).fresh


# -- destinations -----------------------------------------------------------------------------------------------


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


# -- Prometheus -------------------------------------------------------------------------------------------------


def test_metrics_are_in_the_format_of_prometheus() -> None:
    """Every line is a comment or a sample; a histogram's buckets add up."""
    told = RelayMetrics()
    told.add("sent_total", 3, destination="ga4")
    told.add("sent_total", 4, destination="ga4")
    told.observe(0.003, destination="ga4")
    told.observe(99.0, destination="ga4")

    lines = told.format().splitlines()

    assert 'otel_usage_relay_sent_total{destination="ga4"} 7' in lines
    assert 'otel_usage_relay_request_duration_seconds_bucket{destination="ga4",le="0.005"} 1' in lines
    assert 'otel_usage_relay_request_duration_seconds_bucket{destination="ga4",le="30.0"} 1' in lines
    assert 'otel_usage_relay_request_duration_seconds_bucket{destination="ga4",le="+Inf"} 2' in lines
    assert 'otel_usage_relay_request_duration_seconds_count{destination="ga4"} 2' in lines
    assert all(line.startswith(("# HELP ", "# TYPE ", "otel_usage_relay_", "process_")) for line in lines)
    assert pairs({"a": 1})
