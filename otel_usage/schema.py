"""What may be recorded: the table of attributes, and the rules for settings, schemas and records.

Ring 1 (background); the foreground loads it only in tests and development.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NoReturn
from urllib.parse import urlsplit

from .events import accept, bucket_labels, fit
from .lazy import SettingError as SettingError

KINDS = ("action", "count", "error", "heartbeat")
OUTCOMES = ("success", "failure", "usage_error", "interrupted", "help", "unfinished", "unknown")
SENDERS = ("detached", "inline", "none")
CONSENTS = ("opt-in", "opt-out", "ask")

MAX_NAME = 64  # characters of a declared name, field, choice or option
MAX_PATH = 200  # of a command's path
MAX_OPTIONS = 64
MAX_FIELDS = 20  # per declared name
MAX_CHOICES = 100  # per field
ROW = ("kind", "why", "fields", "segment", "owner", "until")  # what may be said of a declared name
MAX_SCHEMA = 32_768  # characters of the schema as it is handed to the sender

_APP = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
_FIELD = re.compile(r"[a-z][a-z0-9_]*")
_CHOICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.:+/@-]*")
_COMMAND = re.compile(r"\((?:root|unknown)\)|[\w(][\w.:+@()-]*(?: [\w(][\w.:+@()-]*)*")
_OPTION = re.compile(r"[-+/]{1,2}[\w?#@.:][\w?#@.:-]*")
_ERROR = re.compile(r"_OTHER|[A-Za-z_][\w.]*")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+!_-]*")
_DESTINATION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_HEX16 = re.compile(r"[0-9a-f]{16}")
_HEX32 = re.compile(r"[0-9a-f]{32}")


# -- the table --------------------------------------------------------------------------------------------------


def _text(pattern: re.Pattern[str], most: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and len(value) <= most and pattern.fullmatch(value) is not None


def _one_of(*words: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and value in words


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_exit_code(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32


def _is_options(value: object) -> bool:
    return isinstance(value, list) and len(value) <= MAX_OPTIONS and all(map(_text(_OPTION, MAX_NAME), value))


@dataclass(frozen=True)
class Attribute:
    """One row of the table: what may leave, on what, if it looks how, and why it is needed."""

    key: str
    on: str  # kinds of span, or "resource"
    allowed: str  # in words, for the documentation
    why: str
    check: Callable[[object], bool]


ATTRIBUTES = (
    Attribute("usage.kind", "run action error heartbeat", "`run`, `action`, `error`, `heartbeat`",
              "tells the records apart", _one_of("run", "action", "error", "heartbeat")),
    Attribute("usage.command", "run", "the path in the parser's own tree, `(root)` or `(unknown)`",
              "which commands matter", _text(_COMMAND, MAX_PATH)),
    Attribute("usage.outcome", "run", ", ".join(f"`{o}`" for o in OUTCOMES),
              "which commands fail, and how", _one_of(*OUTCOMES)),
    Attribute("usage.options", "run", "names of declared options that were given, never their values",
              "which options matter", _is_options),
    Attribute("process.executable.name", "run", "the app's name, not argv", "OpenTelemetry's name for it",
              _text(_APP, MAX_NAME)),
    Attribute("process.exit.code", "run", "0 to 255", "failure rate per command", _is_exit_code),
    Attribute("error.type", "run action", "class of the exception if it is the stdlib's, the framework's or the app's own, "
              "else `_OTHER`; never its message", "what to fix first", _text(_ERROR, MAX_PATH)),
    Attribute("usage.ci", "run", "true in a CI system", "keeps machines and people apart", _is_bool),
    Attribute("usage.tty", "run", "true if standard output is a terminal", "keeps scripts and people apart", _is_bool),
    Attribute("usage.action", "action", "a name declared in the schema", "what people do", _text(_NAME, MAX_NAME)),
    Attribute("usage.error", "error", "a code declared in the schema", "what confuses people", _text(_NAME, MAX_NAME)),
    Attribute("service.name", "resource", "the app's name", "whose usage it is", _text(_APP, MAX_NAME)),
    Attribute("service.version", "resource", "the app's version", "who is on which release", _text(_VERSION, MAX_NAME)),
    Attribute("process.runtime.name", "resource", "`cpython`, `pypy`, …", "which Pythons to support",
              _text(_FIELD, MAX_NAME)),
    Attribute("process.runtime.version", "resource", "the Python's version", "which Pythons to support",
              _text(_VERSION, MAX_NAME)),
    Attribute("app.installation.id", "resource", "a random UUID, resettable, renewed every 365 days; `ci.<vendor>` in CI",
              "counts installations, not runs", _text(re.compile(r"ci\.[a-z]+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), 64)),
    Attribute("os.type", "resource", "`linux`, `darwin`, `windows`, …", "which systems to support", _text(_FIELD, MAX_NAME)),
    Attribute("os.version", "resource", "major and minor number", "which systems to support", _text(_VERSION, MAX_NAME)),
    Attribute("host.arch", "resource", "`amd64`, `arm64`, …", "which builds to ship", _text(_FIELD, MAX_NAME)),
    Attribute("k8s.cluster.uid", "resource", "keyed hash of the cluster's id, services only",
              "counts installations of a service", _text(re.compile(r"[0-9a-f-]+"), MAX_NAME)),
    Attribute("telemetry.sdk.name", "resource", "`otel-usage`", "which version wrote it", _text(re.compile(r"[a-z-]+"), 64)),
    Attribute("telemetry.sdk.language", "resource", "`python`", "which version wrote it", _text(_FIELD, 64)),
    Attribute("telemetry.sdk.version", "resource", "ours", "which version wrote it", _text(_VERSION, 64)),
)  # fmt: skip
FIELD_PREFIX = "usage.field."
_CHECKS = {
    kind: {row.key: row.check for row in ATTRIBUTES if kind in row.on.split()}
    for kind in ("run", "action", "error", "heartbeat", "resource")
}

# Why a record or field was not kept. Counted as ``usage.dropped{reason}``.
REASONS = {
    "undeclared": "its name is not in the schema",
    "expired": "the day after which it is not recorded any more has passed",
    "undeclared_field": "the field is not in the schema",
    "value": "the value does not fit its declared type",
    "limit": "more than is kept between two flushes, or in the spool",
    "age": "it waited too long",
    "consent": "it was begun before consent was given",
    "corrupt": "the file could not be read",
    "attribute": "an attribute that is not in the table",
    "unknown_delivery": "the sender died while sending to a destination that can't tell a repetition",
    "rejected": "the destination refused it",
    "too_old": "older than the destination takes (GA4: 72 h)",
    "future": "later than the destination takes",
    "misconfigured": "the destination's settings are wrong",
    "undelivered": "it can't be known whether it arrived, and the destination can't tell a repetition",
    "nameless": "the process died before its command was known",
}  # fmt: skip


# -- settings ---------------------------------------------------------------------------------------------------


def _refuse(what: str, value: object, expected: str) -> NoReturn:
    raise SettingError(f"{what} {value!r} is not {expected}")


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise SettingError unless *settings*, as `init` got them, are sound."""
    check_own(settings)
    if settings["destinations"] is not None:
        from .destination import check

        for name, told in settings["destinations"].items():
            check(name, told)
    from .sender import PLAIN, read

    for key, value in settings.items():
        try:
            read(repr(value))
        except ValueError:
            raise SettingError(f"{key} {PLAIN}") from None


