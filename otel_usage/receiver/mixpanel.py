"""Play Mixpanel's ingestion: check a request to ``/track`` or ``/import``, and answer as its servers do.

No I/O, and nothing but the standard library. Source of the rules: docs.mixpanel.com, openapi/ingestion.yaml,
reference/import-events and track-event, troubleshooting/errors/400-bad-request, read 2026-11-26; where the two differ, the
stricter rule. ``/import`` imports what is good of a request and names the rest, with 400; ``/track`` with ``verbose=1`` says
status 0.

Judged by nobody but us, since Mixpanel's server can't be read: names in snake_case, that nothing leaves with an address, and
the list of reserved names, which its documentation has in several versions.
"""

from __future__ import annotations

import binascii
import json
import re
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qs

from .checks import is_plain, read_json

# Any in this module: JSON, of any shape.
_EVENT_FIELDS = {"event", "properties"}
_OWN_PROPERTIES = {"$insert_id", "$lib_version", "$os", "$os_version", "$app_version_string", "$device_id", "$user_id"}
_PLAIN_OWN = {"token", "time", "distinct_id", "mp_lib"}
_RESERVED = {"ip", "length", "bucket", "campaign_id", "user_id", "device_id"}
_NOBODY = {
    "00000000-0000-0000-0000-000000000000", "anon", "anonymous", "nil", "none", "null", "n/a", "na", "undefined", "unknown",
    "true", "false", "0", "-1", "[]", "{}", "lmy47d",
}  # fmt: skip
_JSON = {"Content-Type": "application/json"}
_MAX_AHEAD_S = 3_600
_MAX_AGE_TRACK_S = 5 * 86_400


def answer(
    path: str, headers: Mapping[str, str], body: bytes, now_s: float | None = None
) -> tuple[int, dict[str, str], bytes, list[str]]:
    """Return (status, headers, body) as Mixpanel would answer a POST, and what is wrong with it. now_s: of the clock."""
    address, _, query = path.partition("?")
    call = address.rstrip("/").rpartition("/")[2]
    if call not in ("track", "import"):
        return 404, {}, b"", [f"(request): there is no {path}"]
    payload, broken_rules = read_json(body, headers, most_bytes=2_000_000)  # older pages say 2 MB, newer ones 10
    parameters = parse_qs(query)
    broken_rules += _import_problems(headers, parameters) if call == "import" else _track_problems(parameters)
    if any(problem.startswith("(login)") for problem in broken_rules):
        return 401, _JSON, b'{"code":401,"error":"Unauthorized","status":"Unauthorized"}', broken_rules
    if not isinstance(payload, list) or not 0 < len(payload) <= 2_000:
        return 400, _JSON, b'{"code":400,"error":"bad request","status":0}', [
            *broken_rules, "(body): must be a list of 1 to 2000 events",
        ]  # fmt: skip
    now_s = time.time() if now_s is None else now_s
    failed = []
    for index, event in enumerate(payload):
        problems = list(_event_problems(f"[{index}]", event, call, now_s))
        broken_rules += [text for _, text in problems]
        failed += [
            {"index": index, "insert_id": "", "field": name, "message": text} for name, text in problems if name
        ][:1]
    ids = [each["properties"].get("$insert_id") for each in payload if _has_properties(each)]
    if len(ids) != len(set(map(str, ids))):
        broken_rules.append("(body): the same $insert_id twice")
    if call == "track":
        says = {"status": 0, "error": failed[0]["message"]} if failed else {"status": 1, "error": None}
        return 200, _JSON, json.dumps(says).encode(), broken_rules
    imported = len(payload) - len(failed)
    if failed:
        error = "some data points in the request failed validation"
        refusal = {"code": 400, "error": error, "num_records_imported": imported, "failed_records": failed}
        return 400, _JSON, json.dumps(refusal).encode(), broken_rules
    return (
        200,
        _JSON,
        json.dumps({"code": 200, "num_records_imported": imported, "status": "OK"}).encode(),
        broken_rules,
    )


