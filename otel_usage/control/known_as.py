"""What each destination knows this installation as: what a user names who wants deleted what lies there.

A vendor tells by a function, ``known_as(installation_id, settings) -> {its field: what it holds}``, which has an entry point
of the vendor's name and loads the standard library alone: exporters themselves load an SDK, which costs seconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..delivery.environment import choose_destinations

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "otel_usage_known_as"  # of entry points


def list_destinations(settings: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """Return ``{name: keywords of its exporter}``: as the host's settings have them, else the standard variables.

    settings: the host's; None if they are not known. Any: the host's own.
    """
    named = (settings or {}).get("destinations")
    if named is not None and not isinstance(named, Mapping):
        return {}
    return {
        name: _keywords_of_variables(name) if keywords is None else keywords if isinstance(keywords, Mapping) else {}
        for name, keywords in choose_destinations(named).items()
    }


def ids_at(names: Iterable[str], installation_id: str, settings: Mapping[str, Any] | None) -> dict[str, dict[str, str]]:
    """Return ``{destination: {its field: what it holds}}``; no field where it can't be known here.

    names: of destinations, also former ones. settings: as `list_destinations` takes them.
    """
    keywords = list_destinations(settings)
    return {name: known_as(name, installation_id, keywords.get(name, {})) for name in names}


def known_as(name: str, installation_id: str, keywords: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields by which the destination *name* knows an installation; none if its exporter does not tell, is not
    installed, or gives all installations one name. keywords: of its exporter; Any: the host's own.
    """
    if name == "otlp":
        return {"app.installation.id": installation_id}
    for point in _tellers():
        if point.name != name:
            continue
        try:
            fields = point.load()(installation_id, keywords)
            return {str(field): str(held) for field, held in fields.items()}
        except Exception:  # of somebody else's module
            return {}
    return {}


def list_tellers() -> list[str]:
    """Return the names of destinations that tell, installed or our own."""
    return sorted({"otlp", *[point.name for point in _tellers()]})


def _tellers() -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points  # 20 ms, which only those commands pay that tell

    return entry_points(group=GROUP)


def in_words(fields: Mapping[str, str]) -> str:
    """Return *fields* as a phrase: ``client_id 1217825059.498486930``."""
    return " and ".join([f"{field} {held}" for field, held in fields.items()]) or "an id that can't be told here"


def _keywords_of_variables(name: str) -> dict[str, str]:
    """Return the keywords of the exporter *name* as its variables have them: each keyword has one."""
    prefix = f"OTEL_EXPORTER_{name.upper()}_"
    return {key.removeprefix(prefix).lower(): text for key, text in os.environ.items() if key.startswith(prefix)}
