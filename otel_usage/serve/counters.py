"""What ``/metrics`` says besides the server's own numbers: usage, as cumulative counters since the process began.

Names and labels are those of the wire with underscores, so that a dashboard for the Collector's Prometheus exporter fits:
``usage_runs_total{service_name="mycli", usage_command="report upload", usage_outcome="success"}``. They count what was
stored, so a repetition counts once. Fields and installations are no labels: each value would be a series.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable

from .store.rows import SHARED
from .store.writer import Stored

MAX_SERIES = 5_000  # names come from clients; beyond this many all else counts as one
OTHER = "_other"
_APP, _KIND, _NAME, _OUTCOME = (SHARED.index(name) for name in ("app", "kind", "name", "outcome"))
# {kind: (metric, label of the name)}
_KINDS = {
    "action": ("usage_actions_total", "usage_action"),
    "error": ("usage_errors_total", "usage_error"),
    "heartbeat": ("usage_heartbeats_total", "usage_heartbeat"),
}
HELP = {
    "usage_runs_total": "command runs stored",
    "usage_run_duration_seconds_total": "how long these runs took, together",
    "usage_actions_total": "actions stored",
    "usage_errors_total": "errors stored",
    "usage_heartbeats_total": "heartbeats stored",
    "usage_count_total": "what programs counted, by declared name",
    "usage_dropped_total": "records that programs could not send, by reason",
}
Series = tuple[str, tuple[tuple[str, str], ...]]


class UsageCounters:
    """Counts what commits store. Concurrency: safe in threads."""

    def __init__(self) -> None:
        self._values: dict[Series, float] = {}
        self._lock = threading.Lock()

    def count(self, stored: Stored) -> None:
        """Count the rows of one commit."""
        shapes: dict[int, tuple[object, ...]] = {}
        numbers: Counter[int] = Counter()
        durations_us: Counter[int] = Counter()
        for event in stored.events:
            key = id(event.shape)
            shapes[key] = event.shape
            numbers[key] += 1
            durations_us[key] += event.duration_us
        with self._lock:
            for key, shape in shapes.items():
                app, kind, name = ("service_name", str(shape[_APP])), str(shape[_KIND]), str(shape[_NAME])
                if kind == "run":
                    labels = (app, ("usage_command", name), ("usage_outcome", str(shape[_OUTCOME])))
                    self._add("usage_runs_total", labels, numbers[key])
                    self._add("usage_run_duration_seconds_total", labels[:2], durations_us[key] / 1e6)
                elif kind in _KINDS:
                    metric, label = _KINDS[kind]
                    self._add(metric, (app, (label, name)), numbers[key])
            for count in stored.counts:
                self._add("usage_count_total", (("service_name", count.app), ("usage_count", count.name)), count.amount)
            for drop in stored.drops:
                self._add("usage_dropped_total", (("service_name", drop.app), ("reason", drop.reason)), drop.amount)

    def _add(self, metric: str, labels: tuple[tuple[str, str], ...], n: float) -> None:
        series: Series = (metric, labels)
        if series not in self._values and len(self._values) >= MAX_SERIES:
            series = (metric, tuple((label, OTHER) for label, _ in labels))
        self._values[series] = self._values.get(series, 0) + n

    def format(self) -> str:
        """Return the counters in Prometheus' text format."""
        with self._lock:
            values = sorted(self._values.items())
        lines = []
        for metric, meaning in HELP.items():
            lines += [f"# HELP {metric} {meaning}", f"# TYPE {metric} counter"]
            lines += [f"{metric}{{{_format(labels)}}} {n:.15g}" for (name, labels), n in values if name == metric]
        return "\n".join(lines) + "\n"


def _format(labels: Iterable[tuple[str, str]]) -> str:
    return ",".join(f'{key}="{_escape(value)}"' for key, value in labels)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
