"""Amplitude's rules, each named when it is broken, and what its servers would answer."""

from __future__ import annotations

import json

import pytest

from otel_usage.receiver import amplitude

from .test_vendor_rules import changed

EVENT = {
    "device_id": "0a0b0c0d-1111",
    "event_type": "Command Run",
    "time": 1_795_000_000_000,
    "insert_id": "1a0b0c0d-1111",
    "event_properties": {"command": "scan"},
    "library": "x/1",
}
BODY = {"api_key": "k", "events": [EVENT]}
JSON = {"Content-Type": "application/json"}
ONE = ("events", 0)
OF = (*ONE, "event_properties")
RULES = [
    (("api_key",), ..., "there is none", 400),
    (("events",), [], "must be a list", 400),
    (("events",), [EVENT, EVENT], "insert_id twice", 200),
    (("events",), [EVENT] * 2_001, "more than 2000", 413),
    (("extra",), 1, "no such field", 200),
    (ONE, "x", "must be an object", 400),
    ((*ONE, "event_type"), ..., "is missing", 400),
    ((*ONE, "event_type"), "$identify", "none of Amplitude's own", 400),
    ((*ONE, "event_type"), "[Amplitude] X", "none of Amplitude's own", 400),
    ((*ONE, "device_id"), ..., "is missing", 400),
    ((*ONE, "device_id"), "abc", "5 characters or more", 400),
    ((*ONE, "device_id"), "Unknown", "stands for nobody", 400),
    ((*ONE, "user_id"), "abc", "5 characters or more", 400),
    ((*ONE, "time"), 1.5, "Unix milliseconds", 400),
    ((*ONE, "insert_id"), ..., "a second event", 200),
    ((*ONE, "ip"), "1.2.3.4", "must not be sent", 200),
    ((*ONE, "hostname"), "x", "no such field", 200),
    ((*ONE, "os_name"), 7, "must be text", 400),
    (OF, [], "must be an object", 400),
    ((*OF, "camelCase"), 1, "snake_case", 200),
    ((*OF, "nested"), {"a": 1}, "must be text", 200),
    ((*OF, "long"), "x" * 1_025, "at most 1024", 200),
    ((*OF, "huge"), "x" * 1_000_000, "too many", 413),
]


def answer(payload, path="/2/httpapi", headers=JSON):
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return amplitude.answer(path, headers, body)


def test_good_requests_have_no_problems():
    """The request that all rules below start from is good, at both addresses; min_id_length allows short ids."""
    short = {**changed(BODY, (*ONE, "device_id"), "a"), "options": {"min_id_length": 1}}

    for payload, path in ((BODY, "/2/httpapi"), (BODY, "/batch"), (short, "/batch")):
        assert (200, []) == answer(payload, path)[::3]
    assert [("2026-11-18T11:06:40+00:00", "Command Run", {"command": "scan"})] == list(amplitude.events_of(BODY))


@pytest.mark.parametrize(("path", "value", "problem", "status"), RULES, ids=lambda value: str(value)[:30])
def test_each_rule_is_named_when_broken(path, value, problem, status):
    """One change, and the rule it breaks is named; the status is what Amplitude says."""
    answered, _, _, broken = answer(changed(BODY, path, value))

    assert any(problem in line for line in broken), broken
    assert status == answered


def test_bad_events_are_named_by_their_place():
    """By field, for the two reasons that there are."""
    untimed, nameless = {**EVENT, "insert_id": "2", "time": "x"}, {**EVENT, "insert_id": "3", "event_type": ""}

    _, _, says, _ = answer({**BODY, "events": [EVENT, untimed, nameless]})

    refusal = json.loads(says)
    assert {"time": [1]} == refusal["events_with_invalid_fields"]
    assert {"event_type": [2]} == refusal["events_with_missing_fields"]


@pytest.mark.parametrize(
    ("payload", "path", "headers", "status"),
    [
        (b"nonsense", "/2/httpapi", JSON, 400),
        (b"[]", "/2/httpapi", JSON, 400),
        (BODY, "/2/httpapi", {"Content-Type": "text/plain"}, 200),
        (BODY, "/batch/", JSON, 404),
        (BODY, "/identify", JSON, 404),
    ],
)
def test_what_is_no_request(payload, path, headers, status):
    """What is not JSON of an object is refused, the wrong type is named, and other paths are others'."""
    answered, _, _, broken = answer(payload, path, headers)

    assert broken
    assert status == answered
