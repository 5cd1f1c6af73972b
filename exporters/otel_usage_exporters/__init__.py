"""Exporters of usage events to product analytics: a folder each.

They stand on their own in any OpenTelemetry program: see docs/exporters.md. How to add one: see
docs/contributing/add-an-exporter.md.

PYTEST_DONT_REWRITE: see otel_usage/__init__.py.
"""

from .marking import mark_action

__all__ = ["mark_action"]