def check_own(settings: Mapping[str, Any]) -> None:
    """Raise SettingError unless *settings* are sound, whatever each destination is told: those are looked at apart."""
    app, version = settings["app"], settings["version"]
    if not isinstance(app, str) or not _APP.fullmatch(app):
        _refuse("app", app, "a name of lower-case letters, digits, '.', '_' and '-', at most 64 of them")
    if not _text(_VERSION, MAX_NAME)(version):
        _refuse("version", version, "a version such as '1.4.2'; pass your program's own")
    if settings["consent"] not in CONSENTS:
        _refuse("consent", settings["consent"], "'opt-in', 'opt-out' or 'ask': how your users agree is yours to decide")
    sender, flush_s = settings.get("sender", "detached"), settings.get("flush_s", 60.0)
    if sender not in SENDERS:
        _refuse("sender", sender, "'detached', 'inline' or 'none'")
    if not isinstance(settings["policy"], int) or settings["policy"] < 1:
        _refuse("policy", settings["policy"], "a whole number from 1; raise it when you collect more than before")
    if not isinstance(flush_s, (int, float)) or not 0 < flush_s <= 86_400:
        _refuse("flush_s", flush_s, "a number of seconds from above 0 to 86400")
    if settings.get("service") and settings["consent"] == "ask":
        _refuse("consent", "ask", "possible for a service: nobody is there to answer; pass 'opt-in' or 'opt-out'")
    flag = settings.get("flag", "")
    if not isinstance(flag, str) or (flag and not re.fullmatch(r"--[a-z0-9][a-z0-9-]*", flag)):
        _refuse("flag", flag, "a long option such as '--disable-analytics', or '' for none")
    if not isinstance(settings["about"], str):
        _refuse("about", settings["about"], "the address of your page on what is collected")
    _check_names(settings["destinations"])
    check_schema(settings["schema"])


