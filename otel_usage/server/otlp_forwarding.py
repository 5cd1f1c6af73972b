"""The relay's destination ``otlp``: hand records on to an OTLP endpoint, with OpenTelemetry's official exporter.

It is configured by the standard variables, ``OTEL_EXPORTER_OTLP_ENDPOINT`` and the like. The sender's own way of using that
exporter reads an answer off the session that it posts with. So each of the relay's threads has an exporter of its own.
"""

from __future__ import annotations

import threading
from typing import Any

from opentelemetry.sdk.metrics.export import MetricsData

from otel_usage.delivery.destination import Destination, build_destination
from otel_usage.delivery.environment import list_selected
from otel_usage.delivery.verdict import Verdict

NAME = "otlp"


class OtlpForwarder:
    """Delivers the spans, or the metrics, of one relay. Concurrency: safe in threads."""

    def __init__(self, signal: str) -> None:
        self._signal = signal
        self._of_thread = threading.local()
        self._opened: list[Destination] = []
        self._open()  # raises SettingError now, if a variable is wrong

    def _open(self) -> Destination:
        destination: Destination | None = getattr(self._of_thread, "destination", None)
        if destination is None:
            destination = self._of_thread.destination = build_destination(NAME, None, signal_alone=self._signal)
            self._opened.append(destination)
        return destination

    def deliver(self, items: Any) -> Verdict:
        """Send spans or metrics, and return what became of them. Any: a list of spans, or MetricsData."""
        if list_selected(self._signal) == ["none"]:  # the standard variable of a signal that is not to be exported
            return Verdict(skipped=count_items(items))
        return self._open().deliver(self._signal, items, count_items(items))

    def shutdown(self) -> None:
        """Close the connections of all threads."""
        for destination in self._opened:
            destination.close()


def count_items(items: list[Any] | MetricsData) -> int:
    """Return how many spans or data points there are. Any: spans."""
    if isinstance(items, list):
        return len(items)
    metrics = (
        metric for group in items.resource_metrics for scoped in group.scope_metrics for metric in scoped.metrics
    )
    return sum(len(metric.data.data_points) for metric in metrics)
