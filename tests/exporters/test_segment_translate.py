"""From usage events to Segment batches: golden files, and the rules."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from otel_usage_exporters.named_event import snake, timestamp, title
from otel_usage_exporters.segment.translate import SegmentOptions, tail, translate
from otel_usage_exporters.usage_event import events_from_metrics, events_from_spans

from otel_usage.receiver import segment as wire

from .servers import (
    INSTALLATION,
    action,
    counter,
    crash,
    error,
    everything,
    first_run,
    heartbeat,
    histogram,
    metrics,
    point,
    resource,
    run,
    several,
    span,
    start,
    stop,
)

GOLDEN = Path(__file__).parent / "golden"
UPDATE = bool(os.environ.get("UPDATE_GOLDEN"))
NOW = 1_795_000_000_123_456_789


def sent(events, style=None, traits=None):
    """Return the batches for *events*, after Segment's rules agreed."""
    done = translate(events, style or SegmentOptions(), traits=traits)
    bodies = [request.body(tail("wk", NOW)) for request in done.requests]
    for body in bodies:
        assert [] == wire.problems(body)
        assert len(body) <= 475_000
    return [json.loads(body) for body in bodies]


def messages(spans, style=None, traits=None):
    """Return the messages for *spans* but those that identify."""
    batches = sent(events_from_spans(spans, everything())[0], style, traits)
    return [message for batch in batches for message in batch["batch"] if message["type"] == "track"]


def golden(name, found):
    """Compare with the file, or write it: ``UPDATE_GOLDEN=1``."""
    path = GOLDEN / f"{name}.json"
    text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    if UPDATE:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


KINDS = {
    "run": lambda: [run(end_ns=NOW)],
    "run-failed": lambda: [run(code=3, end_ns=NOW)],
    "run-unknown": lambda: [run(code=None, command="(unknown)", end_ns=NOW)],
    "action": lambda: [action(end_ns=NOW)],
    "error": lambda: [error(end_ns=NOW)],
    "heartbeat": lambda: [heartbeat(end_ns=NOW)],
    "start": lambda: [start(end_ns=NOW)],
    "stop": lambda: [stop(end_ns=NOW)],
    "crash": lambda: [crash(end_ns=NOW)],
    "several": lambda: [several(end_ns=NOW)],
    "first_run": lambda: [first_run(end_ns=NOW)],
    "span": lambda: [span({"http.request.method": "GET", "http.response.status_code": 200}, name="GET", end_ns=NOW)],
}


@pytest.mark.parametrize("kind", KINDS)
def test_golden(kind):
    """Each kind of span is written as the file says."""
    golden(f"segment-{kind}", messages(KINDS[kind]()))


def test_golden_counts():
    """Counts, our own drops and run counters are written as the file says."""
    given = metrics(
        counter("usage.count.events.handled", [point(5, {"usage.field.channel": "slack"}, end_ns=NOW)]),
        counter("usage.dropped", [point(2, {"reason": "limit"}, end_ns=NOW)]),
        counter("usage.runs", [point(4, {"usage.command": "scan", "usage.outcome": "success"}, end_ns=NOW)]),
        histogram("usage.run.duration", end_ns=NOW),
    )

    [batch] = sent(events_from_metrics(given, derived=True)[0])

    golden("segment-counts", batch["batch"][1:])


def test_golden_batch():
    """A whole request: an installation is identified before its first event."""
    golden("segment-batch", sent(events_from_spans([run(end_ns=NOW)])[0]))


def test_names_in_segments_style():
    """Declared names become Title Case, fields snake_case, without what compatible servers reject."""
    assert "Report Upload" == title("report.upload")
    assert "Events Handled" == title("eventsHandled")
    assert "A B C" == title("a--b;=/*c")
    assert "Event" == title("...")
    assert "channel_name" == snake("channelName")
    assert "a_b" == snake("a.b")
    assert title("a" * 80 + "b") != title("a" * 80 + "c")
    assert 64 == len(title("a" * 80))


def test_the_schema_can_name_events():
    """``"segment": "Report Uploaded"`` in the schema wins over the rule, for every kind but runs."""
    names = {"report.upload": "Report Uploaded", "config.invalid": "Config Broken"}

    found = messages([action(end_ns=NOW), error(end_ns=NOW), run(end_ns=NOW)], SegmentOptions(names=names))

    assert ["Report Uploaded", "Config Broken", "Command Run"] == [message["event"] for message in found]


