"""From usage events to GA4 requests: golden files, and the rules for what GA4 does not take."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from otel_usage_exporters.ga4.known_as import client_id
from otel_usage_exporters.ga4.translate import (
    TAIL,
    GA4Options,
    event_name,
    param_name,
    translate,
)
from otel_usage_exporters.usage_event import events_from_metrics, events_from_spans

from otel_usage.receiver import ga4 as wire

from .servers import (
    MS,
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
NOW = 1_795_000_000_000_000_000
HOUR = 3_600_000 * MS


def bodies(spans, style=None, *, now_ns=NOW, sessions=None, query="measurement_id=G-AB12&api_secret=x"):
    """Return what is sent for *spans*, after GA4's rules agreed."""
    done = translate(events_from_spans(spans, everything())[0], style or GA4Options(), now_ns=now_ns, sessions=sessions)
    sent = [request.body(TAIL) for request in done.requests]
    for body in sent:
        assert [] == wire.problems(body, query, now_s=now_ns / 1e9)
    return [json.loads(body) for body in sent]


def params_of(one, **more):
    return bodies([one], **more)[0]["events"][-1]["params"]


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
    golden(f"ga4-{kind}", bodies(KINDS[kind]()))


def test_golden_counts():
    """Counts, our own drops and run counters are written as the file says."""
    given = metrics(
        counter("usage.count.events.handled", [point(5, {"usage.field.channel": "slack"}, end_ns=NOW)]),
        counter("usage.dropped", [point(2, {"reason": "limit"}, end_ns=NOW)]),
        counter("usage.runs", [point(4, {"usage.command": "scan", "usage.outcome": "success"}, end_ns=NOW)]),
        histogram("usage.run.duration", end_ns=NOW),
    )
    done = translate(events_from_metrics(given, derived=True)[0], GA4Options(), now_ns=NOW)
    [body] = [request.body(TAIL) for request in done.requests]

    assert [] == wire.problems(body, now_s=NOW / 1e9)
    golden("ga4-counts", json.loads(body))


@pytest.mark.parametrize(
    ("screens", "app", "query"),
    [
        ("page_view", False, "measurement_id=G-AB12&api_secret=x"),
        ("screen_view", True, "firebase_app_id=1:2:ios:a&api_secret=x"),
    ],
)
def test_golden_screens(screens, app, query):
    """A run can come with the view that fills "Pages and screens"; nothing else does."""
    spans = [run(end_ns=NOW), run(5, command="(root)", end_ns=NOW), action(end_ns=NOW)]

    golden(f"ga4-{screens}", bodies(spans, GA4Options(app_stream=app, screens=screens), query=query))


def test_names_are_made_valid():
    """Declared names keep what GA4 takes; reserved names and our own get a prefix; long ones stay apart."""
    assert "report_upload" == event_name("report.upload")
    assert "event_error" == event_name("error")
    assert "event_command_run" == event_name("command.run")
    assert "event_ga_x" == event_name("ga_x")
    assert "event_purchase" == event_name("purchase")
    assert ("event_campaign_details", "event_exception") == (event_name("campaign.details"), event_name("exception"))
    assert "event_first_run" == event_name("first_run")
    assert "event_" == event_name("отчёт")[:6]
    assert "field_value" == param_name("value")
    assert "field_session_id" == param_name("session_id")
    assert "format" == param_name("format")
    assert event_name("a" * 50 + "b") != event_name("a" * 50 + "c")
    assert 40 == len(event_name("a" * 50))


def test_fields_that_collide_stay_apart():
    """Two fields of one clean name both arrive."""
    found = params_of(action(fields={"a.b": 1, "a-b": 2, "app": "x"}, end_ns=NOW))

    assert (1, 2, "x", "mycli") == (found["a_b"], found["a_b_2"], found["app_2"], found["app"])


def test_more_fields_than_fit_are_counted():
    """Beyond 25 parameters fields are dropped, ours never are."""
    events, _ = events_from_spans([action(fields={f"f{n}": n for n in range(60)}, end_ns=NOW)])

    done = translate(events, GA4Options(), now_ns=NOW)

    assert 60 + 5 - 25 == done.altered["params"]
    assert {"session_id", "engagement_time_msec"} <= set(json.loads(done.requests[0].body(TAIL))["events"][0]["params"])


def test_values_are_cut_and_options_only_between_names():
    """A text is cut at 100 characters, counted; the list of options ends with a whole name."""
    long = params_of(action(fields={"text": "x" * 300}, end_ns=NOW))
    many = span({"usage.kind": "run", "usage.options": tuple(f"--option-{n}" for n in range(30))}, end_ns=NOW)

    options = params_of(many)["options"]

    assert "x" * 100 == long["text"]
    assert 80 < len(options) <= 100
    assert all(word.startswith("--option-") for word in options.split(","))


def test_what_is_no_value_is_dropped():
    """NaN, infinity, bytes, maps and huge numbers are dropped; truth values become words."""
    bad = {"a": float("nan"), "b": float("inf"), "c": b"x", "d": {"k": 1}, "e": 10**400, "f": None}
    events, _ = events_from_spans([action(fields={**bad, "ok": True, "list": ("a", 1)}, end_ns=NOW)])

    done = translate(events, GA4Options(), now_ns=NOW)
    found = json.loads(done.requests[0].body(TAIL))["events"][0]["params"]

    assert len(bad) == done.altered["value"]
    assert ("true", "a,1") == (found["ok"], found["list"])


