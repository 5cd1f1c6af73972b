"""Piwik PRO: runs become page views, all else events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .exporter import (
        LenientPiwikProMetricExporter,
        LenientPiwikProSpanExporter,
        PiwikProMetricExporter,
        PiwikProSpanExporter,
    )

__all__ = [
    "LenientPiwikProMetricExporter",
    "LenientPiwikProSpanExporter",
    "PiwikProMetricExporter",
    "PiwikProSpanExporter",
]


def __getattr__(name: str) -> Any:  # Any: what the module has
    # Loaded when it is asked for: opentelemetry-instrument lists environment_variables.py at every start, and that must
    # not cost the import of the OTel SDK and of requests.
    if name in __all__:
        from . import exporter

        return getattr(exporter, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
