"""What Piwik PRO's reports and raw data know an installation as. Without the SDK."""

from __future__ import annotations

from collections.abc import Mapping

from otel_usage_exporters.visitor import known_at


def known_as(installation_id: str, settings: Mapping[str, object]) -> dict[str, str]:
    """Return Piwik PRO's field that names the installation, and what it holds: see `known_at`."""
    return known_at("piwik_pro", "visitor_id", installation_id, settings)
