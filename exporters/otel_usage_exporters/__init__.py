"""Exporters of usage events to product analytics: Google Analytics 4 and Segment.

Ring 1 (background): each stands on its own in any OpenTelemetry program; see docs/exporters.md.
"""
