"""From usage events to the bulk requests of the vendors of visits: golden files, and what a person sees of each kind."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from otel_usage_exporters.named_event import snake
from otel_usage_exporters.span_choice import SpanChoice
from otel_usage_exporters.usage_event import Origin, UsageEvent, events_from_metrics, events_from_spans
from otel_usage_exporters.visitor import visitor_id

from .named_vendors import NOW, VISITS
from .servers import INSTALLATION, action, counter, error, everything, metrics, point, resource, run, span
from .test_named_translate import HOUR, KINDS, events_of, golden
from .test_translate_properties import check_named, hostile_spans

every_vendor = pytest.mark.parametrize("of", VISITS.values(), ids=VISITS)
DIMENSIONS = {"outcome": 1, "exit_code": 2, "app_version": 3, "ci": 4, "options": 5, "format": 6}


@every_vendor
def test_golden_visits(of):
    """Each kind of record is written as the file says, with and without custom dimensions."""
    counts = metrics(
        counter("usage.count.events.handled", [point(5, {"usage.field.channel": "slack"}, end_ns=NOW)]),
        counter("usage.dropped", [point(2, {"reason": "limit"}, end_ns=NOW)]),
        counter("usage.runs", [point(4, {"usage.command": "scan", "usage.outcome": "success"}, end_ns=NOW)]),
    )
    kinds = {kind: of.events(events_of(make()))[0] for kind, make in KINDS.items()}
    names = ("count", "lost-records", "run-counter")

    kinds |= dict(zip(names, of.events(events_from_metrics(counts, derived=True)[0]), strict=True))

    golden(f"{of.vendor}-events", kinds)
    golden(f"{of.vendor}-request", of.bodies(events_of(run(end_ns=NOW)), dimensions=DIMENSIONS))


@every_vendor
def test_the_command_tree_is_the_tree_of_pages(of):
    """The path of the address, below the program; how a run failed is in the title; no host, and no word of any other kind."""
    sent = of.events(events_of(run(end_ns=NOW), run(5, code=3, end_ns=NOW), run(6, command="a/b ж", end_ns=NOW)))

    assert [
        ("https://cli.invalid/mycli/report/upload", "report upload"),
        ("https://cli.invalid/mycli/report/upload", "report upload (failure)"),
        ("https://cli.invalid/mycli/a%2Fb/%D0%B6", "a/b ж"),
    ] == [(each["url"], each["action_name"]) for each in sent]


@every_vendor
def test_how_it_failed_stays_in_the_title_of_a_long_command(of):
    """The command gives way, so that the title is within its limit."""
    [sent] = of.events(events_of(run(code=3, command="x" * 245, end_ns=NOW)))

    assert "x" * 240 + " (failure)" == sent["action_name"]


@every_vendor
def test_events_have_category_action_name_and_value(of):
    """A duration in milliseconds or a count is the value; an error's code is the action."""
    about = Origin("mycli", installation_id=INSTALLATION)
    crash = UsageEvent(0, "crash", "crash", INSTALLATION, about, NOW, NOW, error_type="OSError")
    counts = metrics(counter("usage.count.hits", [point(2.5, {}, end_ns=NOW)]))

    sent = [
        *of.events(events_of(action(end_ns=NOW), error(end_ns=NOW))),
        *of.events([crash]),
        *of.events(events_from_metrics(counts)[0]),
    ]

    assert [
        ("Action", "Report Upload", None, "40"),
        ("CLI Error", "config.invalid", None, None),
        ("Service", "Service Crash", "OSError", None),
        ("Count", "Hits", None, "2.5"),
    ] == [tuple(map(each.get, ("e_c", "e_a", "e_n", "e_v"))) for each in sent]


@every_vendor
def test_dimensions_are_those_of_the_settings(of):
    """A property that is chosen has its number; all others stay away, and what an event has not is not sent empty."""
    [sent] = of.events(events_of(run(end_ns=NOW)), dimensions=DIMENSIONS)
    [other] = of.events(events_of(action(fields={"format": "x" * 300}, end_ns=NOW)), dimensions=DIMENSIONS)
    [without] = of.events(events_of(run(end_ns=NOW)))

    dimensions = {key: text for key, text in sent.items() if key.startswith("dimension")}
    assert dict(zip(range(1, 6), ("success", "0", "1.4.0", "false", "--format,--quiet"), strict=True)) == {
        int(key[9:]): text for key, text in dimensions.items()
    }
    assert {"dimension3": "1.4.0", "dimension6": "x" * 250} == {k: v for k, v in other.items() if k[:4] == "dime"}
    assert "dimension" not in str(without)


