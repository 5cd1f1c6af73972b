"""PostHog's rules, each named when it is broken, and what its capture service would answer."""

from __future__ import annotations

import gzip
import json

import pytest

from otel_usage.receiver import posthog

from .test_vendor_rules import changed

EVENT = {
    "event": "Command Run",
    "distinct_id": "0a0b0c0d-1111-4222-8333-444455556666",
    "uuid": "1a0b0c0d-1111-4222-8333-444455556666",
    "timestamp": "2026-11-18T11:06:40.123Z",
    "properties": {"command": "scan", "$lib": "x", "$geoip_disable": True, "$process_person_profile": False},
}
BATCH = {"api_key": "phc_1", "sent_at": "2026-11-18T11:06:41+00:00", "batch": [EVENT]}
JSON = {"Content-Type": "application/json"}
ONE = ("batch", 0)
OF = (*ONE, "properties")
EXCEPTION = {**EVENT, "event": "$exception"}
RULES = [
    (("api_key",), ..., "there is none", 401),
    (("api_key",), "phx_mine", "is a personal one", 401),
    (("api_key",), "x" * 65, "at most 64", 401),
    (("batch",), [], "at least one", 400),
    (("batch",), "x", "at least one", 400),
    (("batch",), [EVENT, EVENT], "same uuid twice", 200),
    (("sent_at",), "yesterday", "ISO 8601", 200),
    (("extra",), 1, "no such field", 200),
    (("historical_migration",), "yes", "true or false", 400),
    (ONE, "x", "must be an object", 400),
    ((*ONE, "event"), "", "has no name", 400),
    ((*ONE, "event"), "x" * 201, "at most 200", 200),
    ((*ONE, "distinct_id"), ..., "has no distinct_id", 400),
    ((*ONE, "distinct_id"), "Anonymous", "stands for nobody", 200),
    ((*ONE, "uuid"), "1", "is no UUID", 400),
    ((*ONE, "uuid"), ..., "is no UUID", 400),
    ((*ONE, "timestamp"), ..., "ISO 8601", 200),
    ((*ONE, "hostname"), "x", "no such field", 200),
    ((*ONE, "properties"), [], "must be an object", 400),
    ((*OF, "$ip"), "1.2.3.4", "address", 200),
    ((*OF, "$geoip_disable"), ..., "on a map", 200),
    ((*OF, "$process_person_profile"), "no", "true or false", 200),
    ((*OF, "$set"), {"os": "linux"}, "no profile", 200),
    ((*OF, "$groups"), {"installation": 7}, "object of texts", 200),
    ((*OF, "$groups"), {f"g{n}": "x" for n in range(6)}, "five types", 200),
    ((*OF, "$hostname"), "x", "no such property", 200),
    ((*OF, "camelCase"), 1, "snake_case", 200),
    ((*OF, "token"), "x", "looked for", 200),
    ((*OF, "nested"), {"a": 1}, "must be text", 200),
    ((*OF, "list"), ["x"], "must be text", 200),
    ((*OF, "long"), "x" * 900_000, "more than Kafka", 400),
    ((*OF, "$exception_list"), [], "$exception alone", 200),
    (ONE, EXCEPTION, "at least one", 200),
    (
        ONE,
        {**EXCEPTION, "properties": {**EVENT["properties"], "$exception_list": [{"type": "x"}]}},
        "type and value",
        200,
    ),
]


def test_a_good_request_has_no_problems():
    """The request that all rules below start from is good, plain and compressed, and answered as PostHog does."""
    body = json.dumps(BATCH).encode()

    assert (200, []) == posthog.answer("/batch/", JSON, body)[::3]
    packed = posthog.answer("/batch/", {**JSON, "Content-Encoding": "gzip"}, gzip.compress(body))
    assert (200, b'{"status":1}', []) == (packed[0], packed[2], packed[3])
    assert [("2026-11-18T11:06:40.123Z", "Command Run", {"command": "scan"})] == list(posthog.events_of(BATCH))


@pytest.mark.parametrize(("path", "value", "problem", "status"), RULES, ids=lambda value: str(value)[:30])
def test_each_rule_is_named_when_broken(path, value, problem, status):
    """One change, and the rule it breaks is named; 400 and 401 where the capture service says so."""
    body = json.dumps(changed(BATCH, path, value)).encode()

    answered, _, _, broken = posthog.answer("/batch/", JSON, body)

    assert any(problem in line for line in broken), broken
    assert status == answered


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"nonsense", JSON, 400),
        (b"[]", JSON, 400),
        (b"\xff", JSON, 400),
        (b"{}", {**JSON, "Content-Encoding": "gzip"}, 400),
        (json.dumps(BATCH).encode() + b" " * 20_000_000, JSON, 400),
        (json.dumps(BATCH).encode(), {"Content-Type": "text/plain"}, 200),
    ],
    ids=["text", "list", "bytes", "gzip", "large", "type"],
)
def test_what_is_no_request(body, headers, status):
    """What is not JSON of an object within 20 MB is refused; the wrong type is named."""
    answered, _, _, broken = posthog.answer("/batch/", headers, body)

    assert broken
    assert status == answered


def test_other_paths_are_others():
    """Without the slash it is another vendor's."""
    assert 404 == posthog.answer("/batch", JSON, b"{}")[0]
