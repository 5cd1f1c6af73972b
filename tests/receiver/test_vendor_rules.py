"""The validators find what breaks a rule, and answer as the vendors' servers do."""

from __future__ import annotations

import copy
import gzip
import json
from base64 import b64encode

import pytest

from otel_usage.receiver import ga4, segment

NOW_S = 1_795_000_000.0
QUERY = "measurement_id=G-AB12CD&api_secret=x"
EVENT = {
    "name": "command_run",
    "timestamp_micros": int(NOW_S * 1e6),
    "params": {"session_id": 17, "engagement_time_msec": 1, "command": "scan"},
}
GOOD = {
    "client_id": "12.34",
    "consent": {"ad_user_data": "DENIED", "ad_personalization": "DENIED"},
    "timestamp_micros": int(NOW_S * 1e6),
    "user_properties": {"os": {"value": "linux"}},
    "device": {"operating_system": "Linux"},
    "events": [EVENT],
}


def changed(start, path, value):
    """Return a copy of *start* with one thing changed, or removed by ``...``."""
    body = copy.deepcopy(start)
    *above, last = path
    at = body
    for key in above:
        at = at[key]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return body


EV = ("events", 0)
PARAMS = ("events", 0, "params")
GA4_RULES = [
    (("client_id",), ..., "client_id: client_id must be text"),
    (("client_id",), 12, "client_id must be text"),
    (("client_id",), "0a0b0c0d-1111-4222-8333-444455556666", "two positive numbers"),
    (("user_id",), "x" * 257, "at most 256"),
    (("ip",), "1.2.3.4", "The body has no field [ip]"),
    (("consent", "ad_user_data"), "denied", "GRANTED or DENIED"),
    (("device", "hostname"), "x", "device has no ['hostname']"),
    (("device", "model"), 7, "device must hold text"),
    (("validation_behavior",), "STRICT", "documented word"),
    (("timestamp_micros",), ..., "is of its arrival"),
    (("user_properties", "os", "value"), " ", "blanks only"),
    ((*PARAMS, "debug_mode"), "false", "debug_mode must be 1"),
    ((*PARAMS, "debug_mode"), 0, "debug_mode must be 1"),
    (("user_properties", "os"), "linux", "an object with a value"),
    (("user_properties", "os", "value"), "x" * 37, "longer than 36"),
    (("user_properties", "x" * 25), {"value": "y"}, "longer than 24"),
    (("user_properties", "user_id"), {"value": "y"}, "[user_id] is reserved"),
    (("user_properties", "ga_x"), {"value": "y"}, "reserved prefix"),
    (("user_properties",), {f"p{n}": {"value": "x"} for n in range(26)}, "at most 25 user properties"),
    (("events",), [], "at least one"),
    (("events",), [EVENT] * 26, "at most 25 events"),
    ((*EV, "name"), "_bad", "Names must start with an alphabetic character"),
    ((*EV, "name"), "campaign@details", "Only alphanumeric characters and underscores"),
    ((*EV, "name"), "x" * 41, "longer than 40"),
    ((*EV, "name"), "session_start", "reserved"),
    ((*EV, "name"), "error", "reserved"),
    ((*EV, "name"), "screen_view", "reserved"),
    ((*EV, "name"), "ga_thing", "reserved"),
    ((*EV, "name"), "purchase", "[purchase] requires the parameter [transaction_id]"),
    ((*EV, "params"), ..., "has no params"),
    ((*EV, "extra"), 1, "has no field [extra]"),
    ((*EV, "timestamp_micros"), int((NOW_S - 73 * 3600) * 1e6), "72 hours"),
    ((*EV, "timestamp_micros"), int((NOW_S + 3600) * 1e6), "ahead"),
    ((*EV, "timestamp_micros"), NOW_S, "Unix microseconds"),
    ((*PARAMS, "x" * 41), 1, "longer than 40"),
    ((*PARAMS, "a-b"), 1, "letters, digits and underscores"),
    ((*PARAMS, "google_x"), 1, "reserved prefix"),
    ((*PARAMS, "firebase_conversion"), 1, "reserved"),
    ((*PARAMS, "long"), "x" * 101, "longer than 100"),
    ((*PARAMS, "flag"), True, "text or a number"),
    ((*PARAMS, "none"), None, "text or a number"),
    ((*PARAMS, "nested"), {"a": 1}, "text or a number"),
    ((*PARAMS, "list"), [1], "text or a number"),
    ((*PARAMS, "control"), "a\u0000b", "not text"),
    ((*PARAMS, "huge"), 2**63, "64 bits"),
    ((*PARAMS, "method"), 1, "[method] must be text"),
    ((*PARAMS, "level"), "info", "[level] must be a number"),
    ((*PARAMS, "value"), 1, "require each other"),
    ((*PARAMS, "session_id"), ..., "session_id must be"),
    ((*PARAMS, "session_id"), "abc", "session_id must be"),
    ((*PARAMS, "engagement_time_msec"), 0, "engagement_time_msec must be positive"),
    (PARAMS, {**EVENT["params"], **{f"p{n}": 1 for n in range(23)}}, "more than 25 parameters"),
]


