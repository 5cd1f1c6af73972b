"""Remember a host's settings, without its secrets, for commands that run without the host.

FORMAT  ``<home>/settings.json``: one JSON object with the keys of `REMEMBERED`, and
        ``schema``        Python text, since JSON knows no tuples: ``('bucket', 'MB', 1, 10)``
        ``destinations``  as ``init`` got them, with `SECRET` in place of every text that may be a key
ALGORITHM
1. The sender writes the file at the start of its work, unless the same bytes are there already.
2. ``otel-usage status``, ``preview`` and the notice of a new policy read it.
RACE    A command may read while a sender writes: the file is renamed into its place, so that it is always whole.
"""

from __future__ import annotations

import json
import os
from ast import literal_eval
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ..spool.files import open_plain, write_whole
from ..spool.layout import SETTINGS

SECRET = "(kept-secret)"  # stands for what may be a key, and is taken for one by exporters  # noqa: S105
REMEMBERED = ("app", "version", "consent", "policy", "about", "service", "flag", "mounted", "host")
# Keywords of exporters whose text is nobody's secret.
PUBLIC_KEYWORDS = ("protocol", "measurement_id", "firebase_app_id", "screens", "spans")


def remember(home: str, settings: Mapping[str, Any]) -> None:
    """Write *settings* to ``<home>/settings.json``, unless that holds them already. Keys and headers are left out."""
    remembered = {key: settings[key] for key in REMEMBERED if key in settings}
    remembered["schema"] = repr(replace_classes(settings["schema"]))
    remembered["destinations"] = redact_destinations(settings["destinations"])
    path, text = os.path.join(home, SETTINGS), json.dumps(remembered, indent=1).encode()
    try:
        with open(path, "rb", opener=open_plain) as file:
            if file.read() == text:
                return
    except FileNotFoundError:
        pass
    write_whole(path, text)


def recall(home: str) -> dict[str, Any] | None:
    """Return what `remember` wrote; None if there is nothing, or nothing that can be read."""
    try:
        with open(os.path.join(home, SETTINGS), encoding="utf-8", opener=open_plain) as file:
            settings: dict[str, Any] = json.load(file)
        settings["schema"] = literal_eval(settings["schema"])
        complete = isinstance(settings["schema"], dict) and "app" in settings and "destinations" in settings
        return settings if complete else None
    except (OSError, ValueError, TypeError, KeyError, SyntaxError):
        return None


def replace_classes(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return *schema* as Python literals: the class ``bool``, which is none, becomes the text ``"bool"``."""
    return {
        name: {**row, "fields": {f: "bool" if t is bool else t for f, t in (row.get("fields") or {}).items()}}
        for name, row in schema.items()
    }


def redact_destinations(destinations: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return *destinations* with every text hidden but the beginnings of addresses: what else is a key, we can't know.

    >>> redact_destinations({"otlp": "https://usage.example.org/k3y", "ga4": {"api_secret": "s3cret"}})
    {'otlp': 'https://usage.example.org/(kept-secret)', 'ga4': {'api_secret': '(kept-secret)'}}
    """
    if destinations is None:
        return None
    return {name: _redact_destination(value) for name, value in destinations.items()}


def _redact_destination(destination: object) -> object:
    """Return *destination*, an endpoint or keywords, redacted."""
    if isinstance(destination, Mapping):
        return {str(keyword): _redact_value(keyword, value) for keyword, value in destination.items()}
    return _redact_value("endpoint", destination)


def _redact_value(keyword: str, value: object) -> object:
    if isinstance(value, str):
        return _redact_address(value) if keyword == "endpoint" else value if keyword in PUBLIC_KEYWORDS else SECRET
    if isinstance(value, Mapping):  # such as headers; "names" are those of events at the vendor
        return {str(key): inner if keyword == "names" else SECRET for key, inner in value.items()}
    return value if value is None or isinstance(value, (bool, int, float)) else SECRET


def _redact_address(address: str) -> str:
    """Return scheme, host and port of an address. Whatever else it holds may be a key: some vendors' lie in the path."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        return SECRET
    if not host or parts.scheme not in ("http", "https"):
        return SECRET
    start = f"{parts.scheme}://" + (f"[{host}]" if ":" in host else host) + (f":{port}" if port is not None else "")
    rest = parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password
    return f"{start}/{SECRET}" if rest else start