def _check_names(destinations: object) -> None:
    """Raise SettingError unless *destinations* is None or a dict with names of exporters. Each has a folder."""
    if destinations is None:
        return
    if not isinstance(destinations, Mapping):
        kind = type(destinations).__name__
        raise SettingError(f"destinations is a {kind}, not a dict {{name: endpoint or {{keyword: value}}}}")
    for name in destinations:
        if not isinstance(name, str) or not _DESTINATION.fullmatch(name):
            _refuse("destination", name, "the name of an installed exporter, such as 'otlp'")


def check_endpoint(name: str, endpoint: str) -> None:
    """Raise SettingError unless *endpoint* is an HTTPS address, or a loopback one. Passwords and queries are not shown."""
    what = f"endpoint of {name!r}"
    shown = endpoint.partition("?")[0].partition("#")[0]
    if "@" in shown:
        raise SettingError(f"{what} holds a password; pass headers= instead")
    try:
        parts = urlsplit(endpoint)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        _refuse(what, shown, "an address such as 'https://usage.example.org'")
    if parts.scheme not in ("http", "https") or not host:
        _refuse(what, shown, "an address such as 'https://usage.example.org'")
    if parts.scheme == "http" and not is_loopback(host):
        _refuse(what, shown, "HTTPS; plain HTTP is only for this machine")


