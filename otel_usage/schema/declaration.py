"""Check what a host declares with ``init(schema=…)``, and the calls that it makes afterwards.

Users' machines never pay for these checks: the sender makes them before it sends anything, and the host itself only where
wrong settings are errors (tests, development, ``OTEL_USAGE_STRICT=1``). The shape of a schema is told in docs/schema.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NoReturn

from ..setting_error import SettingError
from .fields import accept, fit
from .patterns import CHOICE, DECLARED_NAME, FIELD, MAX_NAME, text_like

KINDS = ("action", "count", "error", "heartbeat")
MAX_FIELDS = 20  # per declared name
MAX_CHOICES = 100  # per field
ROW_KEYS = ("kind", "why", "fields", "segment", "owner", "until")  # what may be declared of a name
MAX_SPELLED = 100  # characters of a value that an error's text shows
MAX_SCHEMA = 32_768  # characters of the schema as it is handed to the sender

_is_choice = text_like(CHOICE, MAX_NAME)


def refuse(what: str, value: object, expected: str) -> NoReturn:
    """Raise the SettingError that *what* has a *value* which is not what is *expected*. *value* must be no secret."""
    raise SettingError(f"{what} {value!r} is not {expected}")


# -- what is declared ---------------------------------------------------------------------------------------------


def check_schema(schema: object) -> None:
    """Raise SettingError unless *schema* has the shape of docs/schema.md.

    >>> check_schema({"report.upload": {"why": "which formats to keep?", "fields": {"format": ["pdf", "html"]}}})
    """
    if not isinstance(schema, Mapping):
        refuse("schema", schema, "a dict {name: {'why': …, 'fields': {…}}}")
    for name, row in schema.items():
        if not isinstance(name, str) or len(name) > MAX_NAME or not DECLARED_NAME.fullmatch(name):
            refuse("schema: name", name, "lower-case words joined by dots, such as 'report.upload'")
        _check_row(name, row)
        _check_field_types(name, row.get("fields") or {}, row.get("kind", "action"))
    if len(repr(schema)) > MAX_SCHEMA:
        raise SettingError(f"schema has {len(repr(schema))} characters as text, more than {MAX_SCHEMA}; declare less")


def _check_row(name: str, row: Any) -> None:
    """Raise SettingError unless *row* is what a name may be declared as, but for its fields. Any: the host's own."""
    if not isinstance(row, Mapping):
        refuse(f"schema: {name!r}:", row, "a dict such as {'why': 'is it worth keeping?'}")
    for key in row:
        if key not in ROW_KEYS:
            refuse(f"schema: {name!r}: key", key, "one of " + ", ".join(ROW_KEYS))
    if row.get("kind", "action") not in KINDS:
        refuse(f"schema: {name!r}: kind", row["kind"], "one of " + ", ".join(KINDS))
    if not isinstance(row.get("why"), str) or not row["why"].strip():
        refuse(f"schema: {name!r}: why", row.get("why"), "the question that it answers; your users will read it")
    if "segment" in row and not _is_choice(row["segment"]):
        refuse(f"schema: {name!r}: segment", row["segment"], "the event's name at Segment, such as 'Report Uploaded'")
    if "owner" in row and not (isinstance(row["owner"], str) and row["owner"].strip()):
        refuse(f"schema: {name!r}: owner", row["owner"], "who answers for it, such as 'reports team'")
    if "until" in row and not _is_day(row["until"]):
        refuse(f"schema: {name!r}: until", row["until"], "the last day on which it is recorded, such as '2027-06-30'")


def _is_day(value: object) -> bool:
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _check_field_types(name: str, fields: Any, kind: str) -> None:
    """Raise SettingError unless *fields*, of the declared *name* and *kind*, is ``{field: type}``. Any: the host's own."""
    if not isinstance(fields, Mapping) or len(fields) > MAX_FIELDS:
        refuse(f"schema: {name!r}: fields", fields, f"a dict of at most {MAX_FIELDS} {{field: type}}")
    for field, field_type in fields.items():
        if not isinstance(field, str) or len(field) > MAX_NAME or not FIELD.fullmatch(field):
            refuse(f"schema: {name!r}: field", field, "a lower-case word such as 'format'")
        _check_type(f"schema: {name!r}: type of {field!r}", field_type, kind)


_TYPES = ("bucket", "integer", "several", "version")


