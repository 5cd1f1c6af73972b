"""Segment, and servers that speak its HTTP Tracking API.

Ring 1 (background).
"""

from .exporter import ENDPOINT, ENDPOINT_EU, SegmentMetricExporter, SegmentSpanExporter

__all__ = ["ENDPOINT", "ENDPOINT_EU", "SegmentMetricExporter", "SegmentSpanExporter"]
