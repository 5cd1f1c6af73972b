"""What Matomo and Piwik PRO know an installation as. The standard library alone: commands ask that load no SDK."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256


def visitor_id(vendor: str, installation_id: str) -> str:
    """Return the 16 hexadecimal digits that are *vendor*'s name for an installation.

    A digest, so that who reads the vendor's reports can't find the installation elsewhere, not even at the other vendor.
    """
    return sha256(f"otel-usage {vendor} {installation_id}".encode("utf-8", "replace")).digest()[:8].hex()


def known_at(vendor: str, field: str, installation_id: str, settings: Mapping[str, object]) -> dict[str, str]:
    """Return *vendor*'s *field* that names the installation, and what it holds.

    settings: the exporter's keywords. Nothing if the maintainers have set one ``visitor_id`` for all installations: then
    nothing there is told apart by installation.
    """
    return {} if settings.get("visitor_id") else {field: visitor_id(vendor, installation_id)}
