"""What the sender remembers of a host's settings, for commands that run without the host.

Ring 1 (background).
"""

from __future__ import annotations

import json
import os
from ast import literal_eval
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .queue import write

SECRET = "(kept-secret)"  # stands for what may be a key, and is taken for one by exporters  # noqa: S105
KEPT = ("app", "version", "consent", "policy", "about", "service", "flag")
PLAIN = ("protocol", "measurement_id", "firebase_app_id", "screens", "spans")  # keywords whose text is nobody's secret


def remember(home: str, settings: Mapping[str, Any]) -> None:
    """Write *settings* to ``<home>/settings.json``, unless it says so already. Keys and headers are not kept.

    Shape: a JSON object; ``schema`` is Python text in it, since JSON knows no tuples (``bucket``, ``integer``).
    """
    seen = {key: settings[key] for key in KEPT if key in settings}
    seen["schema"] = repr(plain(settings["schema"]))
    seen["destinations"] = redacted(settings["destinations"])
    path, text = os.path.join(home, "settings.json"), json.dumps(seen, indent=1).encode()
    try:
        with open(path, "rb") as file:
            if file.read() == text:
                return
    except FileNotFoundError:
        pass
    write(path, text)


def recall(home: str) -> dict[str, Any] | None:
    """Return what `remember` wrote; None if there is nothing, or nothing that can be read."""
    try:
        with open(os.path.join(home, "settings.json"), encoding="utf-8") as file:
            told: dict[str, Any] = json.load(file)
        told["schema"] = literal_eval(told["schema"])
        return told if isinstance(told["schema"], dict) and "app" in told and "destinations" in told else None
    except (OSError, ValueError, TypeError, KeyError, SyntaxError):
        return None


def plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return *schema* as Python literals: ``bool`` is a class, and becomes ``"bool"``."""
    return {
        name: {**row, "fields": {f: "bool" if t is bool else t for f, t in (row.get("fields") or {}).items()}}
        for name, row in schema.items()
    }


def redacted(destinations: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return *destinations* with every text hidden but the beginnings of addresses: what it is for, we can't know."""
    if destinations is None:
        return None
    return {name: _shown(value) for name, value in destinations.items()}


def _shown(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _hidden(key, told) for key, told in value.items()}
    return _hidden("endpoint", value)


def _hidden(key: str, value: object) -> object:
    if isinstance(value, str):
        return _address(value) if key == "endpoint" else value if key in PLAIN else SECRET
    if isinstance(value, Mapping):
        return {str(inner): told if key == "names" else SECRET for inner, told in value.items()}
    return value if value is None or isinstance(value, (bool, int, float)) else SECRET


def _address(text: str) -> str:
    """Return scheme, host and port of an address; whatever else it holds may be a key, some of which lie in paths."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return SECRET
    if not host or parts.scheme not in ("http", "https"):
        return SECRET
    start = f"{parts.scheme}://" + (f"[{host}]" if ":" in host else host) + (f":{port}" if port is not None else "")
    rest = parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password
    return f"{start}/{SECRET}" if rest else start
