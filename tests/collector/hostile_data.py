"""Spans and data points that no program of ours makes, each with what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

ACTION: dict[str, object] = {"usage.kind": "action", "usage.action": "report.upload", "usage.field.format": "pdf"}
LONG = "y" * (1 << 20)
NAN = float("nan")


def field(span: Any) -> Any:
    """Return a new field's value, to be set."""
    return span.attributes.add(key="usage.field.new").value


def attribute(span: Any, key: str) -> Any:
    """Return the value of the attribute *key*."""
    return next(pair.value for pair in span.attributes if pair.key == key)


def nested(span: Any) -> None:
    """A map with text in keys and values."""
    field(span).kvlist_value.values.add(key="/home/ada").value.string_value = "/home/ada"


def nested_nan(span: Any) -> None:
    """A map that JSON can't hold, so that looking at it as JSON fails."""
    values = field(span).kvlist_value.values
    values.add(key="/home/ada").value.string_value = "/home/ada"
    values.add(key="nan").value.double_value = NAN


def not_a_list(span: Any) -> None:
    """Text where a list belongs."""
    attribute(span, "usage.options").string_value = "--format"


def option(text: str) -> Callable[[Any], None]:
    """Return what adds *text* as an option."""

    def add(span: Any) -> None:
        attribute(span, "usage.options").array_value.values.add().string_value = text

    return add


def deep_option(span: Any) -> None:
    """A map in the list."""
    values = attribute(span, "usage.options").array_value.values
    values.add().kvlist_value.values.add(key="/home/ada").value.string_value = "x"


def many_options(span: Any) -> None:
    """More options than any program has."""
    for n in range(65):
        option(f"--o{n}")(span)


def no_command(span: Any) -> None:
    """A run without one."""
    span.attributes.remove(next(pair for pair in span.attributes if pair.key == "usage.command"))


RUNS: dict[str, Callable[[Any], object]] = {
    "status": lambda span: setattr(span.status, "code", 7),
    "span id": lambda span: span.ClearField("span_id"),
    "trace id": lambda span: setattr(span, "trace_id", bytes(16)),
    "ends early": lambda span: setattr(span, "end_time_unix_nano", span.start_time_unix_nano - 1),
    "no start": lambda span: setattr(span, "start_time_unix_nano", 0),
    "late": lambda span: setattr(span, "end_time_unix_nano", (1 << 64) - 1),
    "link": lambda span: span.links.add(trace_id=bytes(range(16)), span_id=bytes(range(8))),
    "kind": lambda span: setattr(attribute(span, "usage.kind"), "string_value", "leak"),
    "kind as bytes": lambda span: setattr(attribute(span, "usage.kind"), "bytes_value", b"run"),
    "no command": no_command,
    "command": lambda span: setattr(attribute(span, "usage.command"), "string_value", "/home/ada"),
    "long command": lambda span: setattr(attribute(span, "usage.command"), "string_value", "x" * 401),
    "command as bytes": lambda span: setattr(attribute(span, "usage.command"), "bytes_value", b"abc"),
    "command as list": lambda span: attribute(span, "usage.command").array_value.values.add(string_value=LONG),
    "outcome": lambda span: setattr(attribute(span, "usage.outcome"), "string_value", "ada"),
    "kind twice": lambda span: span.attributes.add(key="usage.kind").value.MergeFromString(b"\x0a\x04leak"),
    "ci": lambda span: setattr(attribute(span, "usage.ci"), "string_value", "/home/ada"),
    "tty as list": lambda span: attribute(span, "usage.tty").array_value.values.add(string_value=LONG),
    "exit code": lambda span: setattr(attribute(span, "process.exit.code"), "double_value", NAN),
    "executable": lambda span: setattr(attribute(span, "process.executable.name"), "bytes_value", b"ada"),
    "error": lambda span: setattr(span.attributes.add(key="error.type").value, "string_value", "/home/ada"),
    "error as bytes": lambda span: setattr(span.attributes.add(key="error.type").value, "bytes_value", b"ada"),
    "options": not_a_list,
    "an option": option("/home/ada"),
    "a long option": option("--" + LONG),
    "a map as option": deep_option,
    "many options": many_options,
}
ACTIONS: dict[str, Callable[[Any], object]] = {
    "list": lambda span: field(span).array_value.values.add(string_value="/home/ada"),
    "large list": lambda span: field(span).array_value.values.add(string_value=LONG),
    "map": nested,
    "map that is no JSON": nested_nan,
    "bytes": lambda span: setattr(field(span), "bytes_value", b"ada"),
    "many bytes": lambda span: setattr(field(span), "bytes_value", LONG.encode()),
    "number": lambda span: setattr(field(span), "double_value", 1.5),
    "no number": lambda span: setattr(field(span), "double_value", NAN),
    "nothing": lambda span: field(span),
    "long": lambda span: setattr(field(span), "string_value", "x" * 65),
    "very long": lambda span: setattr(field(span), "string_value", LONG),
    "other text": lambda span: setattr(field(span), "string_value", "a\nb"),
    "name": lambda span: setattr(attribute(span, "usage.action"), "string_value", "Ada Lovelace"),
    "name as number": lambda span: setattr(attribute(span, "usage.action"), "int_value", 1),
}
POINTS: dict[str, Callable[[Any, Any], object]] = {
    "temporality": lambda metric, point: setattr(metric.sum, "aggregation_temporality", 7),
    "no temporality": lambda metric, point: setattr(metric.sum, "aggregation_temporality", 0),
    "no start": lambda metric, point: point.ClearField("start_time_unix_nano"),
    "no time": lambda metric, point: point.ClearField("time_unix_nano"),
    "name": lambda metric, point: setattr(metric, "name", "usage.count.Ada Lovelace"),
    "long name": lambda metric, point: setattr(metric, "name", "usage.count." + "a" * 65),
    "reason as list": lambda metric, point: point.attributes.add(key="reason").value.array_value.values.add(
        string_value="/home/ada"
    ),
    "large list": lambda metric, point: field(point).array_value.values.add(string_value=LONG),
    "map": lambda metric, point: nested(point),
    "map that is no JSON": lambda metric, point: nested_nan(point),
    "bytes": lambda metric, point: setattr(field(point), "bytes_value", b"ada"),
    "no number": lambda metric, point: setattr(field(point), "double_value", NAN),
    "long": lambda metric, point: setattr(field(point), "string_value", "x" * 65),
    "exemplar": lambda metric, point: point.exemplars.add(as_int=1),
    "command": lambda metric, point: setattr(
        point.attributes.add(key="usage.command").value, "string_value", "/home/ada"
    ),
    "command as bytes": lambda metric, point: setattr(
        point.attributes.add(key="usage.command").value, "bytes_value", b"ada"
    ),
}
