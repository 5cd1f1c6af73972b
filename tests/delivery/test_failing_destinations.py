"""A destination that fails, refuses or does not answer: what is sent again, when, and what is dropped."""

from __future__ import annotations

import json
import os
import socket
import time

import pytest

from otel_usage.delivery.queue import Queue
from otel_usage.delivery.verdict import parse_retry_after

from ..spools import Sink, Spool, results


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_be_retried_is_sent_again_with_the_same_ids(spool: Spool, sink: Sink, status: int) -> None:
    """The official exporter gives up; the segment stays, the destination is left alone, and gets it later."""
    sink.answer = lambda _n: (status, {"Retry-After": "77"}, b"")
    own = spool.run()
    before = time.time()

    spool.drain()

    queue = Queue(str(spool.folder), "otlp")
    assert 2 == len(queue.list_waiting())
    assert before + 76 <= queue.paused_until_s(before) <= time.time() + 78
    asked = len(sink.told)
    spool.drain()
    assert asked == len(sink.told)  # paused
    sink.answer = lambda _n: (200, {}, b"")
    queue.resume()
    spool.drain()
    assert [own] == sink.ids()[-1:]
    assert [] == spool.files()


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_what_may_not_be_retried_is_dropped_and_counted(spool: Spool, sink: Sink, status: int) -> None:
    """What the receiver has read and refuses for good; the loss is reported with the next batch."""
    sink.answer = lambda _n: (status, {}, b"")
    spool.run()
    spool.drain()
    assert [] == spool.files()

    sink.answer = lambda _n: (200, {}, b"")
    spool.run(command="b")
    spool.drain()

    assert 3 == sink.points()[("usage.dropped", "rejected")]  # the span, the counter and the histogram
    assert ("traces", "dropped", status) in results(spool)


def test_a_redirect_is_a_failure(spool: Spool, sink: Sink) -> None:
    """Data goes where the host said, and nowhere else; a redirect is not success either, and what was sent waits."""
    other = Sink()
    sink.answer = lambda _n: (302, {"Location": other.address + "/v1/traces"}, b"")
    spool.run()

    spool.drain()

    other.close()
    assert [] == other.told
    assert ("traces", "retry", 302) in results(spool)


def test_partial_success_counts_what_was_rejected(spool: Spool, sink: Sink) -> None:
    """200 with rejected spans: not sent again, and counted."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    told = ExportTraceServiceResponse()
    told.partial_success.rejected_spans = 1
    text = told.SerializeToString()
    sink.answer = lambda n: (200, {}, text if sink.told[n][0] == "/v1/traces" else b"")
    spool.run()

    spool.drain()

    assert {"rejected": 1} == json.loads((spool.folder / "dropped").read_text())
    assert [] == spool.files()


def test_nobody_listens(spool: Spool, sink: Sink) -> None:
    """A refused connection: everything waits, the breaker opens for hosts too, and a healthy day brings it all."""
    address = sink.address
    sink.close()
    own = spool.run()
    spool.drain()
    assert 2 == len(spool.files())
    assert os.stat(spool.folder / "wake").st_mtime > time.time() + 20

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
    revived = Sink()
    spool.settings["destinations"] = {"otlp": revived.address}
    assert address != revived.address
    Queue(str(spool.folder), "otlp").resume()
    spool.drain()

    revived.close()
    assert [own] == revived.ids()


def test_pauses_grow_and_end(spool: Spool) -> None:
    """Each failure doubles the pause, up to six hours; a success forgets them; a far future is a clock jump."""
    queue = Queue(str(spool.folder), "otlp")
    queue.make_folders()
    pauses = []
    for _ in range(12):
        queue.pause(1000.0, None, 1.0)
        pauses.append(queue.paused_until_s(1000.0) - 1000.0)

    assert [60.0, 120.0, 240.0, 480.0] == pauses[:4]
    assert 6 * 3600.0 == pauses[-1]
    assert 0.0 == queue.paused_until_s(1000.0 - 90_000)
    queue.resume()
    assert 0 == queue.failures()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5", 5.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("9" * 40, 86_400.0),
        ("-5", None),
        ("1.5", None),
        ("1e99", None),
        ("nan", None),
        ("٣", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    """Whole seconds within reason; what makes no sense asks for nothing."""
    assert seconds == parse_retry_after(header)


def test_retry_after_takes_dates() -> None:
    """The other form of the header."""
    assert 86_400.0 == parse_retry_after("Fri, 31 Dec 2100 23:59:59 GMT")
    assert 0.0 == parse_retry_after("Fri, 31 Dec 1999 23:59:59 GMT")
    assert 30.0 == parse_retry_after("Thu, 01 Jan 1970 00:01:00 GMT", now_s=30.0)
    assert 30.0 == parse_retry_after("Thu, 01 Jan 1970 00:01:00 -0000", now_s=30.0)  # UTC wherever we are


def test_one_failing_destination_does_not_hold_up_another(spool: Spool, sink: Sink) -> None:
    """The console gets its records while the OTLP receiver is down; the receiver's wait for it alone."""
    sink.answer = lambda _n: (503, {"Retry-After": "60"}, b"")
    spool.settings["destinations"] = {"otlp": sink.address, "console": {}}
    spool.run()

    out = spool.drain_apart()

    assert "report upload" in out
    assert {"queue/otlp"} == {os.path.dirname(os.path.dirname(name)) for name in spool.files()}
