"""What both exporters write suits those that their receivers pass it on to: names that stay apart, no lists, who and what."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from otel_usage_exporters.ga4 import translate as ga4
from otel_usage_exporters.named_event import RESERVED_EVENTS, RESERVED_PROPERTIES, snake, title
from otel_usage_exporters.segment.translate import SegmentOptions, translate
from otel_usage_exporters.text import MAX_LIST, flat
from otel_usage_exporters.usage_event import events_from_metrics, events_from_spans

from .servers import action, counter, error, heartbeat, metrics, point, resource, run, span

NOW = 1_795_000_000_123_456_789


def beat(name: str, number: int, **fields: object):
    attributes = {"usage.kind": "heartbeat", "usage.heartbeat": name}
    return span(
        attributes | {f"usage.field.{key}": value for key, value in fields.items()},
        name=name,
        number=number,
        end_ns=NOW,
    )


def of_ga4(spans) -> list[dict]:
    done = ga4.translate(events_from_spans(spans)[0], ga4.GA4Options(), now_ns=NOW)
    return [event for request in done.requests for event in json.loads(request.body(ga4.TAIL))["events"]]


def of_segment(events, options: SegmentOptions | None = None) -> list[dict]:
    done = translate(events, options or SegmentOptions())
    sent = [json.loads(part) for request in done.requests for unit in request.units for part in unit.parts]
    return [message for message in sent if message["type"] == "track"]


def test_two_heartbeats_stay_apart() -> None:
    """Each carries the name that it was declared by, everywhere."""
    spans = [beat("alive", 1, nodes=1), beat("backup.alive", 2, jobs=2)]

    assert [("heartbeat", "alive"), ("heartbeat", "backup.alive")] == [
        (event["name"], event["params"]["heartbeat_name"]) for event in of_ga4(spans)
    ]
    assert [("Heartbeat", "alive"), ("Heartbeat", "backup.alive")] == [
        (message["event"], message["properties"]["heartbeat_name"])
        for message in of_segment(events_from_spans(spans)[0])
    ]
    chosen = of_segment(events_from_spans(spans)[0], SegmentOptions(names={"alive": "Server Alive"}))
    assert ["Server Alive", "Heartbeat"] == [message["event"] for message in chosen]


def test_the_code_of_an_error_is_sent_once() -> None:
    """The span of an error has its code as error.type too, and no vendor gets it twice; another type arrives."""
    [same] = of_segment(events_from_spans([error(end_ns=NOW)])[0])
    attributes = {"usage.kind": "error", "usage.error": "config.invalid", "error.type": "ValueError"}
    [other] = of_segment(events_from_spans([span(attributes, name="config.invalid", end_ns=NOW)])[0])

    assert "error_type" not in same["properties"]
    assert "ValueError" == other["properties"]["error_type"]


@pytest.mark.parametrize(
    ("recorded", "flattened", "altered"),
    [
        ((), [("x_count", 0)], {}),
        (("a",), [("x", "a"), ("x_count", 1)], {}),
        (["a", True, 2, 1.5], [("x", "a,true,2,1.5"), ("x_count", 4)], {}),
        (("a", {}, b"b", None, float("nan")), [("x", "a"), ("x_count", 5)], {"value": 1}),
        (tuple(f"--option-{n:03}" for n in range(64)), [("x", ",".join(f"--option-{n:03}" for n in range(7))), ("x_count", 64)], {"cut": 1}),
        (("x" * 101,), [("x_count", 1)], {"cut": 1}),
        (("x" * 10_000_000,) * 5, [("x_count", 5)], {"cut": 1}),
        ("text", [("x", "text")], {}),
        (False, [("x", False)], {}),
        ({"a": 1}, [], {"value": 1}),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_lists_are_text_and_a_number(recorded: object, flattened: list, altered: dict) -> None:
    """A list is its whole words that every receiver takes, and how many they were; what is lost is counted."""
    counted: Counter[str] = Counter()

    assert (flattened, altered) == (list(flat({"x": recorded}, counted)), dict(counted))
    assert all(len(value) <= MAX_LIST for _, value in flattened if isinstance(value, str))


def test_both_vendors_get_lists_by_one_rule() -> None:
    """Options, and fields that are lists, read the same at both."""
    spans = [run(end_ns=NOW), action(fields={"plugins": ("git", "ssh")}, end_ns=NOW)]
    expected = [{"options": "--format,--quiet", "options_count": 2}, {"plugins": "git,ssh", "plugins_count": 2}]

    for sent in (
        [event["params"] for event in of_ga4(spans)],
        [message["properties"] for message in of_segment(events_from_spans(spans)[0])],
    ):
        assert expected == [{key: of[key] for key in want} for of, want in zip(sent, expected, strict=True)]


def test_every_event_says_what_it_ran_on() -> None:
    """App, version and system stand in each event, in its context and in identify: not all destinations read all three."""
    counts = metrics(counter("usage.count.events.handled", [point(5, end_ns=NOW)]))
    about = {"app": "mycli", "app_version": "1.4.0", "os": "linux", "os_version": "6.8", "arch": "amd64"}
    about |= {"runtime": "cpython", "python": "3.12.4"}
    spans = [run(end_ns=NOW), action(end_ns=NOW), error(end_ns=NOW), heartbeat(end_ns=NOW)]

    for events in (events_from_spans(spans)[0], events_from_metrics(counts)[0]):
        for message in of_segment(events):
            assert about == message["context"]["traits"]
            assert about.items() <= message["properties"].items()


def test_a_field_of_the_same_name_does_not_replace_ours() -> None:
    """A field that a host calls ``os`` or ``app_version`` gets another name, and ours stays."""
    [message] = of_segment(events_from_spans([action(fields={"os": "beos", "app_version": "9"}, end_ns=NOW)])[0])

    assert ("linux", "beos") == (message["properties"]["os"], message["properties"]["os_2"])
    assert ("1.4.0", "9") == (message["properties"]["app_version"], message["properties"]["app_version_2"])


def test_what_is_unknown_is_left_out() -> None:
    """A program that says nothing of itself sends no empty properties, and no empty traits."""
    [message] = of_segment(
        events_from_spans([span({"usage.kind": "action", "usage.action": "a"}, of=resource(version=None))])[0]
    )

    assert "app_version" not in message["properties"]
    assert all(message["context"]["traits"].values())


@pytest.mark.parametrize("name", sorted(RESERVED_EVENTS))
def test_names_that_a_destination_reserves(name: str) -> None:
    """No action has a name of ours, nor one for which RudderStack's GA4 destination refuses the event."""
    declared = name.replace("_", ".")

    assert title(declared) == title(name) == "Event " + " ".join([word.capitalize() for word in name.split("_")])
    assert ga4.event_name(title(declared).lower().replace(" ", "_")) == title(declared).lower().replace(" ", "_")


