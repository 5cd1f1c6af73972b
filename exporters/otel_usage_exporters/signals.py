"""The exporters that the OTel SDK calls, of spans and of metrics: what it hands them becomes usage events, and is delivered.

A vendor's two classes inherit from these and from its own `exporting.Exporter`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.metrics import Counter as SDKCounter
from opentelemetry.sdk.metrics import Histogram as SDKHistogram
from opentelemetry.sdk.metrics import ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_usage.delivery.verdict import Verdict

from .exporting import Exporter
from .span_names import names_of
from .usage_event import events_from_metrics, events_from_spans

DELTAS: dict[type, AggregationTemporality] = {
    SDKCounter: AggregationTemporality.DELTA,
    ObservableCounter: AggregationTemporality.DELTA,
    SDKHistogram: AggregationTemporality.DELTA,
}


class UsageSpanExporter(Exporter, SpanExporter):
    """A span exporter whose `deliver` says what became of each span, for the sender and the relay."""

    def deliver(self, spans: Sequence[ReadableSpan], *, within_s: float = math.inf) -> Verdict:
        """Send *spans* once and return the verdict, whose ``unsent`` are positions in *spans*.

        within_s: no request is begun later. One that was begun is not cut short: nobody could say whether it arrived.
        """
        events, skipped = events_from_spans(spans, self._choice)
        return self._deliver(events, skipped, within_s=within_s, cut_short=False)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send *spans*, trying again for as long as the time limit allows."""
        events, skipped = events_from_spans(spans, self._choice)
        if self._vendor is not None and not self._unexported.over:
            self._unexported.watch(len(spans), len(events), names_of(spans))
        return SpanExportResult.SUCCESS if self._export(events, skipped, math.inf) else SpanExportResult.FAILURE

    def requests_for(self, spans: Sequence[ReadableSpan]) -> list[tuple[str, str, dict[str, str], bytes]]:
        """Return (method, address, headers, body) of the requests for *spans*, without sending; keys are redacted.

        body: before compression. The exporter learns nothing by it: the next delivery makes the same requests::

            [(method, address, headers, body)] = exporter.requests_for(spans)
            print(method, address, json.loads(body))
        """
        return self._requests_for(events_from_spans(spans, self._choice)[0])

    def _advice(self) -> tuple[str, str]:
        variable = f"OTEL_EXPORTER_{self.vendor_class.prefix}_SPANS"
        return "spans", f"set {variable}=all, or to such names"


class UsageMetricExporter(Exporter, MetricExporter):
    """A metric exporter whose `deliver` says what became of each data point. Asks the SDK for deltas."""

    def _configure(self, settings: dict[str, Any]) -> None:
        MetricExporter.__init__(self, preferred_temporality=dict(DELTAS))
        super()._configure(settings)

    def deliver(self, metrics: MetricsData, *, within_s: float = math.inf) -> Verdict:
        """Send *metrics* once and return the verdict, whose ``unsent`` are positions among all their data points.

        within_s: as for spans.
        """
        events, skipped = events_from_metrics(metrics, self._choice, derived=self._derived())
        return self._deliver(events, skipped, within_s=within_s, cut_short=False)

    def export(
        self,
        metrics_data: MetricsData,
        timeout_millis: float = 10_000,
        **kwargs: Any,  # noqa: ARG002
    ) -> MetricExportResult:
        """Send *metrics_data*, trying again for as long as the time limits allow. Any: as the SDK's."""
        events, skipped = events_from_metrics(metrics_data, self._choice, derived=self._derived())
        if self._vendor is not None:
            self._unexported.watch(skipped["not_usage"], len(events))
        all_sent = self._export(events, skipped, timeout_millis / 1_000 or math.inf)  # 0: none but the settings' own
        return MetricExportResult.SUCCESS if all_sent else MetricExportResult.FAILURE

    def requests_for(self, metrics: MetricsData) -> list[tuple[str, str, dict[str, str], bytes]]:
        """Return (method, address, headers, body) of the requests for *metrics*, without sending; keys are redacted."""
        return self._requests_for(events_from_metrics(metrics, self._choice, derived=self._derived())[0])

    def _advice(self) -> tuple[str, str]:
        return "data points", "only usage.count.* counters are"

    def _derived(self) -> bool:
        return self._vendor is not None and self._vendor.common.derived