def events_of(payload: Any) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield (time in ISO 8601, name, properties) of each event of a request."""
    for event in payload:
        properties = event["properties"]
        at = datetime.fromtimestamp(int(properties.get("time", 0)) // 1000, timezone.utc).isoformat()
        names = [name for name in properties if not name.startswith("$") and name not in _PLAIN_OWN]
        yield at, str(event["event"]), {name: properties[name] for name in names}


def _import_problems(headers: Mapping[str, str], query: Mapping[str, list[str]]) -> list[str]:
    scheme, _, coded = {name.lower(): value for name, value in headers.items()}.get("authorization", "").partition(" ")
    try:
        user, colon, password = b64decode(coded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return ["(login): Authorization is not Basic"]
    if scheme != "Basic" or not colon or not user:
        return ["(login): /import takes a service account or a project's secret"]
    if password and not "".join(query.get("project_id", [])).isdigit():
        return ["(login): a service account needs project_id"]
    return [] if query.get("strict") == ["1"] else ["(request): without strict=1 nothing is said about what is refused"]


def _track_problems(query: Mapping[str, list[str]]) -> list[str]:
    broken_rules = (
        [] if query.get("ip") == ["0"] else ["(request): without ip=0 the sender's address may be looked up on a map"]
    )
    if query.get("verbose") != ["1"]:
        broken_rules.append("(request): without verbose=1 the answer does not say what is wrong")
    return broken_rules


def _has_properties(event: Any) -> bool:
    return isinstance(event, Mapping) and isinstance(event.get("properties"), Mapping)


def _event_problems(path: str, event: Any, call: str, now_s: float) -> Iterator[tuple[str, str]]:
    """Yield (the field for which Mixpanel refuses the event, "" if it does not; what is wrong)."""
    if not _has_properties(event):
        yield "properties", f"{path}: must be an object with properties"
        return
    for field in set(event) - _EVENT_FIELDS:
        yield "", f"{path}.{field}: an event has no such field"
    name, properties = event.get("event"), event["properties"]
    if not isinstance(name, str) or not 0 < len(name) <= 255 or not name.isprintable():
        yield "event", f"{path}.event: must be text of 1 to 255 characters"
    if len(json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass")) > 1_000_000:
        yield "event", f"{path}: is larger than 1 MB"
    if len(properties) >= 255:
        yield "properties", f"{path}.properties: must be fewer than 255"
    who = properties.get("distinct_id")
    if not isinstance(who, str) or not who or len(who) > 255 or who.strip().lower() in _NOBODY:
        yield "properties.distinct_id", f"{path}.distinct_id: must be text, and no word that stands for nobody"
    if not re.fullmatch(r"[A-Za-z0-9-]{1,36}", str(properties.get("$insert_id", ""))):
        yield "properties.$insert_id", f"{path}.$insert_id: must be 1 to 36 letters, digits and '-'"
    yield from _time_problems(path, properties.get("time"), call, now_s)
    if (call == "track") != bool(properties.get("token")):
        yield "properties.token", f"{path}.token: belongs to /track, and must be there"
    for key, value in properties.items():
        if key in _PLAIN_OWN or key in _OWN_PROPERTIES:
            continue
        if key.startswith("$"):
            yield "", f"{path}.{key}: is not known here as a property of Mixpanel's own"
        elif key in _RESERVED or key.startswith("mp_"):
            yield "", f"{path}.{key}: has a meaning of its own at Mixpanel"
        elif not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*|[a-z0-9_]{64}", key):
            yield "", f"{path}.{key}: is not snake_case"
        elif not is_plain(value):
            yield "", f"{path}.{key}: must be text, a number or a truth value"


def _time_problems(path: str, at: Any, call: str, now_s: float) -> Iterator[tuple[str, str]]:
    if type(at) is not int:
        yield "properties.time", f"{path}.time: must be Unix milliseconds"
        return
    seconds = at / 1000
    if seconds < 31_536_000:
        yield "properties.time", f"{path}.time: is before 1971, or in seconds"
    elif seconds > now_s + _MAX_AHEAD_S:
        yield "properties.time", f"{path}.time: is more than an hour ahead"
    elif call == "track" and seconds < now_s - _MAX_AGE_TRACK_S:
        yield "properties.time", f"{path}.time: /track takes the last 5 days"
