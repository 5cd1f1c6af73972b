"""Check records as they are about to be sent: once more, since what lies in files was not written by this process.

Each check returns "" for a record that may be sent, else the reason to drop it, one of `attributes.REASONS`. The sender asks
for each record that it takes in, the relay for each that it is sent. The schema is the host's; the relay may know none, and
then checks names, types and sizes only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..proto_json import read_uint64
from .attributes import CHECKS, DERIVED, FIELD_PREFIX, KINDS, PLAIN_KINDS, REASONS
from .declaration import MAX_CHOICES, MAX_FIELDS
from .fields import bucket_labels, fit
from .patterns import DECLARED_NAME, FIELD, MAX_NAME, SPAN_ID, TRACE_ID, text_like

COUNT_PREFIX = "usage.count."  # of a declared counter, as a metric: usage.count.events.seen
MAX_PASSED = 10_000  # values remembered in `_passed`

_SPAN_KEYS = {
    "traceId", "spanId", "parentSpanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano", "attributes", "status",
    "flags",
}  # fmt: skip

# Texts that passed their check, with their keys: commands repeat, and patterns are slow.
_passed: set[tuple[str, object]] = set()
_is_declared_name = text_like(DECLARED_NAME, MAX_NAME)
_is_field = text_like(FIELD, MAX_NAME)


def check_fields(schema: Mapping[str, Any] | None, kind: str, name: str, fields: Mapping[str, object]) -> str:
    """Return "" if *fields* (without their prefix) may be sent with the declared *name*, else the reason.

    schema: None checks names, types and sizes only.
    """
    if schema is None:
        if not _is_declared_name(name) or len(fields) > MAX_FIELDS:
            return "undeclared"
        return "" if all(_is_field(f) and _is_short_value(v) for f, v in fields.items()) else "value"
    row = schema.get(name)
    if row is None and kind == name == "heartbeat" and not fields:  # of a service that declares none
        return ""
    if row is None or row.get("kind", "action") != kind:
        return "undeclared"
    types = row.get("fields") or {}
    for field, value in fields.items():
        if field not in types:
            return "undeclared_field"
        if not _is_recorded_value(types[field], value):
            return "value"
    return ""


def _is_recorded_value(field_type: Any, value: object) -> bool:
    """True if a field of that type may have been recorded as *value*: of a bucket, that is one of its labels. Any: a type."""
    if isinstance(field_type, tuple) and field_type[0] == "bucket":
        return value in bucket_labels(field_type)
    return fit(field_type, value) == value and (field_type != "bool" or isinstance(value, bool))


def _is_short_value(value: object) -> bool:
    """True for a boolean, a number of 64 bits, a short plain text, or a set of such: what a field of unknown type holds."""
    if isinstance(value, list):
        return len(value) <= MAX_CHOICES and all(isinstance(word, str) and _is_short_value(word) for word in value)
    return (isinstance(value, int) and -(1 << 63) <= value < 1 << 63) or (
        isinstance(value, str) and len(value) <= MAX_NAME and value.isprintable() and value.isascii()
    )


def _may_be_span(span: Mapping[str, Any], name: str) -> bool:
    """True if *span*, OTLP JSON, is called *name*, and has ids, times and nothing besides that could hold a text."""
    return bool(
        span.get("name") == name
        and TRACE_ID.fullmatch(str(span.get("traceId")))
        and SPAN_ID.fullmatch(str(span.get("spanId")))
        and (not span.get("parentSpanId") or SPAN_ID.fullmatch(str(span["parentSpanId"])))
        and span.get("kind") == 1
        and not span.keys() - _SPAN_KEYS
        and not (span.get("status") or {}).keys() - {"code"}
        and (span.get("status") or {}).get("code", 0) in (0, 1, 2)
        and 0 < read_uint64(span.get("startTimeUnixNano", 0)) <= read_uint64(span.get("endTimeUnixNano", 0)) < 1 << 63
    )


def check_span(
    span: Mapping[str, Any], attributes: Mapping[str, object], schema: Mapping[str, Any] | None, app: str
) -> str:
    """Return "" if the span may be sent, else the reason to drop it.

    span: OTLP JSON; attributes: its attributes, as Python values. The span's name must be what the attributes say, so that it
    can hold nothing more than they do. app: the service's name, with which a run's name begins.
    """
    kind = attributes.get("usage.kind")
    if kind not in KINDS:
        return "attribute"
    checks = CHECKS[str(kind)]
    fields = {}
    for key, value in attributes.items():
        if key in checks and value.__class__ is str and (key, value) in _passed:
            continue
        check = checks.get(key)
        if check is None:
            if kind == "run" or kind in PLAIN_KINDS or not key.startswith(FIELD_PREFIX):
                return "attribute"
            fields[key[len(FIELD_PREFIX) :]] = value
        elif not check(value):
            return "value"
        elif value.__class__ is str and len(_passed) < MAX_PASSED:
            _passed.add((key, value))
    if kind == "run":
        command = attributes.get("usage.command")
        if command is None or "usage.outcome" not in attributes:
            return "attribute"
        name = app if command == "(root)" else f"{app} {command}"
    elif kind in PLAIN_KINDS:
        name = str(kind)
    else:
        name = str(attributes.get(f"usage.{kind}", ""))
        reason = check_fields(schema, str(kind), name, fields)
        if reason:
            return reason
    return "" if _may_be_span(span, name) else "attribute"


def is_allowed_on_run(key: str, value: object) -> bool:
    """True if a run's attribute *key* may hold *value*."""
    return CHECKS["run"][key](value)


def is_allowed_on_resource(key: str, value: object) -> bool:
    """True if a resource's attribute *key* may hold *value*."""
    return CHECKS["resource"][key](value)


def check_resource(attributes: Mapping[str, object]) -> bool:
    """True if every resource attribute is in the table and looks as it should."""
    checks = CHECKS["resource"]
    return all(key in checks and checks[key](value) for key, value in attributes.items())


def check_point(name: str, attributes: Mapping[str, object], schema: Mapping[str, Any] | None) -> str:
    """Return "" if a data point of the metric *name* may be sent, else the reason to drop it."""
    if name == "usage.dropped":
        return "" if set(attributes) == {"reason"} and str(attributes["reason"]) in REASONS else "attribute"
    if name in DERIVED:
        allowed = DERIVED[name]
        checks = {**CHECKS["run"], **CHECKS["action"], **CHECKS["error"]}
        return "" if all(key in allowed and checks[key](value) for key, value in attributes.items()) else "attribute"
    if not name.startswith(COUNT_PREFIX):
        return "undeclared"
    if not all(key.startswith(FIELD_PREFIX) for key in attributes):
        return "attribute"
    fields = {key[len(FIELD_PREFIX) :]: value for key, value in attributes.items()}
    return check_fields(schema, "count", name[len(COUNT_PREFIX) :], fields)