def test_a_good_ga4_request_has_no_problems():
    """The request that all rules below start from is good."""
    assert [] == ga4.problems(GOOD, QUERY, now_s=NOW_S)
    assert [] == ga4.problems(json.dumps(GOOD).encode(), QUERY, now_s=NOW_S)


@pytest.mark.parametrize(("path", "value", "problem"), GA4_RULES, ids=lambda value: str(value)[:30])
def test_each_ga4_rule_is_named_when_broken(path, value, problem):
    """One change, and the rule it breaks is named."""
    found = ga4.problems(changed(GOOD, path, value), QUERY, now_s=NOW_S)

    assert any(problem in line for line in found), found


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"nonsense", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "must be an object"),
        (b'{"events":[{"name":"a","params":{"x":NaN}}]}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (json.dumps({**GOOD, "user_agent": "x" * 130_000}).encode(), "130kBs"),
    ],
    ids=["text", "bytes", "list", "nan", "deep", "large"],
)
def test_a_ga4_body_that_is_no_small_json_object_is_named(body, problem):
    """What is no JSON object under 130 kB is none."""
    assert any(problem in line for line in ga4.problems(body, QUERY, now_s=NOW_S))


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("measurement_id=G-AB12CD", "api_secret is required"),
        ("api_secret=x", "One of measurement_id and firebase_app_id"),
        (QUERY + "&firebase_app_id=1:2:ios:a", "One of measurement_id"),
        ("measurement_id=UA-1-1&api_secret=x", "G-XXXXXXXXXX"),
    ],
)
def test_a_ga4_query_without_stream_or_secret_is_named(query, problem):
    """The stream and the secret belong into the query."""
    assert any(problem in line for line in ga4.problems(GOOD, query, now_s=NOW_S))


def test_ga4_app_streams():
    """An app stream takes app_instance_id and screen_view, not client_id."""
    body = changed(changed(GOOD, ("client_id",), ...), ("app_instance_id",), "0" * 32)
    view = {"name": "screen_view", "params": {**EVENT["params"], "screen_name": "x"}}
    query = "firebase_app_id=1:2:ios:a&api_secret=x"

    assert [] == ga4.problems({**body, "events": [view]}, query, now_s=NOW_S)
    assert any("32 hexadecimal" in line for line in ga4.problems(GOOD, query, now_s=NOW_S))


def test_ga4_answers():
    """Collecting says 204 whatever it gets; debugging says what is wrong, and does not look at the key."""
    bad = json.dumps(changed(GOOD, (*EV, "name"), "_bad")).encode()

    status, _, body, problems = ga4.answer("/mp/collect", QUERY, bad)
    assert (204, b"") == (status, body)
    assert problems
    status, headers, body, _ = ga4.answer("/debug/mp/collect?" + "api_secret=", "", bad)
    found = json.loads(body)["validationMessages"]
    assert (200, "application/json; charset=utf-8") == (status, headers["Content-Type"])
    assert [{"fieldPath", "description", "validationCode"}] * len(found) == [set(message) for message in found]
    assert "NAME_INVALID" in {message["validationCode"] for message in found}
    assert all(message["fieldPath"] != "query" for message in found)
    assert 404 == ga4.answer("/g/collect", "", b"")[0]


