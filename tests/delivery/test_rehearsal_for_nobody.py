"""Where no destination is set, log mode and ``preview`` show the record all the same: a newcomer has no backend yet."""

from __future__ import annotations

import json

from ..users import User


def test_log_mode_shows_the_record(user: User):
    """It says that no destination is set, and shows the run and its action as an OTLP backend would get them."""
    ended = user.prog("report", PROG_TELEMETRY="log")

    assert b"prog telemetry, log mode: no destination is set, so nothing is sent. This was recorded:" in ended.err
    assert b"2 records, for nobody (OTLP, as JSON)" in ended.err
    for word in (b'"usage.command"', b'"report"', b'"report.upload"', b'"os.type"'):
        assert word in ended.err
    assert b"localhost" not in ended.err
    assert [] == user.spans


def test_preview_shows_what_waits_for_nobody(user: User):
    """The same of what waits; for machines there is a request without a destination."""
    user.choose("on")
    user.prog("report")

    shown = user.prog("telemetry", "preview")
    answer = json.loads(user.prog("telemetry", "preview", "--json").out)

    assert shown.out.startswith(b"No destination is set: nothing is sent.")
    assert b'"report.upload"' in shown.out
    assert {("", "", "")} == {(r["destination"], r["method"], r["url"]) for r in answer["requests"]}
    assert 2 == len(user.spans)


def test_no_destination_on_purpose_is_none(user: User):
    """``destinations={}`` and ``OTEL_TRACES_EXPORTER=none`` are the same as none."""
    source = "import otel_usage\notel_usage.init('prog', version='1', consent='opt-in', destinations={})\n"

    for env in ({}, {"OTEL_TRACES_EXPORTER": "none"}):
        ended = user.run(source, env={"PROG_TELEMETRY": "log", **env})

        assert b"no destination is set" in ended.err
        assert b"usage.outcome" in ended.err
