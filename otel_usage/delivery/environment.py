"""Read from the environment where records go, and take out of it what must not join in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any


def choose_destinations(destinations: Mapping[str, Any] | None) -> dict[str, dict[str, Any] | None]:
    """Return ``{name: constructor keywords}``; None for keywords means that the exporter reads its own variables.

    destinations: what the host's ``init`` got; None leaves the choice to the standard variables.

    >>> choose_destinations({"otlp": "https://usage.example.org"})
    {'otlp': {'endpoint': 'https://usage.example.org'}}
    """
    if destinations is not None:
        return {name: {"endpoint": value} if isinstance(value, str) else value for name, value in destinations.items()}
    names: dict[str, dict[str, Any] | None] = {}
    for variable in ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"):
        text = os.environ.get(variable, "")
        if not text and any(
            os.environ.get(f"OTEL_EXPORTER_OTLP{part}_ENDPOINT") for part in ("", "_TRACES", "_METRICS")
        ):
            text = "otlp"
        for name in _split(text):
            if name and name != "none":
                names[name] = None
    return names


def list_selected(signal: str) -> list[str]:
    """Return the names in the variable of *signal*: ``OTEL_TRACES_EXPORTER`` or ``OTEL_METRICS_EXPORTER``."""
    return _split(os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", ""))


def _split(names: str) -> list[str]:
    return [name.strip().lower() for name in names.split(",")]


def forget_ambient() -> None:
    """Remove every OTEL_* variable but ours from this process's environment.

    Where the host itself named the destinations, the user's own OTLP headers, which may hold a key of theirs, must not be
    sent to them; and neither must a password from their ``.netrc``.
    """
    for name in list(os.environ):
        if name.startswith("OTEL_") and not name.startswith("OTEL_USAGE_"):
            del os.environ[name]
    os.environ["NETRC"] = os.devnull
