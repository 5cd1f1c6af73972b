"""Google Analytics 4.

Ring 1 (background).
"""

from .exporter import ENDPOINT, ENDPOINT_EU, GA4MetricExporter, GA4SpanExporter

__all__ = ["ENDPOINT", "ENDPOINT_EU", "GA4MetricExporter", "GA4SpanExporter"]