def test_our_own_names_are_ours() -> None:
    """An action called ``command.run`` is no run, and what says that records were lost is called so."""
    lost = metrics(counter("usage.dropped", [point(5, {"reason": "limit"}, end_ns=NOW)]))

    assert ["Event Command Run"] == [
        message["event"] for message in of_segment(events_from_spans([action(action_name="command.run")])[0])
    ]
    assert ["Usage Dropped"] == [message["event"] for message in of_segment(events_from_metrics(lost)[0])]
    assert "Event Google X" == title("google.x")


@pytest.mark.parametrize("name", sorted(RESERVED_PROPERTIES))
def test_fields_that_mean_money_or_sessions_elsewhere(name: str) -> None:
    """A field's name that a destination gives a type or meaning is sent as another, the same at both vendors."""
    assert f"field_{name}" == snake(name) == snake(name.replace("_", "."))
    assert name in ("revenue", "products") or f"field_{name}" == ga4.param_name(name)


@pytest.mark.parametrize(
    "kind", ["run", "run-failed", "action", "error", "heartbeat", "start", "stop", "crash", "several", "counts"]
)
def test_one_registered_dimension_serves_both_ways_to_ga4(kind: str) -> None:
    """GA4's parameters have the names of Segment's properties: docs/what-arrives.md says so, of the golden files."""
    golden = Path(__file__).parent / "golden"
    sent = json.loads((golden / f"ga4-{kind}.json").read_text())
    bodies = sent if isinstance(sent, list) else [sent]
    names = [set(event["params"]) for body in bodies for event in body["events"]]
    properties = [set(message["properties"]) for message in json.loads((golden / f"segment-{kind}.json").read_text())]

    assert names
    for params, held in zip(names, properties, strict=True):
        assert params - {"session_id", "engagement_time_msec"} <= held