@every_vendor
def test_who_the_visitor_is(of):
    """A digest of the installation's id, another at each vendor, and not the id; a user's own id only where it may leave."""
    about = {"usage.kind": "action", "usage.action": "a", "enduser.id": "ada"}
    hashed, raw = SpanChoice(user=["enduser.id"], user_key="k" * 16), SpanChoice(user=["enduser.id"], raw_user=True)

    [installed] = of.events(events_of(run(end_ns=NOW)))
    [odd] = of.events(events_of(run(end_ns=NOW, of=resource(installation="ж\ud800" * 300))))
    [one] = of.events(events_of(run(end_ns=NOW)), visitor_id="0123456789abcdef")
    [pseudonym] = of.events(events_of(span(about, end_ns=NOW), choice=hashed))
    [named] = of.events(events_of(span(about, end_ns=NOW), choice=raw))

    assert visitor_id(of.vendor, INSTALLATION) == installed["_id"]
    assert len(VISITS) == len({visitor_id(vendor, INSTALLATION) for vendor in VISITS})
    assert INSTALLATION not in str(installed)
    assert "0123456789abcdef" == one["_id"]
    assert 4 == len({each["_id"] for each in (installed, odd, one, pseudonym)})
    assert ("ada", None) == (named.get("uid"), pseudonym.get("uid"))


@every_vendor
def test_times_of_visits(of):
    """In order; a little ahead is now, counted; two days ahead, and a day ago, is dropped, counted."""
    ends = (NOW - HOUR, NOW - 2 * HOUR, NOW + HOUR, NOW + 48 * HOUR, NOW - 24 * HOUR)
    events = events_of(*[run(n, end_ns=end) for n, end in enumerate(ends)])

    sent = of.events(events)
    translation = of.translate(events, of.options(), now_ns=NOW)

    assert [(NOW + hours * HOUR) // 10**9 for hours in (-2, -1, 0)] == [int(each["cdt"]) for each in sent]
    assert {3: "future", 4: "too_old"} == translation.gone
    assert {"future": 1, "too_old": 1} == translation.dropped
    assert {"time": 1} == translation.altered


@every_vendor
def test_requests_of_visits_are_split(of):
    """By number and by size, decided before a request is added; each record is in exactly one."""
    small = events_of(*[run(n, end_ns=NOW) for n in range(1, 501)])
    large = events_of(*[action(n, fields={"a": "ж" * 80}, end_ns=NOW, action_name="ж" * 80) for n in range(1, 501)])

    for events in (small, large):
        translation = of.translate(events, of.options(dimensions={"a": 1}), now_ns=NOW)
        bodies = [request.body(of.tail()) for request in translation.requests]
        assert [] == [problem for body in bodies for problem in of.problems(body)]
        assert max(map(len, bodies)) < 500_100
        assert 3 == len(bodies)
        assert sorted(event.position for event in events) == sorted(
            unit.position for request in translation.requests for unit in request.units
        )


@every_vendor
def test_values_that_are_no_numbers_for_them(of):
    """A count beyond 2**53 is a float, if not too large for Piwik PRO; a duration beyond a year is left out; both are counted."""
    about = Origin("mycli", installation_id=INSTALLATION)
    many = UsageEvent(0, "count", "hits", INSTALLATION, about, NOW, NOW, count=2**62)
    long = UsageEvent(1, "action", "wait", INSTALLATION, about, 1, NOW)

    translation = of.translate([many, long], of.options(), now_ns=NOW)

    assert {"value": 2 if of.vendor == "piwik_pro" else 1} == translation.altered
    assert [] == [p for request in translation.requests for p in of.problems(request.body(of.tail()))]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.lists(hostile_spans(), max_size=2))
def test_nothing_invalid_leaves_in_dimensions(spans):
    """Whatever spans hold, with dimensions chosen of it, the rules agree with what is sent."""
    events = events_from_spans(spans, everything())[0]
    names = sorted({snake(name) for event in events for name in event.fields})[:50]
    dimensions = {**DIMENSIONS, **{name: number for number, name in enumerate(names, 7)}}

    for of in VISITS.values():
        check_named(replace(of, options=partial(of.options, dimensions=dimensions)), events)


def test_matomo_with_a_token_takes_what_is_older():
    """Ten days, and not 21 years; the bytes of the token are not in what is translated."""
    of = VISITS["matomo"]
    events = events_of(run(1, end_ns=NOW - 240 * HOUR), run(2, end_ns=NOW - 21 * 366 * 24 * HOUR))

    translation = of.translate(events, of.options(with_token=True), now_ns=NOW)

    assert {1: "too_old"} == translation.gone
    assert {"requests", "token_auth"} == set(json.loads(translation.requests[0].body(b'],"token_auth":"t"}')))
