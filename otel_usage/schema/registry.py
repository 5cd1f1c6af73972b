"""The attributes, spans and metrics as a registry of semantic conventions, in the form that OpenTelemetry's weaver reads.

FORMAT  Two files of YAML, in a folder that ``weaver registry live-check --registry`` takes:
        ``manifest.yaml``  names the registry, and OpenTelemetry's own, on which it depends
        ``usage.yaml``     ``groups:``: the attributes of `ATTRIBUTES` that are ours, what each kind of span carries, the
                           counters of `DERIVED`, ``usage.dropped``; with a schema also its fields and counts
        Each text is written as JSON, which is YAML too, so that nothing in a host's words can be mistaken for syntax.
        Source: open-telemetry/weaver, schemas/semconv.schema.json and docs/define-your-own-telemetry-schema.md, read
        2026-11-26; weaver calls this form the first, and its default.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .attributes import ATTRIBUTES, DERIVED, FIELD_PREFIX, OUTCOMES, REASONS
from .fields import bucket_labels

OTEL = "1.40.0"  # of OpenTelemetry's semantic conventions, which define what is not ours
OWN = "usage."  # what begins so is ours, and `reason`
COUNTS = {  # {counter: (unit, instrument, what it counts)}
    "usage.runs": ("{run}", "counter", "Runs of commands."),
    "usage.run.duration": ("s", "histogram", "How long runs took, but for those whose process was killed."),
    "usage.actions": ("{action}", "counter", "Actions that the schema declares."),
    "usage.errors": ("{error}", "counter", "Errors that the schema declares."),
    "usage.dropped": ("{record}", "counter", "Records and fields that were not sent."),
}
_TYPES = {"usage.ci": "boolean", "usage.tty": "boolean", "usage.options": "string[]",
          "app.installation.ephemeral": "boolean"}  # fmt: skip
_NOT_OTELS = ("app.installation.ephemeral",)  # ours, although its name does not begin so
_EXAMPLES: dict[str, list[Any]] = {
    "usage.command": ["report upload"],
    "usage.options": [["--format", "--quiet"]],
    "usage.action": ["report.upload"],
    "usage.error": ["config.invalid"],
    "usage.signal": ["SIGSEGV"],
    "usage.frames": ["0f1e2d3c4b5a6978"],
}
# The tables have these in words: "`cli`, `service`".
_CHOICES = {"usage.kind", "usage.outcome", "usage.agent", "usage.surface", "usage.start"}


def manifest(app: str, version: str) -> str:
    """Return ``manifest.yaml``. app: whose registry it is; version: three numbers, of that."""
    rows = {
        "name": app,
        "description": f"What {app} records of its use",
        "schema_url": f"https://otel-usage.invalid/{app}/{version}",
    }
    otel = {
        "schema_url": f"https://opentelemetry.io/schemas/{OTEL}",
        "registry_path": f"https://github.com/open-telemetry/semantic-conventions@v{OTEL}[model]",
    }
    return _yaml({**rows, "dependencies": [otel]})


def registry(schema: Mapping[str, Any] | None = None) -> str:
    """Return ``usage.yaml``: what every program may send, and what one declares in its *schema*. Any: docs/schema.md.

    >>> "usage.count.events.handled" in registry({"events.handled": {"kind": "count", "why": "load"}})
    True
    """
    declared = schema or {}
    return _yaml({"groups": [*_attribute_groups(declared), *_span_groups(declared), *_metric_groups(declared)]})


def _attribute_groups(schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    own = [
        _attribute(row.key, row.why, _type_of(row.key, row.allowed))
        for row in ATTRIBUTES
        if row.key.startswith(OWN) or row.key in _NOT_OTELS
    ]
    own.append(_attribute("reason", "why a record or field was not sent", _enum(REASONS)))
    yield {"id": "registry.usage", "type": "attribute_group", "brief": "What otel-usage adds.", "attributes": own}
    resource = [{"ref": row.key} for row in ATTRIBUTES if row.on == "resource"]
    yield {"id": "usage.resource", "type": "attribute_group", "brief": "On every resource.", "attributes": resource}
    fields = [_attribute(FIELD_PREFIX + name, why, kind) for name, (why, kind) in sorted(_fields_of(schema).items())]
    if fields:
        brief = "Fields that the program declares."
        yield {"id": "registry.usage.field", "type": "attribute_group", "brief": brief, "attributes": fields}


def _span_groups(schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    briefs = {"run": "A run of a command.", "action": "Something a user did.", "error": "An error that a user met.",
              "heartbeat": "A sign of life of a service.", "start": "A start of a service.",
              "stop": "An orderly end of a service.",
              "crash": "A service's end by an exception or a signal."}  # fmt: skip
    for kind, brief in briefs.items():
        attributes = [{"ref": row.key} for row in ATTRIBUTES if kind in row.on.split()]
        attributes += _field_refs(row for row in schema.values() if row.get("kind", "action") == kind)
        yield {"id": f"span.usage.{kind}.internal", "type": "span", "span_kind": "internal", "stability": "development",
               "brief": brief, "attributes": attributes}  # fmt: skip


def _metric_groups(schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, (unit, instrument, brief) in COUNTS.items():
        keys = DERIVED.get(name, ("reason",))
        yield _metric(name, unit, instrument, brief, [{"ref": key} for key in keys])
    for name, row in sorted(schema.items()):
        if row.get("kind") == "count":
            yield _metric(f"usage.count.{name}", "1", "counter", row["why"], _field_refs([row]))


def _metric(name: str, unit: str, instrument: str, brief: str, attributes: list[dict[str, str]]) -> dict[str, Any]:
    row = {"id": f"metric.{name}", "type": "metric", "metric_name": name, "stability": "development"}
    return {**row, "instrument": instrument, "unit": unit, "brief": brief, "attributes": attributes}


def _field_refs(rows: Any) -> list[dict[str, str]]:
    """Return the fields of rows of a schema as references. Any: docs/schema.md."""
    return [{"ref": FIELD_PREFIX + name} for name in sorted({name for row in rows for name in row.get("fields") or {}})]


def _fields_of(schema: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """Return ``{field: (why, type)}``. Rows may share a name: choices are put together, other types become text or any."""
    fields: dict[str, tuple[str, Any]] = {}
    for name, row in sorted(schema.items()):
        for field, declared in (row.get("fields") or {}).items():
            kind, why = _declared_type(declared), f"{name}: {row['why']}"
            if field in fields:
                why_before, before = fields[field]
                why = f"{why_before}; {why}"
                kind = _joined(before, kind)
            fields[field] = why, kind
    return fields


def _declared_type(declared: Any) -> Any:
    """Return the type of a field in weaver's terms. Any: a type of docs/schema.md, and a type of the registry."""
    if declared is bool or declared == "bool":
        return "boolean"
    if isinstance(declared, (list, tuple)) and declared and declared[0] == "integer" and not isinstance(declared, list):
        return "int"
    if isinstance(declared, list):
        return _enum(declared)
    if declared[0] == "several":
        return "string[]"
    return "string" if declared[0] == "version" else _enum(bucket_labels(declared))


