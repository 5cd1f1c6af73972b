"""What PostHog knows an installation as. The standard library alone: commands ask that load no SDK."""

from __future__ import annotations

from collections.abc import Mapping


def known_as(installation_id: str, settings: Mapping[str, object]) -> dict[str, str]:
    """Return PostHog's field that names the installation, and what it holds: the id itself.

    settings: the exporter's keywords. Nothing if the maintainers have set one ``distinct_id`` for all installations: then
    nothing there is told apart by installation.
    """
    return {} if settings.get("distinct_id") else {"distinct_id": installation_id}
