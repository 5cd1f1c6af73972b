"""Wrong settings say what is wrong, what is expected and what to do; in development, never at a user's."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

import otel_usage
from otel_usage.schema.declaration import check_event
from otel_usage.setting_error import SettingError
from otel_usage.settings.check import check_settings

from ..hosts import Host

GOOD: dict[str, Any] = {
    "app": "prog", "version": "1", "consent": "opt-out", "destinations": None, "schema": {}, "sender": "detached",
    "policy": 1, "about": "", "flush_s": 60.0,
}  # fmt: skip


class Unshowable:
    """What no other process could be told."""

    def __repr__(self) -> str:
        return "<k3y>"


OTLP = {"endpoint": "https://x.example"}
GA4 = {"measurement_id": "G-AB12CD34EF", "api_secret": "k"}
WRONG = [
    ({"app": "My App"}, "app 'My App' is not a name of lower-case letters"),
    ({"app": ""}, "app '' is not"),
    ({"app": "../x"}, "app '../x' is not"),
    ({"version": ""}, "version '' is not a version"),
    ({"version": 1.4}, "version 1.4 is not"),
    ({"consent": "yes"}, "consent 'yes' is not 'opt-in', 'opt-out' or 'ask'"),
    ({"sender": "thread"}, "sender 'thread' is not"),
    ({"policy": 0}, "policy 0 is not a whole number from 1"),
    ({"flush_s": 0}, "flush_s 0 is not"),
    ({"about": None}, "about None is not"),
    ({"destinations": ["otlp"]}, "destinations is a list, not a dict"),
    ({"destinations": {"../x": "https://x.example"}}, "destination '../x' is not the name of an installed exporter"),
    ({"destinations": {"ga5": "x"}}, "destination 'ga5' is not an installed exporter; found:"),
    ({"destinations": {"otlp": 3}}, "destination 'otlp' is a int, not an endpoint or a dict"),
    ({"destinations": {"otlp": "usage.example.org"}}, "endpoint of 'otlp' 'usage.example.org' is not an address"),
    ({"destinations": {"otlp": "http://usage.example.org"}}, "is not HTTPS; plain HTTP is only for this machine"),
    ({"destinations": {"otlp": "https://u:p@usage.example.org"}}, "holds a password"),
    ({"destinations": {"otlp": "https://[::1"}}, "is not an address"),
    ({"destinations": {"otlp": {}}}, "destination 'otlp' has no endpoint"),
    (
        {"destinations": {"otlp": {**OTLP, "foo": "k3y"}}},
        "destination 'otlp' takes no 'foo'; it takes endpoint, headers",
    ),
    (
        {"destinations": {"otlp": {**OTLP, "timeout": 3}}},
        "destination 'otlp' takes no 'timeout'; did you mean 'timeout_s'? it takes",
    ),
    ({"destinations": {"otlp": {**OTLP, "protocol": "xml"}}}, "protocol of 'otlp' is not 'http/protobuf' or 'grpc'"),
    (
        {"destinations": {"otlp": {**OTLP, "timeout_s": "k3y"}}},
        "timeout_s of 'otlp' is not a number of seconds above 0",
    ),
    ({"destinations": {"otlp": {**OTLP, "headers": "a=k3y"}}}, "headers of 'otlp' is not a dict {name: value} of text"),
    (
        {"destinations": {"otlp": {**OTLP, "headers": {"a": 1}}}},
        "headers of 'otlp' is not a dict {name: value} of text",
    ),
    ({"destinations": {"otlp": "ftp://x.example?key=k3y"}}, "endpoint of 'otlp' 'ftp://x.example' is not an address"),
    (
        {"destinations": {"ga4": {"measurement_id": "x-k3y"}}},
        "destination 'ga4': measurement_id can't be used: expected the id",
    ),
    (
        {"destinations": {"ga4": {"measurement_id": "G-AB12CD34EF"}}},
        "destination 'ga4': api_secret is not set: expected a",
    ),
    (
        {"destinations": {"ga4": {**GA4, "color": "k3y"}}},
        "destination 'ga4' takes no 'color'; it takes measurement_id",
    ),
    (
        {"destinations": {"segment": {"write_key": "k", "spans": {"k3y": 1}}}},
        "destination 'segment': spans can't be used",
    ),
    (
        {"destinations": {"console": {"colour": "k3y"}}},
        "destination 'console' takes no 'colour'; it takes service_name",
    ),
]


@pytest.mark.parametrize(("change", "says"), WRONG)
def test_a_wrong_setting_is_a_clear_error(change: dict[str, Any], says: str) -> None:
    """What, its value, what was expected."""
    with pytest.raises(SettingError) as caught:
        check_settings({**GOOD, **change})

    assert says in str(caught.value)
    assert "k3y" not in str(caught.value)


def test_an_error_never_repeats_a_password() -> None:
    """The address may hold one; the message does not."""
    with pytest.raises(SettingError) as caught:
        check_settings({**GOOD, "destinations": {"otlp": "https://user:hunter2@usage.example.org"}})

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["https://x.example", "http://localhost:1", "http://127.0.0.1:4318", "http://[::1]:1"]
)
def test_good_addresses(address: str) -> None:
    """HTTPS anywhere, HTTP on this machine."""
    check_settings({**GOOD, "destinations": {"otlp": address}})


ROW = {"why": "x"}
WRONG_SCHEMAS = [
    (["report"], "schema ['report'] is not a dict"),
    ({"Report": ROW}, "schema: name 'Report' is not lower-case words"),
    ({"a" * 65: ROW}, "is not lower-case words"),
    ({"a": "b"}, "schema: 'a': 'b' is not a dict"),
    ({"a": {}}, "schema: 'a': why None is not the question"),
    ({"a": {**ROW, "color": 1}}, "schema: 'a': key 'color' is not one of"),
    ({"a": {**ROW, "kind": "event"}}, "schema: 'a': kind 'event' is not one of"),
    ({"a": {**ROW, "fields": {"Size": bool}}}, "field 'Size' is not a lower-case word"),
    ({"a": {**ROW, "fields": {"size": str}}}, "type of 'size' <class 'str'> is not a list of choices"),
    ({"a": {**ROW, "fields": {"size": []}}}, "type of 'size' [] is not a list of 1 to 100 words"),
    ({"a": {**ROW, "fields": {"size": [1]}}}, "is not a list of 1 to 100 words"),
    ({"a": {**ROW, "fields": {"size": otel_usage.bucket("MB", 10, 1)}}}, "is not bucket(unit, smallest bound"),
    ({"a": {**ROW, "fields": {"size": otel_usage.bucket("MB")}}}, "is not bucket(unit, smallest bound"),
    ({"a": {**ROW, "fields": {"size": otel_usage.integer(0)}}}, "is not integer(max)"),
    (OrderedDict(a=ROW), "schema must be plain values"),
    ({f"n{i}": {"why": "x" * 100} for i in range(500)}, "declare less"),
]


@pytest.mark.parametrize(("schema", "says"), WRONG_SCHEMAS)
def test_a_wrong_schema_is_a_clear_error(schema: object, says: str) -> None:
    """Where in the schema, what, and what was expected."""
    with pytest.raises(SettingError) as caught:
        check_settings({**GOOD, "schema": schema})

    assert says in str(caught.value)


PROGRAM = """
import sys
import otel_usage
otel_usage.init("prog", version="1", consent="maybe")
print("ran")
"""


@pytest.mark.parametrize(
    "told",
    [
        OTLP,
        {**OTLP, "protocol": "grpc", "headers": {"a": "b"}, "timeout_s": 5},
        GA4,
        {"write_key": "k", "spans": ["order.*"]},
        {},
    ],
)
def test_what_a_destination_takes_is_no_error(told: dict[str, Any]) -> None:
    """OTLP, ours and the SDK's own, each with its keywords."""
    name = {"endpoint": "otlp", "measurement_id": "ga4", "write_key": "segment"}.get(next(iter(told), ""), "console")

    check_settings({**GOOD, "destinations": {name: told}})