def test_old_events_are_dropped_not_moved():
    """GA4 would move what is older than 72 hours to 72 hours ago; it is dropped and counted instead."""
    spans = [run(1, end_ns=NOW - 73 * HOUR), run(2, end_ns=NOW - 71 * HOUR), run(3, end_ns=NOW + HOUR)]

    done = translate(events_from_spans(spans)[0], GA4Options(), now_ns=NOW)

    assert {"too_old": 1, "future": 1} == done.dropped
    assert [1] == [unit.position for request in done.requests for unit in request.units]


def test_at_most_25_events_and_one_installation_per_request():
    """Requests are split at 25 events, a run and its view together; installations and versions never meet."""
    spans = [run(n, end_ns=NOW - n) for n in range(1, 61)] + [run(99, end_ns=NOW, of=resource(installation="other"))]

    found = bodies(spans, GA4Options(screens="page_view"))

    assert [24, 24, 24, 24, 24, 2] == [len(body["events"]) for body in found]
    assert 2 == len({body["client_id"] for body in found})


def test_actions_share_the_request_of_their_run():
    """What does not say if it ran in CI goes with what does; runs in CI and elsewhere are apart."""
    in_ci = span({"usage.kind": "run", "usage.ci": True}, number=9, end_ns=NOW)

    assert 1 == len(bodies([run(end_ns=NOW), action(end_ns=NOW), error(end_ns=NOW)]))
    assert 3 == len(bodies([run(end_ns=NOW), in_ci, action(end_ns=NOW)]))


def test_a_session_ends_after_half_an_hour():
    """Events less than 30 minutes apart share a session, numbered after its first; what was learned counts."""
    minute = 60 * 10**9
    spans = [run(n, end_ns=NOW + (n - 200) * minute) for n in (1, 20, 45, 80)]

    [body] = bodies(spans)
    numbers = [event["params"]["session_id"] for event in body["events"]]
    done = translate(events_from_spans(spans)[0], GA4Options(), now_ns=NOW)
    later = bodies([run(9, end_ns=NOW - 100 * minute)], sessions=done.learned)

    assert numbers[0] == numbers[1] == numbers[2] != numbers[3]
    assert (NOW - 199 * minute) // 10**9 == numbers[0]
    assert [numbers[3]] == [event["params"]["session_id"] for event in later[0]["events"]]


def test_user_properties_are_as_old_as_the_newest_event_of_their_request():
    """So the version that was used last wins, whatever comes last: here v1, which was used before v2 and after it."""
    runs = [(HOUR * 50, "1.0"), (HOUR, "2.0"), (0, "1.0")]
    spans = [run(n, end_ns=NOW - age, of=resource(version=version)) for n, (age, version) in enumerate(runs, 1)]

    times = {
        body["user_properties"]["app_version"]["value"]: body["timestamp_micros"] * 1_000 for body in bodies(spans)
    }

    assert {"1.0": NOW, "2.0": NOW - HOUR} == times
    assert [NOW - 1_000, NOW] == [
        body["timestamp_micros"] * 1_000
        for body in bodies([run(n, end_ns=NOW - (n < 26) * 1_000) for n in range(1, 31)])
    ]


def test_debug_marks_every_event_and_its_absence_none():
    """Any debug_mode, false too, would turn debugging on."""
    spans = [run(end_ns=NOW), error(end_ns=NOW)]

    marked = bodies(spans, GA4Options(screens="page_view", debug=True))[0]["events"]

    assert [1, 1, 1] == [event["params"]["debug_mode"] for event in marked]
    assert not any("debug_mode" in event["params"] for event in bodies(spans)[0]["events"])


def test_text_of_blanks_only_is_left_out():
    """It says nothing, and would be a row of its own in a report."""
    blank = span({"usage.kind": "action", "usage.action": "x", "usage.field.x": " "}, end_ns=NOW, of=blank_resource())

    [body] = bodies([blank])

    assert "x" not in body["events"][0]["params"]
    assert ("os_version" in body["user_properties"], body["device"]) == (False, {"operating_system": "Linux"})


def blank_resource():
    return resource().merge(type(resource())({"os.version": " "}))


def test_client_ids_are_of_the_recommended_form():
    """Two positive numbers with a period, the same for the same installation; 32 hex digits for app streams."""
    assert client_id("x") == client_id("x") != client_id("y")
    assert all(0 < int(part) < 2**31 for part in client_id("x").split("."))
    assert 32 == len(client_id("x", app_stream=True))


def test_nothing_says_where_the_user_is():
    """No user_data, user_location, ip_override, user_agent or user_id; consent is denied."""
    [body] = bodies([run(end_ns=NOW)])

    assert {"client_id", "consent", "user_properties", "device", "timestamp_micros", "events"} == set(body)
    assert {"ad_user_data": "DENIED", "ad_personalization": "DENIED"} == body["consent"]
