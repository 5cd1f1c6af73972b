"""From usage events to the requests of each vendor of named events: golden files, and the rules that are of all."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from otel_usage_exporters.named_event import timestamp, traits_of
from otel_usage_exporters.segment.translate import SegmentOptions
from otel_usage_exporters.segment.translate import translate as to_segment
from otel_usage_exporters.span_choice import SpanChoice
from otel_usage_exporters.usage_event import Origin, UsageEvent, events_from_metrics, events_from_spans

from .named_vendors import NAMED, NOW
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
    span,
    start,
    stop,
)

GOLDEN = Path(__file__).parent / "golden"
UPDATE = bool(os.environ.get("UPDATE_GOLDEN"))
HOUR = 3_600 * 10**9
every_vendor = pytest.mark.parametrize("of", NAMED.values(), ids=NAMED)

KINDS = {
    "run": lambda: run(end_ns=NOW),
    "run-failed": lambda: run(5, code=3, end_ns=NOW),
    "run-unknown": lambda: run(6, code=None, command="(unknown)", end_ns=NOW),
    "action": lambda: action(end_ns=NOW),
    "error": lambda: error(end_ns=NOW),
    "heartbeat": lambda: heartbeat(end_ns=NOW),
    "first-run": lambda: first_run(8, end_ns=NOW),
    "start": lambda: start(9, end_ns=NOW),
    "stop": lambda: stop(10, end_ns=NOW),
    "crash": lambda: crash(11, end_ns=NOW),
    "span": lambda: span(
        {"http.request.method": "GET", "http.response.status_code": 200}, name="GET", number=7, end_ns=NOW
    ),
}


def golden(name, value):
    """Compare with the file, or write it: ``UPDATE_GOLDEN=1``."""
    path = GOLDEN / f"{name}.json"
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    if UPDATE:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def events_of(*spans, choice=None):
    return events_from_spans(spans, choice or everything())[0]


@every_vendor
def test_golden(of):
    """Each kind of record is written as the file says, and so is what stands around them."""
    counts = metrics(
        counter("usage.count.events.handled", [point(5, {"usage.field.channel": "slack"}, end_ns=NOW)]),
        counter("usage.dropped", [point(2, {"reason": "limit"}, end_ns=NOW)]),
        counter("usage.runs", [point(4, {"usage.command": "scan", "usage.outcome": "success"}, end_ns=NOW)]),
        histogram("usage.run.duration", end_ns=NOW),
    )
    kinds = {kind: of.events(events_of(make()))[0] for kind, make in KINDS.items()}
    names = ("count", "lost-records", "run-counter", "run-duration")

    kinds |= dict(zip(names, of.events(events_from_metrics(counts, derived=True)[0]), strict=True))

    golden(f"{of.vendor}-events", kinds)
    golden(f"{of.vendor}-request", of.bodies(events_of(run(end_ns=NOW))))


@every_vendor
def test_names_and_properties_are_segments(of):
    """A report is built alike at each vendor: same names, same properties, and besides them only the vendor's own."""
    events = events_of(*[make() for make in KINDS.values()])
    [request] = to_segment(events, SegmentOptions()).requests
    messages = [json.loads(unit.parts[-1]) for unit in request.units]

    sent = of.events(events)

    assert [message["event"] for message in messages] == [of.name(event) for event in sent]
    for message, event in zip(messages, sent, strict=True):
        assert message["properties"].items() <= of.properties(event).items()