def test_the_message_id_is_the_event_id():
    """messageId is the stable event id, so that a message sent twice is one."""
    events, _ = events_from_spans([run(end_ns=NOW)])

    first, again = sent(events), sent(events)

    assert events[0].event_id == first[0]["batch"][1]["messageId"]
    assert first == again


def test_identify_only_when_traits_changed():
    """Known traits are not sent again; a new version of the program is another set of traits."""
    events, _ = events_from_spans([run(1, end_ns=NOW), run(2, end_ns=NOW)])
    newer, _ = events_from_spans([run(3, end_ns=NOW, of=resource(version="2.0"))])

    first = translate(events, SegmentOptions())
    learned = first.requests[0].learned

    assert ["identify", "track", "track"] == [message["type"] for message in sent(events)[0]["batch"]]
    assert [INSTALLATION] == list(learned)
    assert ["track", "track"] == [message["type"] for message in sent(events, traits=learned)[0]["batch"]]
    assert "2.0" == sent(newer, traits=learned)[0]["batch"][0]["traits"]["app_version"]


def test_a_message_keeps_to_32_kb():
    """What is too much for a message goes from its end, counted; ours stays."""
    fields = {f"field{n}": "x\\" * 500 for n in range(100)}
    events, _ = events_from_spans([action(fields=fields, end_ns=NOW)])

    done = translate(events, SegmentOptions())
    message = sent(events)[0]["batch"][1]

    assert 60 < done.altered["properties"] < 100
    assert 40 == message["properties"]["duration_ms"]
    assert len(json.dumps(message, separators=(",", ":"))) > 30_000


def test_batches_are_split_before_they_are_too_large():
    """At most 100 messages and 475 kB per batch, decided before a message is added."""
    small = events_from_spans([run(n, end_ns=NOW) for n in range(1, 251)])[0]
    fields = {f"field{n}": "x" * 900 for n in range(30)}
    large = events_from_spans([action(n, fields=fields, end_ns=NOW) for n in range(1, 51)])[0]

    assert [100, 100, 51] == [len(batch["batch"]) for batch in sent(small)]
    assert [17, 16, 16, 2] == [len(batch["batch"]) for batch in sent(large)]


def test_the_address_is_never_the_users():
    """ip is 0.0.0.0, so that no server fills in the sender's."""
    [message] = messages([run(end_ns=NOW)])

    assert "0.0.0.0" == message["context"]["ip"]
    assert {"library", "ip", "app", "os", "traits"} == set(message["context"])
    assert "0.0.0.0" == message["request_ip"]


def test_times_are_iso_8601():
    """Times are UTC with milliseconds, from 1970 to whatever a clock says."""
    assert "2026-11-18T11:06:40.123Z" == timestamp(NOW)
    assert "1970-01-01T00:00:00.000Z" == timestamp(-5)
    assert "2024-02-29T23:59:59.999Z" == timestamp(1_709_251_199_999_999_999)
    assert "9999-12-31T23:59:59.999Z" == timestamp(2**70)


def test_an_id_that_is_none_becomes_one():
    """An installation id that is too long is replaced by a UUID made of it, the same every time."""
    [first] = messages([run(end_ns=NOW, of=resource(installation="x" * 5_000))])
    [second] = messages([run(end_ns=NOW, of=resource(installation="x" * 5_000))])

    assert first["anonymousId"] == second["anonymousId"]
    assert 36 == len(first["anonymousId"])


def test_times_of_a_wrong_clock_stay_out():
    """What is a day ahead or more is dropped, and of what took more than a year the duration is left out."""
    day = 24 * 3600 * 10**9
    ends = [NOW, NOW + day - 1, NOW + 2 * day, 2**63 - 1]
    spans = [*(run(n, end_ns=end) for n, end in enumerate(ends, 1)), run(9, took_ms=NOW // 10**6, end_ns=NOW)]

    done = translate(events_from_spans(spans)[0], SegmentOptions(), now_ns=NOW)

    assert ({"future": 2}, {2: "future", 3: "future"}) == (done.dropped, done.gone)
    told = [json.loads(part) for request in done.requests for unit in request.units for part in unit.parts]
    tracks = [one["properties"] for one in told if one["type"] == "track"]
    assert [True, True, False] == ["duration_ms" in one for one in tracks]
    assert 1 == done.altered["value"]
