"""Field types: what a declared field may hold, and how a value is recorded.

The foreground loads it with the first action, error, heartbeat or count.
"""

from time import gmtime, strftime, time

MAX_LOOKED_AT = 1_000  # items of a list or set that a host passes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Pairs = list[tuple[str, object]]


def accept(
    schema: "Mapping[str, Any]", kind: str, name: str, fields: "Mapping[str, object]"
) -> "tuple[Pairs | None, list[str]]":
    """Return the declared fields with allowed values, and why the others are dropped.

    The fields are None if *name* itself is not declared as *kind*, or no longer recorded. Names and values may be whatever
    a host passes, and lie about themselves: only the types that C sees are asked.
    """
    declared = schema.get(str.__str__(name)) if issubclass(type(name), str) else None
    if declared is None or declared.get("kind", "action") != kind:
        return None, ["undeclared"]
    if "until" in declared and declared["until"] < strftime("%Y-%m-%d", gmtime(time())):
        return None, ["expired"]
    pairs: Pairs = []
    reasons: list[str] = []
    if fields:
        types = declared.get("fields") or {}
        for field, value in fields.items():
            if field not in types:
                reasons.append("undeclared_field")
                continue
            recorded = fit(types[field], value)
            if recorded is None:
                reasons.append("value")
            else:
                pairs.append((field, recorded))
    return pairs, reasons


def fit(declared: "Any", value: object) -> "str | bool | int | list[str] | None":
    """Return *value* as the declared field type records it, or None if it does not fit."""
    kind: type = type(value)
    if declared is bool or declared == "bool":
        return value if kind is bool else None  # type: ignore[return-value]
    text = str.__str__(value) if issubclass(kind, str) else None
    if isinstance(declared, list):
        # The declared choice, not the value: a subclass of str may be equal to it, and hold something else.
        return next((choice for choice in declared if choice == text), None)
    if declared[0] == "several":
        return words_of(declared[1], value)
    if declared[0] == "version":
        parts = text.split(".") if text is not None else []
        plain = 0 < len(parts) <= 4 and all([p.isascii() and p.isdigit() and len(p) < 7 for p in parts])
        return text if plain else None
    if kind is bool or not issubclass(kind, (int, float)):
        return None
    number: int | float = int.__pos__(value) if issubclass(kind, int) else float.__pos__(value)  # type: ignore[arg-type]
    if number != number:
        return None
    if declared[0] == "integer":
        return min(number, declared[1]) if type(number) is int and number >= 0 else None
    return bucket_label(declared, number)


def words_of(declared: "Sequence[str]", value: object) -> "list[str] | None":
    """Return the declared words that *value*, a list or set, holds, sorted; None if it holds another, or is none.

    Where ``other`` is declared, it stands for all others.
    """
    base = next((base for base in (list, tuple, set, frozenset) if issubclass(type(value), base)), None)
    if base is None or base.__len__(value) > MAX_LOOKED_AT:  # type: ignore[arg-type]
        return None
    words = set()
    for item in base.__iter__(value):  # type: ignore[arg-type, var-annotated]  # not what a subclass makes of it
        text = str.__str__(item) if issubclass(type(item), str) else None
        word = next((choice for choice in declared if choice == text), None)
        if word is None and (text is None or "other" not in declared):
            return None
        words.add(word or "other")
    return sorted(words)


def bucket_label(declared: "Sequence[Any]", value: float) -> str:
    """Return the label of the range that *value* falls in."""
    labels = bucket_labels(declared)
    for bound, label in zip(declared[2:], labels):  # noqa: B905  one label more than bounds
        if value < bound:
            return label
    return labels[-1]


def bucket_labels(declared: "Sequence[Any]") -> "list[str]":
    """Return every label that ``bucket(unit, *bounds)`` can record."""
    unit, bounds = declared[1], declared[2:]
    middle = [f"{low}-{high} {unit}" for low, high in zip(bounds, bounds[1:])]  # noqa: B905, RUF007
    return [f"<{bounds[0]} {unit}", *middle, f">={bounds[-1]} {unit}"]