def test_at_a_users_a_wrong_setting_breaks_nothing(tmp_path: Path) -> None:
    """The program runs as if we were not there."""
    ended = Host(tmp_path).run(PROGRAM)

    assert (0, b"ran\n", b"") == (ended.status, ended.out, ended.err)


@pytest.mark.parametrize("how", ["dev", "variable"])
def test_in_development_a_wrong_setting_stops_the_program(tmp_path: Path, how: str) -> None:
    """``python -X dev`` and OTEL_USAGE_STRICT=1."""
    flags = ("-X", "dev") if how == "dev" else ()
    env = {"OTEL_USAGE_STRICT": "1"} if how == "variable" else {}

    ended = Host(tmp_path).run(PROGRAM, flags=flags, env=env)

    assert 1 == ended.status
    assert b"SettingError: consent 'maybe' is not 'opt-in', 'opt-out' or 'ask'" in ended.err


def test_in_development_an_undeclared_record_is_an_error(tmp_path: Path) -> None:
    """It would be dropped at a user's: the developer hears of it, recording or not."""
    program = PROGRAM.replace("maybe", "opt-in") + "otel_usage.action('report.upload', format='pdf')\n"

    for telemetry in ("on", "off"):
        ended = Host(tmp_path / telemetry).run(program, env={"OTEL_USAGE_STRICT": "1", "PROG_TELEMETRY": telemetry})

        assert 1 == ended.status
        assert b"would be dropped: its name is not in the schema" in ended.err


