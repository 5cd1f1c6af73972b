"""Run counters are what a meter of the SDK makes of the same runs."""

from __future__ import annotations

from random import Random
from typing import Any

from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from otel_usage import __version__
from otel_usage.delivery.run_counters import DURATION_BOUNDS_S, RunCounters
from otel_usage.otlp import Record, json_of_metrics

RESOURCE = {"service.name": "prog", "process.runtime.version": "3.11.7"}
TIMES = ("startTimeUnixNano", "timeUnixNano")


def record(kind: str, name: str, outcome: str, took_ns: int) -> Record:
    """Return a span of that *kind*, as the intake has it."""
    attributes = {"usage.kind": kind, f"usage.{'command' if kind == 'run' else kind}": name, "usage.outcome": outcome}
    span = {"startTimeUnixNano": str(1_700_000_000 * 10**9), "endTimeUnixNano": str(1_700_000_000 * 10**9 + took_ns)}
    return Record(RESOURCE, ("otel_usage", "1"), span, attributes)


def random_records(seed: int) -> list[Record]:
    """Return spans of all kinds, some with durations that lie on a bound."""
    chance = Random(seed)
    rows = []
    for _ in range(chance.randint(1, 60)):
        took_ns = chance.choice([round(chance.choice(DURATION_BOUNDS_S) * 10**9), chance.randrange(4 * 10**12), 0])
        kind = chance.choice(["run", "run", "action", "error", "heartbeat"])
        outcome = chance.choice(["success", "failure", "unfinished"])
        rows.append(record(kind, chance.choice(["a", "b c", "d"]), outcome, took_ns))
    return rows


def by_meter(records: list[Record]) -> dict[str, Any]:
    """Return what a meter makes of *records*. Any: OTLP JSON."""
    delta: dict[type, AggregationTemporality] = dict.fromkeys((Counter, Histogram), AggregationTemporality.DELTA)
    reader = InMemoryMetricReader(preferred_temporality=delta)
    provider = MeterProvider([reader], Resource(RESOURCE), AlwaysOffExemplarFilter(), shutdown_on_exit=False)
    meter = provider.get_meter("otel_usage", __version__)
    counters = {kind: meter.create_counter(f"usage.{kind}s", f"{{{kind}}}") for kind in ("run", "action", "error")}
    bounds = list(DURATION_BOUNDS_S)
    durations = meter.create_histogram("usage.run.duration", "s", explicit_bucket_boundaries_advisory=bounds)
    for one in records:
        kind = one.attributes["usage.kind"]
        if kind == "run":
            attributes = {key: one.attributes[key] for key in ("usage.command", "usage.outcome")}
            counters[kind].add(1, attributes)
            if one.attributes["usage.outcome"] != "unfinished":
                took_ns = int(one.span["endTimeUnixNano"]) - int(one.span["startTimeUnixNano"])
                durations.record(took_ns / 1e9, attributes)
        elif kind in counters:
            counters[kind].add(1, {f"usage.{kind}": one.attributes[f"usage.{kind}"]})
    metrics = reader.get_metrics_data()
    provider.shutdown()
    return json_of_metrics(metrics) if metrics is not None else {"resourceMetrics": []}


def without_times(metrics: dict[str, Any]) -> list[Any]:
    """Return *metrics* without the moments of counting, in an order of their own. Any: OTLP JSON."""
    rows: list[Any] = []
    for group in metrics["resourceMetrics"]:
        for scoped in group["scopeMetrics"]:
            for metric in scoped["metrics"]:
                for content in (metric.get("sum"), metric.get("histogram")):
                    for point in content["dataPoints"] if content else ():
                        for key in TIMES:
                            assert int(point.pop(key)) > 0
                    if content:
                        content["dataPoints"].sort(key=lambda point: repr(point["attributes"]))
                rows.append((group["resource"], scoped["scope"], metric["name"], metric))
    return sorted(rows, key=lambda row: row[2])


def test_counters_are_those_of_a_meter() -> None:
    """Names, units, attributes, buckets, sums: all but the moments."""
    for seed in range(100):
        records = random_records(seed)
        counters = RunCounters()
        for one in records:
            counters.add(one)

        rows = counters.metrics()

        expected = without_times(by_meter(records))
        assert expected == [row for one in rows for row in without_times(one)], seed
