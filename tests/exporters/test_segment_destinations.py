"""The code of Segment's own destinations takes our messages, with the mappings that docs/segment.md tells to change.

`make destinations` installs it from npm into build/, as tests/exporters/destinations/package-lock.json has it.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from otel_usage_exporters.named_event import RESERVED_EVENTS
from otel_usage_exporters.segment.translate import SegmentOptions, translate
from otel_usage_exporters.usage_event import events_from_metrics, events_from_spans

from otel_usage.receiver import ga4 as ga4_wire

from ..hosts import ROOT
from .servers import action, counter, error, everything, first_run, heartbeat, histogram, metrics, point, run, span

INSTALLED = ROOT / "build" / "destinations"
JUDGE = Path(__file__).parent / "destinations" / "judge.js"
NOW = 1_795_000_000_123_456_789
DESTINATIONS = ("GA4", "PostHog", "Mixpanel", "Amplitude")
# In what Segment's code makes for GA4 there is no session, the installation's id is a UUID, which GA4 takes, and truth values
# stay what they are, which its own validator accepts; docs/what-arrives.md says what follows.
KNOWN = ("session_id must be", "client_id should be two", "must be text or a number")

pytestmark = pytest.mark.skipif(not os.environ.get("OTEL_USAGE_SLOW"), reason="slow: OTEL_USAGE_SLOW=1")


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    if not (INSTALLED / "node_modules").is_dir():
        pytest.skip("not installed: make destinations")


def documented_mappings() -> dict[str, dict[str, dict[str, Any]]]:
    """Return ``{destination: {action: {field: what it is to be set to}}}`` as the table of docs/segment.md has it."""
    page = (ROOT / "docs" / "segment.md").read_text()
    table = page.partition("<!-- the tests read this table -->\n")[2].partition("\n\n")[0]
    mappings: dict[str, dict[str, dict[str, Any]]] = {}
    for line in table.splitlines()[2:]:
        destination, name, field, _, value, _ = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        mapped = {"@path": value} if value.startswith("$") else json.loads(value)
        mappings.setdefault(destination, {}).setdefault(name, {})[field] = mapped
    return mappings


def judged(messages: list[dict[str, Any]], mappings: Any) -> dict[str, Any]:
    """Return what each destination would send, and what it refuses. Any: JSON."""
    ended = subprocess.run(
        ["node", str(JUDGE)],
        input=json.dumps({"mappings": mappings, "messages": messages}),
        cwd=INSTALLED, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert 0 == ended.returncode, ended.stderr
    verdicts: dict[str, Any] = json.loads(ended.stdout)
    return verdicts


def messages_of(*events: Any) -> list[dict[str, Any]]:
    done = [translate(each, SegmentOptions()) for each in events]
    return [
        json.loads(part) for one in done for request in one.requests for unit in request.units for part in unit.parts
    ]


def recorded() -> list[dict[str, Any]]:
    """One message of every kind that is recorded, and of every ending of a run."""
    runs = [run(n, code=code, end_ns=NOW) for n, code in enumerate((0, 1, 2, 130, None), 1)]
    bare = span({"usage.kind": "run", "usage.command": "(root)", "usage.outcome": "help"}, number=9, end_ns=NOW)
    others = [action(11, end_ns=NOW), action(12, fields={"plugins": ("git", "ssh")}, end_ns=NOW), error(13, end_ns=NOW)]
    counts = metrics(
        counter("usage.count.events.handled", [point(5, {"usage.field.channel": "slack"}, end_ns=NOW)]),
        counter("usage.dropped", [point(2, {"reason": "limit"}, end_ns=NOW)]),
        counter("usage.runs", [point(4, {"usage.command": "scan", "usage.outcome": "success"}, end_ns=NOW)]),
        histogram("usage.run.duration", end_ns=NOW),
    )
    spans, _ = events_from_spans([*runs, bare, *others, heartbeat(14, end_ns=NOW), first_run(15, end_ns=NOW)])
    return messages_of(spans, events_from_metrics(counts, derived=True)[0])


def hostile(n: int) -> list[dict[str, Any]]:
    """Messages of *n* events with names and values that mean something to a destination, or to nobody."""
    choose = random.Random(7)
    names = [
        *sorted(RESERVED_EVENTS), "order.completed", "products.searched", "purchase", "page.view", "a--b", "__proto__", "",
        "constructor", "Ж" * 90, "x" * 300, "$identify", "$set", "gtag.x", "google_x", "1st", "a\x00b",
    ]  # fmt: skip
    keys = [
        "price", "quantity", "revenue", "revenueType", "revenue_type", "productId", "product_id", "products", "items", "value",
        "currency", "user_id", "distinct_id", "$set", "$ip", "time", "timestamp", "ip", "insert_id", "session_id", "client_id",
        "event", "name", "type", "email", "toString", "__proto__", "constructor", "app", "os", "utm_source", "ga_x", "_x", "a.b",
        "a b", "Ж", "x" * 200, "level", "score", "count", "traits", "properties", "context", "groupId", "locale", "language",
        "userAgent", "engagement_time_msec", "platform", "country", "url", "title", "library", "heartbeat_name",
    ]  # fmt: skip
    values = [
        "", " ", "text", "Ж" * 500, "x" * 5_000, "\ud800", "1", "-1", "1.5", "2026-11-26", "null", True, False, 0, -1, 2**53 - 1,
        2**53, 2**70, 1.5, -0.0, 1e308, float("nan"), float("inf"), None, b"bytes", (), ("a", "b"), ("a,b", "", 3), {"a": 1},
        ("x" * 200,), [[1]], "0.0.0.0", "USD", "€",
    ]  # fmt: skip
    spans = []
    for number in range(1, n + 1):
        fields = {choose.choice(keys): choose.choice(values) for _ in range(choose.randrange(12))}
        kind = choose.choice(["action", "error", "first_run", "heartbeat", "run", None])
        name = choose.choice(names)
        attributes: dict[str, Any] = {f"usage.field.{key}": value for key, value in fields.items()}
        if kind is None:
            attributes = fields
        else:
            attributes |= {"usage.kind": kind, f"usage.{'command' if kind == 'run' else kind}": name}
            attributes["usage.options"] = choose.choice([(), ("--a",), tuple(f"--o{i}" for i in range(64))])
            attributes["process.exit.code"] = choose.choice([0, 1, -1, 2**70])
        spans.append(span(attributes, name=name, number=number, end_ns=NOW - choose.randrange(10**15)))
    return messages_of(events_from_spans(spans, everything())[0])


def test_nothing_of_what_is_recorded_is_refused() -> None:
    """Every message is taken by all four, and reaches it with its name, its time, and who sent it."""
    messages = recorded()

    verdicts = judged(messages, documented_mappings())

    tracks = [position for position, message in enumerate(messages) if message["type"] == "track"]
    for name in DESTINATIONS:
        assert [] == verdicts[name]["refused"]
        assert set(tracks) <= {position for position, _ in verdicts[name]["sent"]}
    for position, [request] in verdicts["GA4"]["sent"]:
        message, body = messages[position], request["body"]
        assert message["event"].lower().replace(" ", "_") == body["events"][0]["name"]
        assert message["properties"].items() <= body["events"][0]["params"].items()
        assert message["anonymousId"] == body["client_id"]
        assert {key: {"value": text} for key, text in message["context"]["traits"].items()} == body["user_properties"]
    for position, requests in verdicts["PostHog"]["sent"]:
        if position in tracks:
            [event] = requests[0]["body"]["batch"]
            assert (messages[position]["event"], messages[position]["timestamp"]) == (
                event["event"],
                event["timestamp"],
            )
            assert messages[position]["anonymousId"] == event["properties"]["distinct_id"]
            assert (False, "0.0.0.0") == (event["properties"]["$process_person_profile"], event["properties"]["$ip"])
    for position, requests in verdicts["Mixpanel"]["sent"]:
        if position in tracks:
            [event] = requests[0]["body"]
            assert messages[position]["messageId"] == event["properties"]["$insert_id"]
            assert ("1.4.0", "Linux") == (event["properties"]["$app_version_string"], event["properties"]["$os"])
    for position, requests in verdicts["Amplitude"]["sent"]:
        if position in tracks:
            [event] = requests[0]["body"]["events"]
            assert messages[position]["properties"].items() <= event["event_properties"].items()
            assert ("1.4.0", "Linux") == (event["app_version"], event["os_name"])


def test_what_reaches_ga4_through_segment_keeps_to_its_rules() -> None:
    """The requests that Segment's code makes of what is recorded are valid by GA4's own rules, but for what is known."""
    for _, [request] in judged(recorded(), documented_mappings())["GA4"]["sent"]:
        problems = ga4_wire.problems(
            json.dumps(request["body"]).encode(), "measurement_id=G-AB12CD34EF&api_secret=s", now_s=NOW / 1e9
        )
        assert [] == [problem for problem in problems if not any(words in problem for words in KNOWN)]


def test_hostile_events_are_not_refused() -> None:
    """Names and values that a destination gives a meaning, and such as no program should send, cost no event."""
    messages = hostile(600)

    verdicts = judged(messages, documented_mappings())

    refused = {(name, re.sub(r"\d+", "n", why)) for name in DESTINATIONS for _, why in verdicts[name]["refused"]}
    assert set() == refused


def test_without_the_changes_events_are_lost() -> None:
    """The judge can fail: by PostHog's own mappings all is refused, and GA4 gets no parameter."""
    verdicts = judged(recorded(), {})

    assert [] == verdicts["PostHog"]["sent"]
    assert all(
        {"engagement_time_msec": 1} == sent[0]["body"]["events"][0]["params"] for _, sent in verdicts["GA4"]["sent"]
    )
    listed = [{**message, "properties": {"options": ["--x"]}} for message in recorded()]
    assert [] == judged(listed, documented_mappings())["GA4"]["sent"]