def _check_type(what: str, field_type: Any, kind: str) -> None:
    """Raise SettingError, about *what*, unless *field_type* is a type that a field may have. Any: the host's own.

    kind: of the name that it is a field of.
    """
    if field_type is bool or field_type == "bool":
        return
    if isinstance(field_type, list):
        if not (0 < len(field_type) <= MAX_CHOICES and all(map(_is_choice, field_type))):
            refuse(what, field_type, f"a list of 1 to {MAX_CHOICES} words")
        return
    expected = (
        "a list of choices, bool, otel_usage.bucket(unit, …), otel_usage.integer(max), otel_usage.several([…]) or "
        "otel_usage.version()"
    )
    if not isinstance(field_type, tuple) or not field_type or field_type[0] not in _TYPES:
        refuse(what, field_type, expected)
    if field_type[0] == "several":
        if kind == "count":  # each set that occurs would be a series of its own
            refuse(what, field_type, "possible for a count; declare several() of a heartbeat, an action or an error")
        words = field_type[1] if len(field_type) == 2 else None
        if not (isinstance(words, (list, tuple)) and 0 < len(words) <= MAX_CHOICES and all(map(_is_choice, words))):
            refuse(what, field_type, f"otel_usage.several() of 1 to {MAX_CHOICES} words")
        return
    if field_type[0] != "version" and len(field_type) < 2:
        refuse(what, field_type, expected)
    if field_type[0] == "bucket" and not _is_bucket(field_type[1], field_type[2:]):
        refuse(what, field_type, "bucket(unit, smallest bound, …, largest bound)")
    if field_type[0] == "integer" and not _is_largest(field_type[1]):
        refuse(what, field_type, "integer(max) with a max above 0")


def _is_bucket(unit: object, bounds: tuple[Any, ...]) -> bool:
    """True if *unit* is a word, and *bounds* are numbers that rise."""
    numbers = all(isinstance(bound, (int, float)) and not isinstance(bound, bool) for bound in bounds)
    return bool(
        isinstance(unit, str) and CHOICE.fullmatch(unit) and bounds and numbers and list(bounds) == sorted(set(bounds))
    )


def _is_largest(value: object) -> bool:
    """True if *value* may be the largest whole number of a field: JSON holds those below 2**53 exactly."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 53


# -- what is called -----------------------------------------------------------------------------------------------


def check_event(
    schema: Mapping[str, Any], kind: str, name: object, fields: Mapping[str, object], more: Sequence[object] = ()
) -> None:
    """Raise SettingError if anything of the call ``usage.<kind>(name, *more, **fields)`` would be dropped.

    Any: the host's own. more: what was passed by position, and is of no use.
    """
    text = str.__str__(name) if issubclass(type(name), str) else ""
    reasons = accept(schema, kind, text, fields)[1]
    if more:
        reasons = ["value"]
    if reasons and reasons != ["expired"]:  # a test must not fail because a certain day has passed
        problems = "; ".join(_find_problems(schema.get(text), kind, fields, more))
        call = ", ".join(_spell(value) for value in (name, *more))
        named = "".join(f", {field}={_spell(value)}" for field, value in fields.items())
        raise SettingError(f"{kind}({call}{named}) would be dropped: {problems}")


def check_command(name: object, more: Sequence[object], constants: Sequence[object]) -> None:
    """Raise SettingError if ``usage.command(name, *more)`` would be recorded as ``(unknown)``.

    constants: of the function that calls it, such as ``("scan", None, ("add", "list"))``.
    """
    text = str.__str__(name) if issubclass(type(name), str) else ""
    words = {
        word
        for constant in constants
        for word in (constant if isinstance(constant, (tuple, frozenset)) else [constant])
    }
    if more or not text or text not in words:
        raise SettingError(
            f"command({', '.join(_spell(value) for value in (name, *more))}) would be recorded as '(unknown)': its name is "
            f"not a literal of the function that calls it, and may be a word that a user typed. Write it there, as in "
            f"usage.command('scan'); or, for a table of commands: if word in ('scan', 'list'): usage.command(word)"
        )


def _spell(value: object) -> str:
    """Return *value* as an error's text shows it: short, whatever it is."""
    try:
        text = repr(value)
    except Exception:  # of the host's class
        text = f"<{type(value).__name__}>"
    return text if len(text) <= MAX_SPELLED else text[:MAX_SPELLED] + "…"


def _find_problems(
    row: Mapping[str, Any] | None, kind: str, fields: Mapping[str, object], more: Sequence[object]
) -> Iterator[str]:
    """Yield what is wrong with a call. row: what its name is declared as, None if it is not. Any: the host's own."""
    if more and kind == "count":
        yield f"it takes a whole number, and fields by name, not {_spell(more[0])}"
    elif more:
        yield f"it takes declared fields by name, as in field='choice', and no text: not {_spell(more[0])}"
    if row is None:
        yield "its name is not in the schema. Declare it in schema="
        return
    declared_kind = row.get("kind", "action")
    if declared_kind != kind:
        yield f"it is declared as {declared_kind}, not {kind}"
        return
    types = row.get("fields") or {}
    for field, value in fields.items():
        if field not in types:
            has = f"it has {', '.join(types)}" if types else "it has none"
            yield f"field {field!r} is not in the schema ({has}). Declare it in schema="
        elif fit(types[field], value) is None:
            yield f"field {field!r} is {_spell(value)}, not {_describe_type(types[field])}"


def _describe_type(field_type: Any) -> str:
    """Return what a field of this type takes, in words. Any: a type as docs/schema.md has them."""
    if isinstance(field_type, list):
        return "one of " + ", ".join(map(repr, field_type))
    if field_type is bool or field_type == "bool":
        return "True or False"
    if field_type[0] == "several":
        return "a list or set of " + ", ".join(map(repr, field_type[1]))
    words = {"bucket": "a number", "integer": "a whole number from 0", "version": "numbers and dots, such as '3.11.7'"}
    return words[field_type[0]]
