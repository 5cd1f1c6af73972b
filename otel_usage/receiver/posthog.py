"""Play PostHog's capture service: check a request, and answer as it does.

No I/O, and nothing but the standard library. Source of the rules, read 2026-11-26: in PostHog/posthog, rust/capture/src
token.rs (keys), v0_request.rs (bodies, gzip by its first bytes), events/analytics.rs and api.rs (what is refused, and how),
rust/common/types/src event.rs (fields, uuid) and timestamp.rs (times), rust/cymbal/src/types/mod.rs (exceptions);
posthog.com, contents/docs/api/capture.mdx. One bad event costs the whole batch, with 400.

Judged by nobody but us: that a distinct id is none of the words that stand for nobody (documentation, "illegal distinct ids";
the code that compares them was not at hand), names in snake_case, and that no event leaves without `$geoip_disable`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from .checks import is_plain, is_time, read_json

# Any in this module: JSON, of any shape.
PATHS = ("/batch/",)  # without the slash it is Amplitude's
_BATCH_FIELDS = {"api_key", "batch", "sent_at", "historical_migration"}
_EVENT_FIELDS = {"event", "distinct_id", "uuid", "timestamp", "properties"}
# Those of PostHog's own properties that are known here: a misspelled one would be a property of nobody's.
_OWN_PROPERTIES = {
    "$lib", "$lib_version", "$geoip_disable", "$process_person_profile", "$set", "$groups", "$app_name", "$app_version", "$os",
    "$os_version", "$exception_list", "$exception_fingerprint", "$exception_level", "$is_server", "$insert_id",
    "$python_runtime", "$python_version", "$os_distro", "$session_id", "$is_identified",
}  # fmt: skip
_NOBODY = {
    "0", "00000000-0000-0000-0000-000000000000", "[object object]", "anonymous", "anonymous-user", "backend", "distinct_id",
    "distinctid", "email", "false", "guest", "id", "nan", "none", "not_authenticated", "null", "system", "true", "undefined",
    "user",
}  # fmt: skip
_OK = b'{"status":1}'


def answer(path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes, list[str]]:
    """Return (status, headers, body) as PostHog would answer a POST, and what is wrong with it.

    As the real thing, it says 401 to a key that can't be one and 400 to a batch with an event that has no name or nobody's id,
    and 200 to what it drops later.
    """
    if path.partition("?")[0] not in PATHS:
        return 404, {}, b"", [f"(request): there is no {path}"]
    broken_rules = problems(body, headers)
    text = {"Content-Type": "text/plain"}
    if any(problem.startswith("api_key") for problem in broken_rules):
        return 401, text, b"API key is not valid", broken_rules
    for start, says in (
        ("(body)", b"failed to parse request"),
        ("(size)", b"maximum event size exceeded"),
        ("batch:", b"request holds no event"),
    ):
        if any(problem.startswith(start) for problem in broken_rules):
            return 400, text, says, broken_rules
    for ending, says in (
        ("has no name", b"event submitted with an empty event name"),
        ("has no distinct_id", b"event submitted without a distinct_id"),
        ("is no UUID", b"failed to parse request: UUID parsing failed"),
    ):
        if any(problem.endswith(ending) for problem in broken_rules):
            return 400, text, says, broken_rules
    return 200, {"Content-Type": "application/json"}, _OK, broken_rules


def events_of(payload: Any) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield (time in ISO 8601, name, properties) of each event of a request."""
    for event in payload.get("batch", ()):
        properties = {name: value for name, value in event.get("properties", {}).items() if not name.startswith("$")}
        yield str(event.get("timestamp", "")), str(event.get("event", "")), properties


def problems(body: bytes | Mapping[str, Any], headers: Mapping[str, str] | None = None) -> list[str]:
    """Return what is wrong with a request, one line per rule that it breaks; none for a good one. headers: as it came."""
    broken_rules: list[str] = []
    if isinstance(body, bytes):
        body, broken_rules = read_json(body, headers, most_bytes=20_000_000)
    if not isinstance(body, Mapping):
        return [*broken_rules, "(body): must be an object"]
    broken_rules += _key_problems(body.get("api_key"))
    broken_rules += [f"{name}: a batch has no such field" for name in body if name not in _BATCH_FIELDS]
    if not isinstance(body.get("historical_migration", False), bool):
        broken_rules.append("(body): historical_migration must be true or false")
    if not is_time(body.get("sent_at")):
        broken_rules.append("sent_at: must be a time in ISO 8601: a wrong clock is corrected by it")
    batch = body.get("batch")
    if not isinstance(batch, list) or not batch:
        return [*broken_rules, "batch: must be a list of at least one"]
    uuids = [event.get("uuid") for event in batch if isinstance(event, Mapping)]
    if len(uuids) != len(set(map(str, uuids))):
        broken_rules.append("(batch): the same uuid twice")
    for index, event in enumerate(batch):
        broken_rules += _event_problems(f"batch[{index}]", event)
    return broken_rules


