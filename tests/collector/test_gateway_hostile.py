"""gateway.yaml against whoever sends what no program of ours does: it costs nobody else anything, and nothing leaks."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from tests.collector.gateway import CONFIG, Gateway, Running
from tests.collector.harness import RUN, Backend, memory_mib, metrics, plain, post, resource, traces
from tests.collector.hostile_data import ACTION, ACTIONS, POINTS, RUNS, attribute


@contextmanager
def bodies(backend: Backend) -> Iterator[list[bytes]]:
    """Collect what the backend is sent, as it came."""
    seen: list[bytes] = []

    def answer(path: str, body: bytes) -> int:
        seen.append(body)
        return 200

    backend.answer = answer
    yield seen
    backend.answer = lambda path, body: 200


@pytest.mark.parametrize("what", [*RUNS, *ACTIONS])
def test_a_bad_span_is_dropped_alone(running: Running, what: str) -> None:
    """A span unlike any of ours is taken and dropped; the one beside it, in the same request, arrives."""
    gateway, backend = running
    spoil, attributes = (RUNS[what], RUN) if what in RUNS else (ACTIONS[what], ACTION)
    number = 1_000 + [*RUNS, *ACTIONS].index(what)
    request = traces([number])
    bad = traces([number + 10_000], attributes=attributes)
    spoil(bad.resource_spans[0].scope_spans[0].spans[0])
    request.MergeFrom(bad)
    before = len(backend.spans)

    status = post(gateway.http, "/v1/traces", request.SerializeToString())[0]
    backend.wait(lambda: number in backend.numbers)

    assert 200 == status
    assert [number] == [int.from_bytes(span.span_id, "big") - 1 for _, span in backend.spans[before:]]


@pytest.mark.parametrize("what", POINTS)
def test_a_bad_point_is_dropped_alone(running: Running, what: str) -> None:
    """A data point unlike any of ours is taken and dropped; the one beside it, in the same request, arrives."""
    gateway, backend = running
    number = 1_000 + list(POINTS).index(what)
    bad = metrics(1)
    metric = bad.resource_metrics[0].scope_metrics[0].metrics[0]
    POINTS[what](metric, metric.sum.data_points[0])
    request = metrics(number)
    request.MergeFrom(bad)
    before = len(backend.points)

    status = post(gateway.http, "/v1/metrics", request.SerializeToString())[0]
    backend.wait(lambda: len(backend.points) > before)

    assert 200 == status
    assert [number] == [point.as_int for _, _, point in backend.points[before:]]


@pytest.mark.parametrize("kind", ["summary", "gauge", "exponential_histogram"])
def test_other_types_are_dropped_alone(running: Running, kind: str) -> None:
    """We record sums and histograms; others named like ours are dropped, and not refused again and again."""
    gateway, backend = running
    bad = metrics(1)
    metric = bad.resource_metrics[0].scope_metrics[0].metrics[0]
    metric.ClearField("sum")
    getattr(metric, kind).data_points.add(start_time_unix_nano=1, time_unix_nano=2)
    request = metrics(2)
    request.MergeFrom(bad)
    before = len(backend.points)

    status = post(gateway.http, "/v1/metrics", request.SerializeToString())[0]
    backend.wait(lambda: len(backend.points) > before)

    assert 200 == status
    assert [2] == [point.as_int for _, _, point in backend.points[before:]]


def test_a_histogram_passes_unless_it_is_huge(running: Running) -> None:
    """Durations arrive with their buckets; what has thousands of buckets is not ours."""
    gateway, backend = running
    request = metrics(1, name="usage.run.duration", attributes={"usage.command": "report upload"})
    good = request.resource_metrics[0].scope_metrics[0].metrics[0]
    good.ClearField("sum")
    good.unit, good.histogram.aggregation_temporality = "s", 1
    point = good.histogram.data_points.add(start_time_unix_nano=1, time_unix_nano=2, count=2, sum=3.0)
    point.bucket_counts.extend([1, 1])
    point.explicit_bounds.append(0.5)
    huge = request.resource_metrics[0].scope_metrics[0].metrics.add()
    huge.CopyFrom(good)
    huge.histogram.data_points[0].bucket_counts.extend([1] * 100_000)
    before = len(backend.points)

    status = post(gateway.http, "/v1/metrics", request.SerializeToString())[0]
    backend.wait(lambda: len(backend.points) > before)

    assert 200 == status
    assert [("s", [1, 1], [0.5])] == [
        (metric.unit, list(point.bucket_counts), list(point.explicit_bounds))
        for _, metric, point in backend.points[before:]
    ]


def test_text_that_is_not_utf8_is_dropped_alone(running: Running) -> None:
    """Bytes that no backend can read as text cost nobody else anything, wherever they are."""
    gateway, backend = running
    for n, word in enumerate((b"--format", b"success", b"linux", b"mycli report upload", b"otel_usage", b"report upl")):
        spoilt = traces([2_000 + n]).SerializeToString().replace(word, b"\xff" * len(word))
        good = traces([2_100 + n]).SerializeToString()

        assert 200 == post(gateway.http, "/v1/traces", spoilt + good)[0]  # messages joined are one merged
        backend.wait(lambda: 2_100 + n in backend.numbers)  # noqa: B023  called before the next turn

    assert {2_003, 2_004} == {number for number in backend.numbers if 2_000 <= number < 2_100}  # made anew


def test_a_repeated_key_passes_with_the_value_that_was_checked(running: Running) -> None:
    """The wire allows it: the one that is checked is the one that passes."""
    gateway, backend = running
    request = traces([3_000], attributes=ACTION)
    span = request.resource_spans[0].scope_spans[0].spans[0]
    for text in ("/home/ada\\", "pdf"):
        span.attributes.add(key="usage.field.format").value.string_value = text
    about = request.resource_spans[0].resource.attributes
    for text in ("/home/ada", "1.4"):
        about.add(key="service.version").value.string_value = text

    with bodies(backend) as seen:
        assert 200 == post(gateway.http, "/v1/traces", request.SerializeToString())[0]
        backend.wait(lambda: 3_000 in backend.numbers)

    assert b"ada" not in b"".join(seen)
    assert 3 == len(backend.spans[-1][1].attributes)
    assert ACTION == plain(backend.spans[-1][1].attributes)


def test_no_more_attributes_pass_than_a_program_can_declare(running: Running) -> None:
    """Of 20,000 attributes 32 are left, and it does not take long."""
    gateway, backend = running
    many = {**ACTION, **{f"usage.field.f{n}": "x" for n in range(20_000)}}

    assert 200 == post(gateway.http, "/v1/traces", traces([3_001], attributes=many).SerializeToString())[0]
    backend.wait(lambda: 3_001 in backend.numbers, deadline_s=10)

    assert 32 == len(backend.spans[-1][1].attributes)


def test_no_place_that_can_hold_text_is_forgotten(running: Running) -> None:
    """Text in any place of a span or metric that is not a value of ours does not pass."""
    gateway, backend = running
    request = traces([3_002], name="alice@corp.com 10.0.0.1 SECRET")
    sent = request.resource_spans[0]
    span = sent.scope_spans[0].spans[0]
    sent.schema_url = sent.scope_spans[0].schema_url = "http://x/SECRET"
    sent.resource.entity_refs.add(type="SECRET", schema_url="SECRET", id_keys=["SECRET"], description_keys=["SECRET"])
    sent.resource.dropped_attributes_count = 7
    sent.scope_spans[0].scope.name, sent.scope_spans[0].scope.version = "/home/SECRET", "SECRET"
    span.trace_state, span.status.message, span.status.code, span.kind = "a=SECRET", "SECRET", 2, 5
    span.events.add(name="SECRET").attributes.add(key="SECRET").value.string_value = "SECRET"
    counted = metrics(3_002)
    told = counted.resource_metrics[0]
    metric = told.scope_metrics[0].metrics[0]
    told.schema_url = told.scope_metrics[0].schema_url = "http://x/SECRET"
    told.resource.entity_refs.add(type="SECRET", schema_url="SECRET", id_keys=["SECRET"])
    told.scope_metrics[0].scope.name, told.scope_metrics[0].scope.version = "/home/SECRET", "SECRET"
    metric.unit, metric.description = "/home/SECRET", "SECRET"
    metric.metadata.add(key="SECRET").value.string_value = "SECRET"
    for key in ("usage.password", "usage", "usage.field.SECRET", "usage.field.a.SECRET", "usage.field.", "SECRET", ""):
        for where in (span, metric.sum.data_points[0], sent.resource, told.resource, sent.scope_spans[0].scope):
            where.attributes.append(KeyValue(key=key, value={"string_value": "SECRET"}))

    with bodies(backend) as seen:
        assert 200 == post(gateway.http, "/v1/traces", request.SerializeToString())[0]
        assert 200 == post(gateway.http, "/v1/metrics", counted.SerializeToString())[0]
        backend.wait(lambda: 3_002 in backend.numbers and getattr(backend.points[-1][2], "as_int", 0) == 3_002)

    assert [] == re.findall(rb"SECRET|alice", b"".join(seen))
    about, arrived = backend.spans[-1]
    assert (resource(), RUN) == (about, plain(arrived.attributes))
    assert ("mycli report upload", 1, 2) == (arrived.name, arrived.kind, arrived.status.code)
    assert "" == backend.points[-1][1].unit


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({**RUN, "usage.command": "(root)"}, "mycli"),
        ({**RUN, "usage.command": "(unknown)"}, "mycli (unknown)"),
        ({**RUN, "usage.command": "täglich 報告"}, "mycli täglich 報告"),
        (ACTION, "report.upload"),
        ({"usage.kind": "error", "usage.error": "config.invalid"}, "config.invalid"),
        ({**ACTION, "error.type": "my_app.errors.UploadError"}, "report.upload"),
        (
            {
                "usage.kind": "heartbeat",
                "usage.heartbeat": "alive",
                "usage.field.size": ">=10 MB",
                "usage.field.less": "<0.5 MB",
            },
            "alive",
        ),
        ({**ACTION, "usage.action": "a", "usage.field.choice": "A9 _.:+/@-", "usage.field.no": False}, "a"),
        ({**ACTION, "usage.action": "b", "usage.field.version": "1!2.0+local-x_y", "usage.field.n": -1}, "b"),
    ],
)
def test_a_name_says_what_the_attributes_say(running: Running, attributes: dict[str, object], name: str) -> None:
    """Whatever a span is called, its name on the way out is made of what was checked."""
    gateway, backend = running
    number = 4_000 + len(backend.spans)

    post(gateway.http, "/v1/traces", traces([number], attributes=attributes, name="/home/ada").SerializeToString())
    backend.wait(lambda: number in backend.numbers)

    assert (name, attributes) == (backend.spans[-1][1].name, plain(backend.spans[-1][1].attributes))


@pytest.mark.parametrize(
    "value", ["x" * 65, "6.1 /home/ada", b"6.1", 6, ["6.1"]], ids=["long", "text", "bytes", "number", "list"]
)
def test_a_resource_unlike_ours_is_dropped(running: Running, value: object) -> None:
    """Values of a resource are short words: if one is not, nothing of it passes."""
    gateway, backend = running
    bad = traces([5_000])
    about = attribute(bad.resource_spans[0].resource, "os.version")
    if isinstance(value, bytes):
        about.bytes_value = value
    elif isinstance(value, list):
        about.array_value.values.add(string_value=value[0])
    else:
        setattr(about, "int_value" if isinstance(value, int) else "string_value", value)
    number = 5_001 + len(repr(value))

    assert 200 == post(gateway.http, "/v1/traces", bad.SerializeToString())[0]
    assert 200 == post(gateway.http, "/v1/traces", traces([number]).SerializeToString())[0]
    backend.wait(lambda: number in backend.numbers)

    assert 5_000 not in backend.numbers


def tagged(number: int, length: int) -> bytes:
    """Return how a protobuf field of *length* bytes begins."""
    told = bytes([number << 3 | 2])
    while length > 127:
        told, length = told + bytes([length & 127 | 128]), length >> 7
    return told + bytes([length])


def message(number: int, content: bytes) -> bytes:
    """Return a protobuf field."""
    return tagged(number, len(content)) + content


def lists_in_lists(size: int) -> bytes:
    """Return an OTLP value of some *size* bytes: a list that holds a list that holds …"""
    heads: list[bytes] = []
    length = 0
    while length < size:
        for number in (1, 5):  # ArrayValue.values, AnyValue.array_value
            heads.append(tagged(number, length))
            length += len(heads[-1])
    return b"".join(reversed(heads))


@pytest.mark.parametrize("key", ["usage.field.deep", "usage.options", "other"])
def test_nesting_without_end_is_survived(otelcol: str, tmp_path: Path, key: str) -> None:
    """Lists in lists, as many as a request can hold, do not end the gateway."""
    pair = message(9, message(1, key.encode()) + message(2, lists_in_lists((2 << 20) - 4_096)))
    whole = traces([1], attributes={"usage.kind": "run"} if key == "usage.options" else ACTION).resource_spans[0]
    span = message(2, whole.scope_spans[0].spans[0].SerializeToString() + pair)
    deep = message(1, message(1, whole.resource.SerializeToString()) + message(2, span))
    with Backend() as backend:
        where = f"http://127.0.0.1:{backend.port}"
        with Gateway(otelcol, tmp_path, BACKEND_OTLP_ENDPOINT=where, GATEWAY_MEMORY_MIB="4000") as gateway:
            status = post(gateway.http, "/v1/traces", deep)[0]
            assert 200 == post(gateway.http, "/v1/traces", traces([2]).SerializeToString())[0]
            backend.wait(lambda: 2 in backend.numbers)

    assert 200 == status
    assert {2} <= set(backend.numbers)


def test_a_full_flush_is_taken_and_not_much_more(running: Running) -> None:
    """2,048 runs with a dozen options each, the most that our sender sends at a time, pass; two of those do not."""
    gateway, backend = running
    runs = {**RUN, "usage.options": [f"--some-long-option-{n:02}" for n in range(12)]}
    flush = traces(range(10_000, 12_048), attributes=runs).SerializeToString()

    assert 200 == post(gateway.http, "/v1/traces", flush)[0]
    assert 400 <= post(gateway.http, "/v1/traces", flush + flush)[0] < 500
    backend.wait(lambda: set(range(10_000, 12_048)) <= set(backend.numbers))


def test_small_messages_that_grow_are_bounded(otelcol: str, tmp_path: Path) -> None:
    """A request of empty spans, 100 times as large in memory as on the way, takes what README.md says."""
    told = int(re.findall(r"takes up to (\d+) MiB", (CONFIG / "README.md").read_text())[0])
    empty = message(1, message(2, b"\x12\x00" * ((2 << 20) // 2 - 32)))
    with Backend() as backend:
        where = f"http://127.0.0.1:{backend.port}"
        with Gateway(otelcol, tmp_path, BACKEND_OTLP_ENDPOINT=where) as gateway:
            assert gateway.process is not None
            before = memory_mib(gateway.process.pid, peak=True)
            status = post(gateway.http, "/v1/traces", gzip.compress(empty), {"content-encoding": "gzip"})[0]
            grown = memory_mib(gateway.process.pid, peak=True) - before

    assert status in (200, 503)
    assert grown < told
