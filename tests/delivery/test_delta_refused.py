"""Backends that take no delta counters: spans arrive, the reason is said, and settings keep counters from going there."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from otel_usage.cli.checkup import check_counters
from otel_usage.control.reasons import MISCONFIGURED, advise, explain_reason
from otel_usage.delivery.ledger import Ledger
from otel_usage.delivery.queue import Queue
from otel_usage.delivery.strict import check_destination
from otel_usage.setting_error import SettingError

from ..spools import Spool
from .backends import OTLP_TYPE, Answer, Backend, takes
from .test_partial_delivery import revive

PROMETHEUS = b'invalid temporality and type combination for metric "usage.runs"\n'
MIMIR = b'otlp parse error: invalid temporality and type combination for metric "usage.runs"'
TEXT = {"Content-Type": "text/plain; charset=utf-8"}
REFUSALS: list[Answer] = [(500, TEXT, PROMETHEUS), (400, TEXT, MIMIR), (400, OTLP_TYPE, b"\x08\x03\x12\x52" + MIMIR)]


def paths(otlp: Backend) -> list[str]:
    return [path for path, _, _ in otlp.requests]


@pytest.fixture
def spool(tmp_path: Path, plain_environ: None, otlp: Backend) -> Spool:
    """A spool whose runs go there."""
    return Spool(tmp_path / "state", {"otlp": otlp.url})


@pytest.mark.parametrize("refusal", REFUSALS, ids=["prometheus", "mimir", "mimir-protobuf"])
def test_a_backend_without_deltas_gets_its_spans_and_the_reason_is_said(
    spool: Spool, otlp: Backend, refusal: Answer
) -> None:
    """Its words are recognised, whatever the status and form: counters wait, and the ledger and the pause say what to set."""
    otlp.answer = lambda n, commands: takes(n, commands) if otlp.requests[n][0] == "/v1/traces" else refusal
    for n in range(2):
        spool.run(command=f"c{n}")
        spool.drain()

    rows = [row for row in Ledger(str(spool.home)).entries() if row["signal"] == "metrics"]
    assert {"c0": 1, "c1": 1} == otlp.acknowledged
    assert [("retry", refusal[0], "delta")] == [(row["result"], row["status"], row["reason"]) for row in rows]
    problem = Queue(str(spool.folder), "otlp").blamed_settings()[1]
    assert "delta" in problem
    assert "'metrics': 'none'" in problem
    assert "delta" in explain_reason("delta")
    assert "docs/otlp-backends.md" in advise("delta")
    assert "delta" in MISCONFIGURED
    [check] = check_counters(str(spool.home), "otlp")
    assert (False, advise("delta")) == (check.ok, check.advice)

    spool.settings["destinations"] = {"otlp": {"endpoint": otlp.url, "metrics": "none"}}
    spool.run(command="c2")
    spool.drain()

    assert 1 == otlp.acknowledged["c2"]
    assert [] == spool.files()  # counters that waited are removed: they go nowhere now


def test_what_waited_arrives_once_the_backend_takes_deltas(spool: Spool, otlp: Backend) -> None:
    """Its operator switches them on: nothing was lost."""
    otlp.answer = lambda n, commands: takes(n, commands) if otlp.requests[n][0] == "/v1/traces" else REFUSALS[0]
    spool.run(command="c0")
    spool.drain()

    otlp.answer = takes
    revive(spool)
    spool.drain()

    assert 2 == paths(otlp).count("/v1/metrics")
    assert [] == check_counters(str(spool.home), "otlp")
    assert [] == spool.files()


def test_a_partial_success_of_that_kind_has_its_reason(spool: Spool, otlp: Backend) -> None:
    """200, all points rejected with these words: dropped as the protocol wants it, and the ledger says why."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

    partial = ExportMetricsServiceResponse()
    partial.partial_success.rejected_data_points = 99
    partial.partial_success.error_message = MIMIR.decode()
    otlp.answer = lambda n, commands: (
        200,
        OTLP_TYPE,
        partial.SerializeToString() if otlp.requests[n][0] == "/v1/metrics" else b"",
    )
    spool.run()

    spool.drain()

    rows = [row for row in Ledger(str(spool.home)).entries() if row["signal"] == "metrics"]
    assert [("dropped", "delta")] == [(row["result"], row["reason"]) for row in rows]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, {"/v1/traces", "/v1/metrics"}),
        ({"OTEL_METRICS_EXPORTER": "none"}, {"/v1/traces"}),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "none"}, {"/v1/traces"}),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "otlp"}, {"/v1/metrics"}),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, {"/v1/traces", "/v1/metrics"}),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "otlp"}, {"/v1/metrics"}),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}, set()),
    ],
)
def test_the_standard_variables_choose_per_signal(
    spool: Spool, otlp: Backend, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: set[str]
) -> None:
    """As in any OpenTelemetry program: what a signal's variable does not name gets nothing of that signal."""
    spool.settings["destinations"] = None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.url)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    spool.run()

    spool.drain()

    assert expected == set(paths(otlp))


@pytest.mark.parametrize("value", ["all", True, "delta", None, 0])
def test_metrics_is_none_or_left_out(value: Any) -> None:
    """Anything else is a mistake, and says what is taken."""
    with pytest.raises(SettingError, match="'none'"):
        check_destination("otlp", {"endpoint": "https://usage.example.org", "metrics": value})
    check_destination("otlp", {"endpoint": "https://usage.example.org", "metrics": "none", "protocol": "grpc"})


def test_a_failure_that_may_be_repeated_is_repeated(spool: Spool, otlp: Backend) -> None:
    """503 with whatever words is an outage."""
    otlp.answer = lambda n, commands: (503, TEXT, PROMETHEUS)
    spool.run()

    spool.drain()

    assert {"http_503"} == {row["reason"] for row in Ledger(str(spool.home)).entries()}
    assert Queue(str(spool.folder), "otlp").paused_until_s(time.time())
    assert not json.loads((spool.folder / "queue/otlp/pause").read_text()).get("signals")