def _joined(one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        return _enum(dict.fromkeys(member["value"] for kind in (one, other) for member in kind["members"]))
    if one == other:
        return one
    texts = all(isinstance(kind, dict) or kind == "string" for kind in (one, other))
    return "string" if texts else "any"


def _type_of(key: str, allowed: str) -> Any:
    if key == "usage.outcome":
        return _enum(OUTCOMES)
    return _enum(re.findall(r"`([^`]+)`", allowed)) if key in _CHOICES else _TYPES.get(key, "string")


def _enum(values: Any) -> dict[str, Any]:
    """Return a closed list of texts as a type. A member's id is its place and its letters, so that no two are equal."""
    members = []
    for place, value in enumerate(values):
        letters = re.sub(r"[^a-z0-9]+", "_", value.lower()).strip("_")
        letters = letters if letters[:1].isalpha() else f"of_{letters}"  # an id begins with a letter
        members.append({"id": f"{letters}_{place}", "value": value, "stability": "development"})
    return {"members": members}


def _attribute(key: str, why: str, kind: Any) -> dict[str, Any]:
    row = {"id": key, "type": kind, "stability": "development", "brief": why}
    if kind in ("string", "string[]", "any"):
        row["examples"] = _EXAMPLES.get(key, ["1.4.2"])
    return row


def _yaml(value: Mapping[str, Any]) -> str:
    """Return *value* as YAML: a line for each row of its lists, its texts as JSON."""
    lines = ["# Generated; see docs/otlp-backends.md, A registry for weaver."]
    for key, rows in value.items():
        if isinstance(rows, list):
            lines.append(f"{key}:")
            for row in rows:
                lines += _row_lines(row)
        else:
            lines.append(f"{key}: {json.dumps(rows, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def _row_lines(row: Mapping[str, Any]) -> Iterator[str]:
    lead = "  - "
    for key, value in row.items():
        if key == "attributes" and value:
            yield f"{lead}{key}:"
            yield from (f"      - {json.dumps(attribute, ensure_ascii=False)}" for attribute in value)
        else:
            yield f"{lead}{key}: {json.dumps(value, ensure_ascii=False)}"
        lead = "    "
