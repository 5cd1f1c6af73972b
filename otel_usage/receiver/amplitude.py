"""Play Amplitude's HTTP V2 and Batch Event Upload: check a request, and answer as their servers do.

No I/O, and nothing but the standard library. Source of the rules: amplitude.com/docs/apis/analytics/http-v2,
http-api-batching-retries and batch-event-upload, and what PyPI's amplitude-analytics 1.3.0 reads in an answer
(http_client.py), read 2026-11-26. A request with a bad event is refused as a whole, with 400, which names the bad ones.

Judged by nobody but us, since Amplitude's server can't be read: names in snake_case, that no event leaves with an address, and
which words are no device (the documentation names some).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from .checks import is_plain, read_json

# Any in this module: JSON, of any shape.
_LIMITS = {"/2/httpapi": 1_000_000, "/batch": 20_000_000}  # bytes, by path; /batch/ with a slash is PostHog's
_FIELDS = {"api_key", "events", "options"}
_EVENT_FIELDS = {
    "user_id", "device_id", "event_type", "time", "event_properties", "user_properties", "groups", "app_version", "platform",
    "os_name", "os_version", "library", "insert_id", "session_id", "language", "event_id",
}  # fmt: skip
_NOBODY = {
    "anonymous", "nil", "none", "null", "n/a", "na", "undefined", "unknown", "true", "false", "0", "-1", "[]", "{}", "lmy47d",
    "00000000-0000-0000-0000-000000000000",
}  # fmt: skip
_JSON = {"Content-Type": "application/json"}


def answer(path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes, list[str]]:
    """Return (status, headers, body) as Amplitude would answer a POST, and what is wrong with it."""
    call = path.partition("?")[0]
    if call not in _LIMITS:
        return 404, {}, b"", [f"(request): there is no {path}"]
    payload, broken_rules = read_json(body, headers, most_bytes=_LIMITS[call])
    if any(problem.startswith("(size)") for problem in broken_rules):
        return 413, _JSON, b'{"code":413,"error":"Payload too large"}', broken_rules
    if not isinstance(payload, Mapping):
        return _refusal({"error": "Invalid JSON request body"}, [*broken_rules, "(body): must be an object"])
    broken_rules += [f"{name}: a request has no such field" for name in payload if name not in _FIELDS]
    key, events = payload.get("api_key"), payload.get("events")
    if not isinstance(key, str) or not key:
        return _refusal(
            {"error": "Invalid API key: ", "missing_field": "api_key"}, [*broken_rules, "api_key: there is none"]
        )
    if not isinstance(events, list) or not events:
        return _refusal(
            {"error": "missing events", "missing_field": "events"}, [*broken_rules, "events: must be a list"]
        )
    if len(events) > 2_000:
        return 413, _JSON, b'{"code":413,"error":"Payload too large"}', [*broken_rules, "(size): more than 2000 events"]
    ids = [event.get("insert_id") for event in events if isinstance(event, Mapping)]
    if len(ids) != len(set(map(str, ids))):
        broken_rules.append("events: the same insert_id twice")
    options = payload.get("options")
    shortest = options.get("min_id_length", 5) if isinstance(options, Mapping) else 5
    invalid: dict[str, list[int]] = {}
    missing: dict[str, list[int]] = {}
    for index, event in enumerate(events):
        for field, text in _event_problems(f"events[{index}]", event, shortest):
            broken_rules.append(text)
            if field:
                places = (missing if text.endswith("is missing") else invalid).setdefault(field, [])
                places.append(index)
    if invalid or missing:
        refused = {"events_with_invalid_fields": invalid, "events_with_missing_fields": missing}
        return _refusal({"error": "Invalid field values on some events", **refused}, broken_rules)
    says: dict[str, Any] = {"code": 200, "events_ingested": len(events), "payload_size_bytes": len(body)}
    return 200, _JSON, json.dumps(says).encode(), broken_rules


def events_of(payload: Any) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield (time in ISO 8601, name, properties) of each event of a request."""
    for event in payload.get("events", ()):
        at = datetime.fromtimestamp(int(event.get("time", 0)) // 1000, timezone.utc).isoformat()
        yield at, str(event.get("event_type", "")), event.get("event_properties", {})


def _refusal(says: Mapping[str, Any], broken_rules: list[str]) -> tuple[int, dict[str, str], bytes, list[str]]:
    return 400, _JSON, json.dumps({"code": 400, **says}).encode(), broken_rules


def _event_problems(path: str, event: Any, shortest: int) -> Iterator[tuple[str, str]]:
    """Yield (the field for which Amplitude refuses the event, "" if it does not; what is wrong)."""
    if not isinstance(event, Mapping):
        yield "event", f"{path}: must be an object"
        return
    for field in event:
        if field in ("ip", "location_lat", "location_lng", "country", "city"):
            yield "", f"{path}.{field}: where somebody is must not be sent"
        elif field not in _EVENT_FIELDS:
            yield "", f"{path}.{field}: an event has no such field"
    name = event.get("event_type")
    if not name:
        yield "event_type", f"{path}.event_type is missing"
    elif (
        not isinstance(name, str)
        or name.startswith(("[Amplitude]", "$"))
        or len(name) > 1_024
        or not name.isprintable()
    ):
        yield "event_type", f"{path}.event_type: must be text of at most 1024 characters, and none of Amplitude's own"
    if not event.get("device_id") and not event.get("user_id"):
        yield "device_id", f"{path}.device_id is missing"
    for field in ("device_id", "user_id"):
        who = event.get(field)
        if who is not None and (
            not isinstance(who, str) or not shortest <= len(who) <= 1_024 or who.lower() in _NOBODY
        ):
            yield (
                field,
                f"{path}.{field}: must be text of {shortest} characters or more, and no word that stands for nobody",
            )
    if type(event.get("time")) is not int or not 0 < event["time"] < 10**15:
        yield "time", f"{path}.time: must be Unix milliseconds"
    insert_id = event.get("insert_id")
    if not isinstance(insert_id, str) or not insert_id:
        yield "", f"{path}.insert_id: without it a repetition is a second event"
    for field in ("app_version", "os_name", "os_version", "library"):
        if field in event and not isinstance(event[field], str):
            yield field, f"{path}.{field}: must be text"
    properties = event.get("event_properties", {})
    if not isinstance(properties, Mapping):
        yield "event_properties", f"{path}.event_properties: must be an object"
        return
    for key, value in properties.items():
        if not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*|[a-z0-9_]{64}", key):
            yield "", f"{path}.event_properties.{key}: is not snake_case"
        if not is_plain(value) or (isinstance(value, str) and len(value) > 1_024):
            yield (
                "",
                f"{path}.event_properties.{key}: must be text of at most 1024 characters, a number or a truth value",
            )
