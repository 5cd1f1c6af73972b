"""JSON numbers are what they say, or an error: held against protobuf's own reader of JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict, ParseError
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint, NumberDataPoint, Sum
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_usage.otlp import metrics_of, value_of
from otel_usage.proto_json import (
    read_bool,
    read_double,
    read_enum,
    read_id,
    read_int64,
    read_text,
    read_uint32,
    read_uint64,
)

# {what: (our reader, a message, the field that protobuf reads)}
FIELDS: dict[str, tuple[Callable[[Any], Any], Any, str]] = {
    "int64": (read_int64, AnyValue, "intValue"),
    "sfixed64": (read_int64, NumberDataPoint, "asInt"),
    "fixed64": (read_uint64, NumberDataPoint, "timeUnixNano"),
    "count": (read_uint64, HistogramDataPoint, "count"),
    "uint32": (read_uint32, NumberDataPoint, "flags"),
    "double": (read_double, AnyValue, "doubleValue"),
    "bool": (read_bool, Sum, "isMonotonic"),
    "string": (read_text, AnyValue, "stringValue"),
    "enum": (read_enum, Span, "kind"),
}
# JSON's own grammar of a number, in which Python's int and float take more: protobuf's reader is theirs.
GRAMMAR = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")

NUMBERS = st.one_of(
    st.integers(-(1 << 65), 1 << 65),
    st.floats(),
    st.integers(-1000, 1000).map(float),
    st.sampled_from([2.7, 1.5, 1.0, 1e3, -0.0, 2**63, 2**64 - 1, 2**63 - 1, 1e999, 2.0**63]),
)
TEXTS = st.one_of(
    NUMBERS.map(repr),
    st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?", fullmatch=True),
    st.sampled_from([" 1_000 ", "1_000", " 1", "1 ", "+1", "0x10", "١", "1e3", "1.0", "1.", ".5", "", "-", "01", "1e"]),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "nan", "inf", "infinity", "true", "1e999", "SPAN_KIND_INTERNAL"]),
)
VALUES = st.one_of(NUMBERS, TEXTS, st.booleans(), st.just([]), st.just({}), st.just([1]))


def protobuf_reads(message_class: Any, field: str, value: Any) -> tuple[bool, Any]:
    """Return whether protobuf takes *value*, and what it makes of it."""
    try:
        message = ParseDict({field: value}, message_class())
    except (ParseError, ValueError, TypeError, OverflowError, AttributeError):
        return False, None
    return True, getattr(message, re.sub("([A-Z])", r"_\1", field).lower())


@settings(max_examples=1_500, deadline=None)
@given(st.sampled_from(sorted(FIELDS)), VALUES)
@example("sfixed64", 2.7)
@example("int64", True)
@example("int64", " 1_000 ")
@example("int64", "9007199254740993.0")
@example("fixed64", 1e3)
@example("double", "nan")
def test_what_protobuf_reads_is_read_and_nothing_else(what: str, value: Any) -> None:
    """What we take, protobuf takes, as the same value; what we refuse, it refuses, or JSON's grammar does."""
    read, message_class, field = FIELDS[what]
    taken, expected = protobuf_reads(message_class, field, value)
    # As an integer protobuf's reader for Python reads such a text as a float, of 53 bits.
    is_rounded = isinstance(value, str) and what not in ("string", "double") and bool(re.search("[.eE]", value))
    try:
        mine = read(value)
    except ValueError:
        # Of protobuf's reader for Python alone: it takes 0.5 for an enum, true for 1.0, and "1e999" for infinity.
        stricter = what == "enum" or (what == "double" and (value.__class__ is bool or value == "1e999"))
        assert not taken or stricter or is_rounded or (isinstance(value, str) and not GRAMMAR.fullmatch(value))
        return
    if is_rounded:
        return
    assert taken
    assert expected == mine or (math.isnan(mine) and math.isnan(expected))
    assert expected.__class__ is mine.__class__


@settings(max_examples=300, deadline=None)
@given(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 3))
def test_an_integer_is_exact_however_it_is_written(number: int, zeros: int) -> None:
    """As a number, as text, with a fraction of zeros, with an exponent."""
    exponent = f"{number}{'0' * zeros}e-{zeros}"
    for value in (number, str(number), f"{number}.000", exponent):
        assert number == read_int64(value)


@pytest.mark.parametrize(
    "value", [2.7, True, None, "", " 1", "1_000", "1e999999999", "9" * 5_000, [], {}, "\ud800", b"1"]
)
def test_what_is_no_integer_is_an_error(value: Any) -> None:
    """ValueError, whatever it is, and at once."""
    for read in (read_int64, read_uint64, read_uint32, read_enum):
        with pytest.raises(ValueError):
            read(value)


@pytest.mark.parametrize(
    "value", ["0x" + "1" * 14, "1" * 15, "1" * 17, "+" + "1" * 15, "1_" + "1" * 14, 1, None, "g" * 16]
)
def test_what_is_no_id_is_an_error(value: Any) -> None:
    """Python's ``int(text, 16)`` takes some of these."""
    with pytest.raises(ValueError):
        read_id(value, 8)
    assert 0xAB << 56 == read_id("aB" + "0" * 14, 8)


@pytest.mark.parametrize(
    "any_value",
    [
        {"intValue": 1.5},
        {"intValue": True},
        {"boolValue": "true"},
        {"boolValue": 0},
        {"stringValue": 5},
        {"doubleValue": True},
        {"doubleValue": "1_0"},
        {"arrayValue": {"values": [{"intValue": "1"}, {"intValue": 0.5}]}},
        {"kvlistValue": {"values": [{"key": 5, "value": {"intValue": "1"}}]}},
    ],
)
def test_an_attribute_is_of_the_type_that_it_names(any_value: dict[str, Any]) -> None:
    """In lists, too."""
    with pytest.raises(ValueError):
        value_of(any_value)
    assert 7 == value_of({"stringValue": None, "intValue": "7"})


@pytest.mark.parametrize(
    "member",
    [
        {"asInt": 2.7},
        {"asInt": "1_0"},
        {"timeUnixNano": 1.5},
        {"startTimeUnixNano": True},
        {"asDouble": "inf"},
    ],
)
def test_a_data_point_that_lies_in_a_file_is_read_as_strictly(member: dict[str, Any]) -> None:
    """The sender's way is the relay's."""
    point = {"attributes": [], "startTimeUnixNano": "1", "timeUnixNano": "2", **member}
    metric = {"name": "usage.count.x", "sum": {"aggregationTemporality": 1, "dataPoints": [point]}}
    body = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}

    with pytest.raises(ValueError):
        metrics_of(json.loads(json.dumps(body)))
