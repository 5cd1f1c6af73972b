"""The exporters as entry points name them: wrong settings are one error in the log, never an exception.

Ring 1 (background). Here and in declarative configuration an exception would disable the SDK, other exporters
included. In code use the classes of `ga4` and `segment`, which raise.
"""

from __future__ import annotations

from typing import Any

from . import ga4, segment


class GA4SpanExporter(ga4.GA4SpanExporter):
    """`ga4.GA4SpanExporter` for a program configured from outside. Any: declarative configuration passes YAML."""

    lenient = True

    def __init__(self, **settings: Any) -> None:
        super(ga4.GA4SpanExporter, self).__init__(**settings)


class GA4MetricExporter(ga4.GA4MetricExporter):
    """`ga4.GA4MetricExporter` for a program configured from outside."""

    lenient = True

    def __init__(self, **settings: Any) -> None:
        super(ga4.GA4MetricExporter, self).__init__(**settings)


class SegmentSpanExporter(segment.SegmentSpanExporter):
    """`segment.SegmentSpanExporter` for a program configured from outside."""

    lenient = True

    def __init__(self, **settings: Any) -> None:
        super(segment.SegmentSpanExporter, self).__init__(**settings)


class SegmentMetricExporter(segment.SegmentMetricExporter):
    """`segment.SegmentMetricExporter` for a program configured from outside."""

    lenient = True

    def __init__(self, **settings: Any) -> None:
        super(segment.SegmentMetricExporter, self).__init__(**settings)