def is_loopback(host: str) -> bool:
    """True for this machine's own addresses."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_schema(schema: object) -> None:
    """Raise SettingError unless *schema* has the shape of docs/schema.md."""
    if not isinstance(schema, Mapping):
        _refuse("schema", schema, "a dict {name: {'why': …, 'fields': {…}}}")
    for name, row in schema.items():
        if not isinstance(name, str) or len(name) > MAX_NAME or not _NAME.fullmatch(name):
            _refuse("schema: name", name, "lower-case words joined by dots, such as 'report.upload'")
        if not isinstance(row, Mapping):
            _refuse(f"schema: {name!r}:", row, "a dict such as {'why': 'is it worth keeping?'}")
        for key in row:
            if key not in ROW:
                _refuse(f"schema: {name!r}: key", key, "one of " + ", ".join(ROW))
        if row.get("kind", "action") not in KINDS:
            _refuse(f"schema: {name!r}: kind", row["kind"], "one of " + ", ".join(KINDS))
        if not isinstance(row.get("why"), str) or not row["why"].strip():
            _refuse(f"schema: {name!r}: why", row.get("why"), "the question that it answers; your users will read it")
        if "segment" in row and not _text(_CHOICE, MAX_NAME)(row["segment"]):
            _refuse(
                f"schema: {name!r}: segment", row["segment"], "the event's name at Segment, such as 'Report Uploaded'"
            )
        if "owner" in row and not (isinstance(row["owner"], str) and row["owner"].strip()):
            _refuse(f"schema: {name!r}: owner", row["owner"], "who answers for it, such as 'reports team'")
        if "until" in row and not _is_day(row["until"]):
            _refuse(
                f"schema: {name!r}: until", row["until"], "the last day on which it is recorded, such as '2027-06-30'"
            )
        fields = row.get("fields") or {}
        if not isinstance(fields, Mapping) or len(fields) > MAX_FIELDS:
            _refuse(f"schema: {name!r}: fields", fields, f"a dict of at most {MAX_FIELDS} {{field: type}}")
        for field, kind in fields.items():
            if not isinstance(field, str) or len(field) > MAX_NAME or not _FIELD.fullmatch(field):
                _refuse(f"schema: {name!r}: field", field, "a lower-case word such as 'format'")
            _check_type(f"schema: {name!r}: type of {field!r}", kind)
    if len(repr(schema)) > MAX_SCHEMA:
        raise SettingError(f"schema has {len(repr(schema))} characters as text, more than {MAX_SCHEMA}; declare less")


def _is_day(value: object) -> bool:
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _check_type(what: str, kind: Any) -> None:
    expected = "a list of choices, bool, otel_usage.bucket(unit, …), otel_usage.integer(max) or otel_usage.version()"
    if kind is bool or kind == "bool":
        return
    if isinstance(kind, list):
        good = 0 < len(kind) <= MAX_CHOICES and all(_text(_CHOICE, MAX_NAME)(choice) for choice in kind)
        if not good:
            _refuse(what, kind, f"a list of 1 to {MAX_CHOICES} words")
        return
    if not isinstance(kind, tuple) or not kind or kind[0] not in ("bucket", "integer", "version"):
        _refuse(what, kind, expected)
    if kind[0] != "version" and len(kind) < 2:
        _refuse(what, kind, expected)
    if kind[0] == "bucket":
        bounds = kind[2:]
        numbers = all(isinstance(b, (int, float)) and not isinstance(b, bool) for b in bounds)
        if not (
            isinstance(kind[1], str)
            and _CHOICE.fullmatch(kind[1])
            and bounds
            and numbers
            and list(bounds) == sorted(set(bounds))
        ):
            _refuse(what, kind, "bucket(unit, smallest bound, …, largest bound)")
    if kind[0] == "integer" and not (
        isinstance(kind[1], int) and not isinstance(kind[1], bool) and 0 < kind[1] < 1 << 53
    ):
        _refuse(what, kind, "integer(max) with a max above 0")


def check_event(schema: Mapping[str, Any], kind: str, name: str, fields: Mapping[str, object]) -> None:
    """Raise SettingError if anything of this call would be dropped."""
    reasons = accept(schema, kind, name, fields)[1]
    if reasons and reasons != ["expired"]:  # no test should fail on a certain day
        told = "; ".join(_wrong(schema.get(name), kind, fields))
        raise SettingError(f"{kind}({name!r}, {fields!r}) would be dropped: {told}")


def _wrong(row: Mapping[str, Any] | None, kind: str, fields: Mapping[str, object]) -> Iterator[str]:
    """Yield what is wrong with a call: row is what its name is declared as."""
    if row is None:
        yield "its name is not in the schema. Declare it in schema="
        return
    declared = row.get("kind", "action")
    if declared != kind:
        yield f"it is declared as {declared}, not {kind}"
        return
    types = row.get("fields") or {}
    for field, value in fields.items():
        if field not in types:
            has = f"it has {', '.join(types)}" if types else "it has none"
            yield f"field {field!r} is not in the schema ({has}). Declare it in schema="
        elif fit(types[field], value) is None:
            yield f"field {field!r} is {value!r}, not {_allowed(types[field])}"


def _allowed(kind: Any) -> str:
    """Return what a field of the declared type *kind* takes, in words."""
    if isinstance(kind, list):
        return "one of " + ", ".join(map(repr, kind))
    if kind is bool or kind == "bool":
        return "True or False"
    words = {"bucket": "a number", "integer": "a whole number from 0", "version": "numbers and dots, such as '3.11.7'"}
    return words[kind[0]]


# -- records ----------------------------------------------------------------------------------------------------


def _fits(declared: Any, value: object) -> bool:
    if isinstance(declared, tuple) and declared[0] == "bucket":
        return value in bucket_labels(declared)
    return fit(declared, value) == value and (declared != "bool" or isinstance(value, bool))


def _structural(value: object) -> bool:
    return (isinstance(value, int) and -(1 << 63) <= value < 1 << 63) or (
        isinstance(value, str) and len(value) <= MAX_NAME and value.isprintable() and value.isascii()
    )


def check_fields(schema: Mapping[str, Any] | None, kind: str, name: str, fields: Mapping[str, object]) -> str:
    """Return "" if *fields* (without their prefix) may be sent with the declared *name*, else the reason.

    schema: None checks names, types and sizes only.
    """
    if schema is None:
        if not _text(_NAME, MAX_NAME)(name) or len(fields) > MAX_FIELDS:
            return "undeclared"
        return "" if all(_text(_FIELD, MAX_NAME)(f) and _structural(v) for f, v in fields.items()) else "value"
    row = schema.get(name)
    if row is None or row.get("kind", "action") != kind:
        return "undeclared"
    types = row.get("fields") or {}
    for field, value in fields.items():
        if field not in types:
            return "undeclared_field"
        if not _fits(types[field], value):
            return "value"
    return ""


def check_span(
    span: Mapping[str, Any], attributes: Mapping[str, object], schema: Mapping[str, Any] | None, app: str
) -> str:
    """Return "" if the span may be sent, else the reason to drop it.

    span: OTLP JSON; attributes: its, as Python values. The name must be what the attributes say: it holds nothing more.
    """
    kind = attributes.get("usage.kind")
    if kind not in ("run", "action", "error", "heartbeat"):
        return "attribute"
    checks, seen = _CHECKS[str(kind)], _SEEN
    fields = {}
    for key, value in attributes.items():
        if key in checks and value.__class__ is str and (key, value) in seen:
            continue
        check = checks.get(key)
        if check is None:
            if kind == "run" or not key.startswith(FIELD_PREFIX):
                return "attribute"
            fields[key[len(FIELD_PREFIX) :]] = value
        elif not check(value):
            return "value"
        elif value.__class__ is str and len(seen) < 10_000:
            seen.add((key, value))
    if kind == "run":
        command = attributes.get("usage.command")
        if command is None or "usage.outcome" not in attributes:
            return "attribute"
        name = app if command == "(root)" else f"{app} {command}"
    elif kind == "heartbeat":
        name = "heartbeat"
        if schema is not None:  # its name is not on the wire: some declared heartbeat must allow the fields
            reasons = [
                check_fields(schema, "heartbeat", n, fields) for n, r in schema.items() if r.get("kind") == "heartbeat"
            ]
            if "" not in reasons:
                return reasons[0] if reasons else "undeclared"
    else:
        name = str(attributes.get(f"usage.{kind}", ""))
        reason = check_fields(schema, str(kind), name, fields)
        if reason:
            return reason
    well_formed = (
        span.get("name") == name
        and _HEX32.fullmatch(str(span.get("traceId")))
        and _HEX16.fullmatch(str(span.get("spanId")))
        and (not span.get("parentSpanId") or _HEX16.fullmatch(str(span["parentSpanId"])))
        and span.get("kind") == 1
        and not span.keys() - _SPAN_KEYS
        and not (span.get("status") or {}).keys() - {"code"}
        and (span.get("status") or {}).get("code", 0) in (0, 1, 2)
        and 0 < int(span.get("startTimeUnixNano", 0)) <= int(span.get("endTimeUnixNano", 0)) < 1 << 63
    )
    return "" if well_formed else "attribute"


_SEEN: set[tuple[str, object]] = set()  # text that passed: commands repeat, and patterns are slow
_SPAN_KEYS = {
    "traceId", "spanId", "parentSpanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano", "attributes", "status",
    "flags",
}  # fmt: skip


def fits(key: str, value: object) -> bool:
    """True if a run's attribute *key* may hold *value*."""
    return _CHECKS["run"][key](value)


