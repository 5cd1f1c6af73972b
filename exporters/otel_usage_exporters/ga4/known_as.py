"""What GA4 knows an installation as. The standard library alone: commands ask that load no SDK."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256


def client_id(installation_id: str, *, app_stream: bool = False) -> str:
    """Return GA4's name for an installation: ``<int>.<int>`` as its own tag makes them, 32 hex digits for apps.

    A digest, so that who reads GA4's export can't find the installation elsewhere.
    """
    digest = sha256(b"otel-usage ga4 " + installation_id.encode("utf-8", "replace")).digest()
    if app_stream:
        return digest[:16].hex()
    first, second = int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:8], "big")
    return f"{first % (2**31 - 1) + 1}.{second % (2**31 - 1) + 1}"


def known_as(installation_id: str, settings: Mapping[str, object]) -> dict[str, str]:
    """Return GA4's fields that name the installation, and what they hold.

    settings: the exporter's keywords; without the id of a stream, the fields of both kinds of stream. Nothing if the maintainers
    have set one ``client_id`` for all installations: then nothing there is told apart by installation.
    """
    if settings.get("client_id"):
        return {}
    of_streams = {
        "measurement_id": ("client_id", client_id(installation_id)),
        "firebase_app_id": ("app_instance_id", client_id(installation_id, app_stream=True)),
    }
    return dict([pair for keyword, pair in of_streams.items() if settings.get(keyword)] or of_streams.values())
