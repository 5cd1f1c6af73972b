"""What Amplitude knows an installation as. The standard library alone: commands ask that load no SDK."""

from __future__ import annotations

from collections.abc import Mapping


def known_as(installation_id: str, settings: Mapping[str, object]) -> dict[str, str]:
    """Return Amplitude's field that names the installation, and what it holds: the id itself.

    settings: the exporter's keywords. Nothing if the maintainers have set one ``device_id`` for all installations: then
    nothing there is told apart by installation.
    """
    return {} if settings.get("device_id") else {"device_id": installation_id}