TRACK = {
    "type": "track",
    "event": "Command Run",
    "anonymousId": "0a0b0c0d-1111-4222-8333-444455556666",
    "messageId": "1a0b0c0d-1111-4222-8333-444455556666",
    "timestamp": "2026-11-18T11:06:40.123Z",
    "properties": {"command": "scan", "options": "--x", "ok": True, "n": 1.5},
    "context": {"ip": "0.0.0.0", "library": {"name": "x", "version": "1"}},
}
BATCH = {"batch": [TRACK], "sentAt": "2026-11-18T11:06:41+00:00", "writeKey": "wk"}
MESSAGE = ("batch", 0)
SEGMENT_RULES = [
    (("batch",), [], "at least one"),
    (("batch",), [TRACK, TRACK], "same messageId twice"),
    (("extra",), 1, "no such field"),
    (("sentAt",), "yesterday", "ISO 8601"),
    (("writeKey",), ..., "no write key"),
    (("writeKey",), 7, "must be text"),
    (MESSAGE, "x", "must be an object"),
    ((*MESSAGE, "type"), "trace", "must be one of"),
    ((*MESSAGE, "user"), "x", "no such field"),
    ((*MESSAGE, "anonymousId"), ..., "needs an anonymousId"),
    ((*MESSAGE, "anonymousId"), "x" * 101, "at most 100"),
    ((*MESSAGE, "messageId"), ..., "must be unique"),
    ((*MESSAGE, "messageId"), "1", "must be unique"),
    ((*MESSAGE, "messageId"), "x" * 101, "must be unique"),
    ((*MESSAGE, "timestamp"), "2026-13-18T11:06:40Z", "ISO 8601"),
    ((*MESSAGE, "event"), ..., "1 to 64"),
    ((*MESSAGE, "event"), "x" * 65, "1 to 64"),
    ((*MESSAGE, "event"), "a--b", "without"),
    ((*MESSAGE, "event"), "a\u0000", "not text"),
    ((*MESSAGE, "properties"), [], "must be an object"),
    ((*MESSAGE, "properties", "camelCase"), 1, "snake_case"),
    ((*MESSAGE, "properties", "nested"), {"a": 1}, "must be text"),
    ((*MESSAGE, "properties", "nothing"), None, "must be text"),
    ((*MESSAGE, "properties", "list"), ["x"], "must be text"),
    ((*MESSAGE, "properties", "long"), "x" * 32_000, "more than 32 KB"),
    ((*MESSAGE, "context", "hostname"), "x", "no such field"),
    ((*MESSAGE, "context", "ip"), ..., "sender's address"),
]


def headers_of(key, **more):
    basic = b64encode(f"{key}:".encode()).decode()
    return {"Content-Type": "application/json", "Authorization": f"Basic {basic}", **more}


def test_a_good_segment_request_has_no_problems():
    """The request that all rules below start from is good, plain and compressed."""
    body = json.dumps(BATCH).encode()

    assert [] == segment.problems(BATCH)
    assert [] == segment.problems(body, headers_of("wk"))
    assert [] == segment.problems(gzip.compress(body), headers_of("wk", **{"Content-Encoding": "gzip"}))


@pytest.mark.parametrize(("path", "value", "problem"), SEGMENT_RULES, ids=lambda value: str(value)[:30])
def test_each_segment_rule_is_named_when_broken(path, value, problem):
    """One change, and the rule it breaks is named."""
    found = segment.problems(changed(BATCH, path, value))

    assert any(problem in line for line in found), found


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        (headers_of("other"), "not that of the Authorization"),
        ({"Content-Type": "text/plain"}, "Content-Type"),
        ({"Content-Type": "application/json", "Authorization": "Bearer x"}, "Authorization"),
        ({"Content-Type": "application/json", "Authorization": "Basic ???"}, "Authorization"),
        (headers_of("wk", **{"Content-Encoding": "gzip"}), "not gzip"),
    ],
)
def test_wrong_segment_headers_are_named(headers, problem):
    """Authentication, type and encoding are looked at."""
    assert any(problem in line for line in segment.problems(json.dumps(BATCH).encode(), headers))


def test_segment_answers():
    """400 to what is no JSON or too large, 200 to all else; single calls are understood too."""
    single = {**TRACK, "writeKey": "wk"}
    del single["type"]

    assert (200, []) == segment.answer("/v1/track", headers_of("wk"), json.dumps(single).encode())[::3]
    status, _, body, problems = segment.answer("/v1/batch", headers_of("wk"), json.dumps({"batch": []}).encode())
    assert (200, {"success": True}) == (status, json.loads(body))
    assert problems
    assert 400 == segment.answer("/v1/batch", headers_of("wk"), b"nonsense")[0]
    assert 400 == segment.answer("/v1/batch", headers_of("wk"), b" " * 500_001)[0]
    assert 404 == segment.answer("/v1/nothing", {}, b"")[0]


def test_what_unpacks_to_too_much_is_not_unpacked():
    """A small body that would become gigabytes is no way to fill our memory."""
    bomb = gzip.compress(b" " * 60_000_000, 1)

    found = segment.problems(bomb, headers_of("wk", **{"Content-Encoding": "gzip"}))

    assert any("too many" in line for line in found)