@every_vendor
def test_a_repetition_is_the_same(of):
    """Id, time and who are those of the event, however often and however late it is sent: a vendor merges by them."""
    events = events_of(run(end_ns=NOW), action(end_ns=NOW - HOUR))

    first, again = of.events(events), of.events(events, now_ns=NOW + HOUR)

    assert sorted(map(str, first)) == sorted(map(str, again))
    assert {event.event_id for event in events} == {of.id(event) for event in first}
    assert {NOW // 10**6, (NOW - HOUR) // 10**6} == {of.time_ms(event) for event in first}


@every_vendor
def test_who_the_client_is(of):
    """The installation's id as it is; a word that the vendor refuses, or an odd id, becomes a UUID; one set for all wins."""
    [installed] = of.events(events_of(run(end_ns=NOW)))
    odd = [events_of(run(end_ns=NOW, of=resource(installation=text))) for text in (of.refused, "ж" * 300, "")]

    assert INSTALLATION == of.who(installed)
    assert all(36 == len(of.who(of.events(events)[0])) for events in odd)
    assert "all-of-us" == of.who(of.events(events_of(run(end_ns=NOW)), **{of.one: "all-of-us"})[0])


@every_vendor
def test_names_that_the_host_chose(of):
    """What the schema or ``names`` calls an event wins over the rule, for every kind but runs."""
    names = {"report.upload": "Report Uploaded", "config.invalid": "Config Broken"}

    sent = of.events(events_of(action(end_ns=NOW), error(end_ns=NOW), run(end_ns=NOW)), names=names)

    assert ["Report Uploaded", "Config Broken", "Command Run"] == [of.name(event) for event in sent]


@every_vendor
def test_whose_spans_are(of):
    """A user's pseudonym is the client; the id itself leaves only where the settings say so."""
    about = {"usage.kind": "action", "usage.action": "a", "enduser.id": "ada"}
    hashed = SpanChoice(user=["enduser.id"], user_key="k" * 16)
    raw = SpanChoice(user=["enduser.id"], raw_user=True)

    [pseudonym] = of.events(events_of(span(about, end_ns=NOW), choice=hashed))
    [named] = of.events(events_of(span(about, end_ns=NOW), choice=raw))

    assert 32 == len(of.who(pseudonym))
    assert '"ada"' not in json.dumps(pseudonym)
    assert '"ada"' in json.dumps(named)


@every_vendor
def test_times_beyond_reason(of):
    """What is two days ahead is dropped and counted; so is nothing that is merely in another order."""
    events = events_of(run(1, end_ns=NOW + 48 * HOUR), run(2, end_ns=NOW), run(3, end_ns=NOW - HOUR))

    translation = of.translate(events, of.options(), now_ns=NOW)

    assert {"future": 1} == translation.dropped
    assert {0: "future"} == translation.gone
    assert [1, 2] == sorted(unit.position for request in translation.requests for unit in request.units)


@every_vendor
def test_an_event_keeps_to_its_size_and_number(of):
    """What is too much for an event goes from its end, counted; ours stays."""
    fields = {f"field{n}": "x\\" * 500 for n in range(300)}

    [event] = of.events(events_of(action(fields=fields, end_ns=NOW)))
    altered = of.translate(events_of(action(fields=fields, end_ns=NOW)), of.options(), now_ns=NOW).altered

    assert altered["properties"] > 50
    assert 40 == of.properties(event)["duration_ms"]
    assert len(of.properties(event)) < 256


@every_vendor
def test_requests_are_split_before_they_are_too_large(of):
    """By number and by size, decided before an event is added; every event is in exactly one."""
    fields = {f"field{n}": "x" * 900 for n in range(60)}
    small = events_of(*[run(n, end_ns=NOW) for n in range(1, 2_101)])
    large = events_of(*[action(n, fields=fields, end_ns=NOW) for n in range(1, 200)])

    for events in (small, large):
        translation = of.translate(events, of.options(), now_ns=NOW)
        assert [] == [p for request in translation.requests[-2:] for p in of.problems(request.body(of.tail()))]
        counts = Counter(unit.position for request in translation.requests for unit in request.units)
        assert dict.fromkeys(range(len(events)), 1) == counts
        assert len(translation.requests) > 1


@every_vendor
def test_kinds_that_are_not_known_here(of):
    """A kind that is new has its declared name and its fields."""
    event = UsageEvent(0, "rehearsal", "stage.left", "0" * 8 + "-0000-5000-8000-" + "0" * 12, Origin("a"), NOW, NOW)

    [sent] = of.events([event])

    assert "Stage Left" == of.name(sent)


def test_posthog_keeps_a_profile_only_if_asked():
    """Without the setting no profile, with it what describes the installation; never in CI."""
    of = NAMED["posthog"]
    in_ci = Origin("mycli", ci_system="github", installation_id="ci.github")
    [plain] = of.events(events_of(run(end_ns=NOW)))
    [profiled] = of.events(events_of(run(end_ns=NOW)), person_profiles=True)
    ci = UsageEvent(0, "run", "mycli", INSTALLATION, in_ci, NOW, NOW)

    assert plain["properties"]["$process_person_profile"] is False
    assert "$process_person_profile" not in profiled["properties"]
    assert "1.4.0" == profiled["properties"]["$set"]["app_version"]
    assert of.events([ci], person_profiles=True)[0]["properties"]["$process_person_profile"] is False


def test_posthog_is_told_what_is_late():
    """What is more than a day old goes into batches of their own, as history; its bytes are else the same."""
    of = NAMED["posthog"]
    events = events_of(run(1, end_ns=NOW - 30 * HOUR), run(2, end_ns=NOW), run(3, end_ns=NOW - 25 * HOUR))

    late, current = of.bodies(events)

    assert late["historical_migration"] is True
    assert "historical_migration" not in current
    assert [2, 1] == [len(late["batch"]), len(current["batch"])]


def test_posthog_groups():
    """With ``groups``, the installation and the cluster of a service; of a user's events the service's installation."""
    of = NAMED["posthog"]
    about = resource()
    about._attributes = {**about.attributes, "k8s.cluster.uid": "c-1"}
    attributes = {"usage.kind": "action", "usage.action": "a", "enduser.id": "ada"}
    user = SpanChoice(user=["enduser.id"], user_key="k" * 16)

    [service] = of.events(events_of(action(end_ns=NOW, of=about)), groups=True)
    [users] = of.events(events_of(span(attributes, end_ns=NOW, of=about), choice=user), groups=True)
    [without] = of.events(events_of(action(end_ns=NOW, of=about)))

    assert {"installation": INSTALLATION, "cluster": "c-1"} == service["properties"]["$groups"]
    assert {"installation": INSTALLATION, "cluster": "c-1"} == users["properties"]["$groups"]
    assert INSTALLATION != users["distinct_id"]
    assert "$groups" not in without["properties"]


def test_posthog_error_tracking():
    """With ``exceptions`` an error is what error tracking groups by: its declared code, and no text."""
    of = NAMED["posthog"]

    [sent] = of.events(events_of(error(end_ns=NOW)), exceptions=True)
    [again] = of.events(events_of(error(9, end_ns=NOW)), exceptions=True)

    assert "$exception" == sent["event"]
    [exception] = sent["properties"]["$exception_list"]
    assert ("config.invalid", "") == (exception["type"], exception["value"])
    assert again["properties"]["$exception_fingerprint"] == sent["properties"]["$exception_fingerprint"]


def test_posthog_error_tracking_of_crashes():
    """A crash is an issue for each class or signal, and for each place in the program, as far as that is known."""
    of = NAMED["posthog"]

    def crash(error_type, **fields):
        about = Origin("app", installation_id=INSTALLATION)
        event = UsageEvent(0, "crash", "crash", INSTALLATION, about, NOW, NOW, error_type=error_type, fields=fields)
        [sent] = of.events([event], exceptions=True)
        return sent["properties"]

    one, same = crash("OSError", frames="a"), crash("OSError", frames="a")
    other, signal = crash("OSError"), crash("", signal="SIGSEGV")

    [exception] = one["$exception_list"]
    assert ("OSError", False) == (exception["type"], exception["mechanism"]["handled"])
    assert "SIGSEGV" == signal["$exception_list"][0]["type"]
    assert one["$exception_fingerprint"] == same["$exception_fingerprint"]
    assert 3 == len({each["$exception_fingerprint"] for each in (one, other, signal)})


def test_fields_with_names_that_posthog_looks_for():
    """A host's field ``token`` is no key, and ``distinct_id`` nobody."""
    fields = {"token": "x", "distinct_id": "y", "$ip": "z"}

    [sent] = NAMED["posthog"].events(events_of(action(fields=fields, end_ns=NOW)))

    assert {"field_token": "x", "field_distinct_id": "y", "ip": "z"}.items() <= sent["properties"].items()


def test_timestamps_of_every_size():
    """A time before 1970 or after 9999 is the end of what can be written."""
    assert "1970-01-01T00:00:00.000Z" == timestamp(-5)
    assert "9999-12-31T23:59:59.999Z" == timestamp(2**80)
    assert {} == traits_of(Origin())