def check_resource(attributes: Mapping[str, object]) -> bool:
    """True if every resource attribute is in the table and looks as it should."""
    checks = _CHECKS["resource"]
    return all(key in checks and checks[key](value) for key, value in attributes.items())


def check_point(name: str, attributes: Mapping[str, object], schema: Mapping[str, Any] | None) -> str:
    """Return "" if a data point of the metric *name* may be sent, else the reason to drop it."""
    if name == "usage.dropped":
        return "" if set(attributes) == {"reason"} and str(attributes["reason"]) in REASONS else "attribute"
    if name in DERIVED:
        allowed = DERIVED[name]
        checks = {**_CHECKS["run"], **_CHECKS["action"], **_CHECKS["error"]}
        return "" if all(key in allowed and checks[key](value) for key, value in attributes.items()) else "attribute"
    if not name.startswith("usage.count."):
        return "undeclared"
    if not all(key.startswith(FIELD_PREFIX) for key in attributes):
        return "attribute"
    fields = {key[len(FIELD_PREFIX) :]: value for key, value in attributes.items()}
    return check_fields(schema, "count", name[len("usage.count.") :], fields)


# Counters that the sender makes from the spans, and their attributes.
DERIVED = {
    "usage.runs": ("usage.command", "usage.outcome"),
    "usage.run.duration": ("usage.command", "usage.outcome"),
    "usage.actions": ("usage.action",),
    "usage.errors": ("usage.error",),
}
