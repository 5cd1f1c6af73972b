"""The names under which entry points knew the exporters before each vendor had its folder; kept for one release.

They are the `Lenient` classes of `otel_usage_exporters.ga4` and `otel_usage_exporters.segment`.
"""

from .ga4 import LenientGA4MetricExporter as GA4MetricExporter
from .ga4 import LenientGA4SpanExporter as GA4SpanExporter
from .segment import LenientSegmentMetricExporter as SegmentMetricExporter
from .segment import LenientSegmentSpanExporter as SegmentSpanExporter

__all__ = ["GA4MetricExporter", "GA4SpanExporter", "SegmentMetricExporter", "SegmentSpanExporter"]
