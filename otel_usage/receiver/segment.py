"""Play Segment's HTTP Tracking API: check a request, and answer as its servers do.

No I/O, and nothing but the standard library. Source of the rules: segment-docs, HTTP API source and Spec: Common; where
a compatible server (RudderStack, Jitsu) is stricter, the stricter rule, so that what passes here passes there. Read
2026-11-22.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any

from .checks import is_plain, is_time, read_json

# Any in this module: JSON, of any shape.
CALLS = ("track", "identify", "page", "screen", "group", "alias")
_MESSAGE_FIELDS = {
    "type", "event", "anonymousId", "userId", "messageId", "timestamp", "sentAt", "originalTimestamp", "properties",
    "traits", "context", "integrations", "name", "category", "groupId", "previousId", "writeKey", "channel", "version",
    "request_ip",  # RudderStack's
}  # fmt: skip
_CONTEXT_FIELDS = {
    "active", "app", "campaign", "channel", "device", "groupId", "ip", "library", "locale", "network", "os", "page",
    "referrer", "screen", "timezone", "traits", "userAgent", "userAgentData",
}  # fmt: skip


def answer(path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes, list[str]]:
    """Return (status, headers, body) as Segment would answer a POST, and what is wrong with it.

    As the real thing, it says 400 only to what is no JSON or too large, and 200 to what it then drops.
    """
    call = path.partition("?")[0].rstrip("/").removeprefix("/v1/")
    if call not in (*CALLS, "batch"):
        return 404, {}, b"", [f"(request): there is no {path}"]
    answer_headers = {"Content-Type": "application/json"}
    broken_rules = problems(body, headers, call=call)
    if any(problem.startswith(("(body)", "(size)")) for problem in broken_rules):
        return 400, answer_headers, b'{"success":false}', broken_rules
    return 200, answer_headers, b'{"success":true}', broken_rules


def events_of(payload: Any) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield (time in ISO 8601, its event or else its type, properties) of each message of a request."""
    for message in payload.get("batch", [payload]):
        name = str(message.get("event") or message.get("type", ""))
        yield str(message.get("timestamp", "")), name, message.get("properties") or message.get("traits") or {}


def problems(
    body: bytes | Mapping[str, Any], headers: Mapping[str, str] | None = None, *, call: str = "batch"
) -> list[str]:
    """Return what is wrong with a request, one line per rule that it breaks; none for a good one.

    headers: left out, the write key must be in the body, and the body is as it is. call: batch, track, ….
    """
    broken_rules: list[str] = []
    by_lower_name = {name.lower(): value for name, value in (headers or {}).items()}
    if isinstance(body, bytes):
        body, broken_rules = read_json(body, headers, most_bytes=500_000 if call == "batch" else 32_768)
    if not isinstance(body, Mapping):
        return [*broken_rules, "(body): must be an object"]
    broken_rules += _key_problems(by_lower_name, body)
    if call != "batch":
        return broken_rules + _message_problems("(message)", {"type": call, **body}, {})
    batch = body.get("batch")
    for name in set(body) - {"batch", "context", "integrations", "sentAt", "writeKey"}:
        broken_rules.append(f"{name}: a batch has no such field")
    if not isinstance(batch, list) or not batch:
        return [*broken_rules, "batch: must be a list of at least one"]
    if len(batch) > 2_500:
        broken_rules.append("batch: takes at most 2500 messages")
    if "sentAt" in body and not is_time(body["sentAt"]):
        broken_rules.append("sentAt: must be a time in ISO 8601")
    ids = [message.get("messageId") for message in batch if isinstance(message, Mapping)]
    if len(ids) != len({str(message_id) for message_id in ids}):
        broken_rules.append("batch: the same messageId twice")
    batch_context = body.get("context")
    for index, message in enumerate(batch):
        broken_rules += _message_problems(
            f"batch[{index}]", message, batch_context if isinstance(batch_context, Mapping) else {}
        )
    return broken_rules


def _key_problems(headers: Mapping[str, str], body: Mapping[str, Any]) -> list[str]:
    scheme, _, coded = headers.get("authorization", "").partition(" ")
    in_header, in_body = "", body.get("writeKey")
    if scheme:
        try:
            login = b64decode(coded, validate=True).decode()
        except (binascii.Error, ValueError):
            return ["(header): Authorization is not Basic"]
        # A key of Jitsu has a colon in it, keyId:keySecret: the last one is what parts it from the password that is not there.
        in_header, colon, password = login.rpartition(":")
        if scheme != "Basic" or not colon or password or not in_header:
            return ["(header): Authorization must be Basic, the write key and no password"]
    if in_body is not None and (not isinstance(in_body, str) or not in_body):
        return ["writeKey: must be text"]
    if not in_header and not in_body:
        return ["(header): there is no write key"]
    if in_header and in_body and in_header != in_body:
        return ["writeKey: is not that of the Authorization header"]
    return []


def _message_problems(path: str, message: Any, batch_context: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with one message. batch_context: holds for every message that does not say otherwise."""
    if not isinstance(message, Mapping):
        return [f"{path}: must be an object"]
    broken_rules: list[str] = []
    size = len(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))
    if size > 32_000:
        broken_rules.append(f"{path}: {size} bytes are more than 32 KB")
    kind = message.get("type")
    if kind not in CALLS:
        broken_rules.append(f"{path}.type: must be one of {', '.join(CALLS)}")
    for name in set(message) - _MESSAGE_FIELDS:
        broken_rules.append(f"{path}.{name}: a message has no such field")
    user = message.get("anonymousId") or message.get("userId")
    if not isinstance(user, str) or not 0 < len(user) <= 100:
        broken_rules.append(f"{path}: needs an anonymousId or userId of at most 100 characters")
    message_id = message.get("messageId")
    if not isinstance(message_id, str) or not re.fullmatch(r"[A-Za-z0-9._-]{16,64}", message_id):
        broken_rules.append(
            f"{path}.messageId: must be unique everywhere, of at most 64 letters, digits, '.', '_' and '-'"
        )
    if "timestamp" in message and not is_time(message["timestamp"]):
        broken_rules.append(f"{path}.timestamp: must be a time in ISO 8601")
    if kind == "track":
        event = message.get("event")
        if not isinstance(event, str) or not event or len(event) > 64 or re.search(r"--|[;=]|/\*", event):
            broken_rules.append(f"{path}.event: must be 1 to 64 characters, without '--', ';', '=' and '/*'")
        elif not event.isprintable():
            broken_rules.append(f"{path}.event: holds characters that are not text")
    for name in ("properties", "traits", "context"):
        if name in message and not isinstance(message[name], Mapping):
            broken_rules.append(f"{path}.{name}: must be an object")
    properties = message.get("properties") or message.get("traits") or {}
    if isinstance(properties, Mapping):
        if len(properties) > 10_000:
            broken_rules.append(f"{path}.properties: takes at most 10000")
        for name, value in properties.items():
            if not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*|[a-z0-9_]{64}", name):
                broken_rules.append(f"{path}.properties.{name}: is not snake_case")
            if not is_plain(value):
                broken_rules.append(f"{path}.properties.{name}: must be text, a number or a truth value")
    context = message.get("context", {})
    if isinstance(context, Mapping):
        for name in set(context) - _CONTEXT_FIELDS:
            broken_rules.append(f"{path}.context.{name}: there is no such field")
        merged = {**batch_context, **context}
        if merged.get("ip", "") == "":
            broken_rules.append(f"{path}.context.ip: left out, the sender's address is recorded by some servers")
    return broken_rules