def _key_problems(key: Any) -> list[str]:
    if not isinstance(key, str) or not key.strip():
        return ["api_key: there is none"]
    if len(key.strip()) > 64 or not key.isascii() or "\0" in key:
        return ["api_key: must be ASCII of at most 64 characters"]
    return ["api_key: is a personal one"] if key.strip().startswith("phx_") else []


def _event_problems(path: str, event: Any) -> list[str]:
    if not isinstance(event, Mapping):
        return [f"(body): {path} must be an object"]
    broken_rules = [f"{path}.{name}: an event has no such field" for name in event if name not in _EVENT_FIELDS]
    size = len(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))
    if size > 900_000:
        broken_rules.append(f"(size): {path} has {size} bytes, more than Kafka takes")
    name = event.get("event")
    if not isinstance(name, str) or not name:
        broken_rules.append(f"{path} has no name")
    elif len(name) > 200 or not name.isprintable():
        broken_rules.append(f"{path}.event: must be text of at most 200 characters")
    who = event.get("distinct_id")
    if not isinstance(who, str) or not who:
        broken_rules.append(f"{path} has no distinct_id")
    elif len(who) > 200 or who.strip().lower() in _NOBODY:
        broken_rules.append(f"{path}.distinct_id: is more than 200 characters, or a word that stands for nobody")
    if not _is_uuid(event.get("uuid")):
        broken_rules.append(f"{path}.uuid: is no UUID")
    if not is_time(event.get("timestamp")):
        broken_rules.append(f"{path}.timestamp: must be a time in ISO 8601")
    properties = event.get("properties")
    if not isinstance(properties, Mapping):
        return [*broken_rules, f"(body): {path}.properties must be an object"]
    return broken_rules + _property_problems(f"{path}.properties", name, properties)


def _property_problems(path: str, event: Any, properties: Mapping[str, Any]) -> list[str]:
    broken_rules: list[str] = []
    if "$ip" in properties:
        broken_rules.append(f"{path}.$ip: an address must not be sent")
    if properties.get("$geoip_disable") is not True:
        broken_rules.append(f"{path}.$geoip_disable: without it the sender's address is looked up on a map")
    profile = properties.get("$process_person_profile", True)
    if not isinstance(profile, bool):
        broken_rules.append(f"{path}.$process_person_profile: must be true or false")
    if profile is False and "$set" in properties:
        broken_rules.append(f"{path}.$set: there is no profile to set anything of")
    for name in ("$set", "$groups"):
        held = properties.get(name, {})
        if not isinstance(held, Mapping) or not all(isinstance(value, str) and value for value in held.values()):
            broken_rules.append(f"{path}.{name}: must be an object of texts")
    if len(properties.get("$groups") or ()) > 5:
        broken_rules.append(f"{path}.$groups: a project has five types of groups at most")
    if event == "$exception":
        broken_rules += _exception_problems(path, properties)
    elif "$exception_list" in properties:
        broken_rules.append(f"{path}.$exception_list: belongs to $exception alone")
    for name, value in properties.items():
        if name.startswith("$"):
            if name not in _OWN_PROPERTIES:
                broken_rules.append(f"{path}.{name}: PostHog has no such property")
        elif not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*|[a-z0-9_]{64}", name):
            broken_rules.append(f"{path}.{name}: is not snake_case")
        elif name in ("token", "api_key", "distinct_id"):
            broken_rules.append(f"{path}.{name}: is looked for there by PostHog itself")
        elif not is_plain(value):
            broken_rules.append(f"{path}.{name}: must be text, a number or a truth value")
    return broken_rules


def _exception_problems(path: str, properties: Mapping[str, Any]) -> list[str]:
    listed = properties.get("$exception_list")
    if not isinstance(listed, list) or not listed:
        return [f"{path}.$exception_list: must be a list of at least one"]
    broken_rules = []
    for index, one in enumerate(listed):
        if not isinstance(one, Mapping) or not all(isinstance(one.get(name), str) for name in ("type", "value")):
            broken_rules.append(f"{path}.$exception_list[{index}]: needs type and value, both text")
    if not isinstance(properties.get("$exception_fingerprint", ""), str):
        broken_rules.append(f"{path}.$exception_fingerprint: must be text")
    return broken_rules


def _is_uuid(value: Any) -> bool:
    try:
        return bool(str(UUID(value)) == value)
    except (ValueError, TypeError, AttributeError):
        return False