SCHEMA = {
    "report.upload": {
        "why": "x",
        "fields": {
            "format": ["pdf", "html"],
            "again": bool,
            "size": otel_usage.bucket("MB", 1),
            "pages": otel_usage.integer(9),
            "with": otel_usage.version(),
        },
    },
    "events.seen": {"why": "x", "kind": "count"},
}


@pytest.mark.parametrize(
    ("kind", "name", "fields", "says"),
    [
        ("action", "report.download", {}, "would be dropped: its name is not in the schema. Declare it in schema="),
        ("count", "report.upload", {}, "would be dropped: it is declared as action, not count"),
        ("action", "events.seen", {}, "would be dropped: it is declared as count, not action"),
        ("action", "report.upload", {"format": "docx"}, "field 'format' is 'docx', not one of 'pdf', 'html'"),
        ("action", "report.upload", {"again": 1}, "field 'again' is 1, not True or False"),
        ("action", "report.upload", {"size": "1"}, "field 'size' is '1', not a number"),
        ("action", "report.upload", {"pages": -1}, "field 'pages' is -1, not a whole number from 0"),
        ("action", "report.upload", {"with": "v1"}, "field 'with' is 'v1', not numbers and dots, such as '3.11.7'"),
        (
            "action",
            "report.upload",
            {"color": "red"},
            "field 'color' is not in the schema (it has format, again, size,",
        ),
        ("count", "events.seen", {"color": "red"}, "field 'color' is not in the schema (it has none). Declare it in"),
    ],
)
def test_a_call_that_would_be_dropped_says_why(kind: str, name: str, fields: dict[str, object], says: str) -> None:
    """Which field, its value, what is allowed; in a host's tests."""
    with pytest.raises(SettingError) as caught:
        check_event(SCHEMA, kind, name, fields)

    assert says in str(caught.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Two fields, two reasons."""
    with pytest.raises(SettingError) as caught:
        check_event(SCHEMA, "action", "report.upload", {"format": "docx", "again": "yes", "size": 3})

    assert "field 'format' is 'docx', not one of 'pdf', 'html'; field 'again' is 'yes'" in str(caught.value)
