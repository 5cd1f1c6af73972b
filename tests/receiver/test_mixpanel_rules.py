"""Mixpanel's rules, each named when it is broken, and what its servers would answer."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from otel_usage.receiver import mixpanel

from .test_vendor_rules import changed

NOW_S = 1_795_000_000.0
NOW_MS = int(NOW_S * 1000)
EVENT = {
    "event": "Command Run",
    "properties": {
        "time": NOW_MS,
        "distinct_id": "0a0b0c0d",
        "$insert_id": "1a0b0c0d-1111",
        "token": "t",
        "command": "scan",
    },
}
TRACK = "/track?ip=0&verbose=1"
IMPORT = "/import?strict=1"
JSON = {"Content-Type": "application/json"}
OF = (0, "properties")
# (path to what is changed, its value, what the rule says, does Mixpanel refuse the event for it)
RULES = [
    ((0,), "x", "object with properties", True),
    ((0, "event"), "", "1 to 255", True),
    ((0, "name"), "x", "no such field", False),
    ((*OF, "distinct_id"), ..., "must be text", True),
    ((*OF, "distinct_id"), "Anonymous", "stands for nobody", True),
    ((*OF, "$insert_id"), ..., "1 to 36", True),
    ((*OF, "$insert_id"), "x" * 37, "1 to 36", True),
    ((*OF, "time"), "now", "Unix milliseconds", True),
    ((*OF, "time"), int(NOW_S), "before 1971", True),
    ((*OF, "time"), NOW_MS + 3_700_000, "hour ahead", True),
    ((*OF, "time"), NOW_MS - 6 * 86_400_000, "last 5 days", True),
    ((*OF, "token"), ..., "must be there", True),
    ((*OF, "$city"), "x", "not known", False),
    ((*OF, "ip"), "1.2.3.4", "a meaning of its own", False),
    ((*OF, "mp_x"), "x", "a meaning of its own", False),
    ((*OF, "camelCase"), 1, "snake_case", False),
    ((*OF, "list"), [1], "must be text", False),
    ((*OF, "long"), "x" * 1_000_000, "1 MB", True),
    (OF, {**EVENT["properties"], **{f"p{n}": 1 for n in range(255)}}, "fewer than 255", True),
]


def body_of(events):
    return json.dumps(events).encode()


def login(text):
    return {**JSON, "Authorization": "Basic " + b64encode(text.encode()).decode()}


def test_good_requests_have_no_problems():
    """The request that all rules below start from is good, and its like for /import."""
    imported = changed([EVENT], (*OF, "token"), ...)

    status, _, says, broken = mixpanel.answer(TRACK, JSON, body_of([EVENT]), NOW_S)
    assert (200, {"status": 1, "error": None}, []) == (status, json.loads(says), broken)
    for path, headers in ((IMPORT, login("secret:")), (IMPORT + "&project_id=1", login("account:secret"))):
        assert (200, []) == mixpanel.answer(path, headers, body_of(imported), NOW_S)[::3]
    assert [("2026-11-18T11:06:40+00:00", "Command Run", {"command": "scan"})] == list(mixpanel.events_of([EVENT]))


@pytest.mark.parametrize(("path", "value", "problem", "refused"), RULES, ids=lambda value: str(value)[:30])
def test_each_rule_is_named_when_broken(path, value, problem, refused):
    """One change, and the rule it breaks is named; where Mixpanel refuses the event, status is 0."""
    _, _, says, broken = mixpanel.answer(TRACK, JSON, body_of(changed([EVENT], path, value)), NOW_S)

    assert any(problem in line for line in broken), broken
    assert refused == (json.loads(says)["status"] == 0)


def test_import_is_partly_a_success():
    """What is good is imported, and what is not is named by its place."""
    good = changed([EVENT], (*OF, "token"), ...)[0]
    bad = changed([good], (*OF, "time"), 7)[0]

    status, _, says, _ = mixpanel.answer(IMPORT, login("secret:"), body_of([good, bad]), NOW_S)

    answer = json.loads(says)
    assert (400, 1) == (status, answer["num_records_imported"])
    assert [(1, "properties.time")] == [(each["index"], each["field"]) for each in answer["failed_records"]]


@pytest.mark.parametrize(
    ("path", "headers", "body", "problem", "status"),
    [
        (TRACK, JSON, b"nonsense", "not JSON", 400),
        (TRACK, JSON, b"{}", "must be a list", 400),
        (TRACK, JSON, b"[]", "must be a list", 400),
        (TRACK, JSON, body_of([EVENT, EVENT]), "insert_id twice", 200),
        (TRACK, {"Content-Type": "text/plain"}, body_of([EVENT]), "Content-Type", 200),
        ("/track?verbose=1", JSON, body_of([EVENT]), "ip=0", 200),
        ("/track?ip=0", JSON, body_of([EVENT]), "verbose=1", 200),
        (IMPORT, JSON, body_of([EVENT]), "service account or", 401),
        (IMPORT, {**JSON, "Authorization": "Basic ???"}, body_of([EVENT]), "not Basic", 401),
        (IMPORT, login("account:secret"), body_of([EVENT]), "needs project_id", 401),
        ("/import", login("secret:"), body_of([EVENT]), "strict=1", 400),
        ("/engage", JSON, body_of([EVENT]), "there is no", 404),
    ],
)
def test_requests_that_are_wrong_as_a_whole(path, headers, body, problem, status):
    """What is around the events is looked at too."""
    answered, _, _, broken = mixpanel.answer(path, headers, body, NOW_S)

    assert any(problem in line for line in broken), broken
    assert status == answered
