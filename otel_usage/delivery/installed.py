"""Find and load the exporters that are installed: entry points of OpenTelemetry's own groups.

Any distribution may add one, and then its name is a destination. A vendor that wants spans and counters has an entry point
of the same name in both groups.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ..setting_error import SettingError

GROUPS = {"traces": "opentelemetry_traces_exporter", "metrics": "opentelemetry_metrics_exporter"}
TIMEOUT_S = 10.0  # of one request of the official OTLP exporter
CERTIFICATES = ("certificate_file", "client_key_file", "client_certificate_file")  # its keywords that name files


def find_exporters(signal: str) -> dict[str, EntryPoint]:
    """Return the installed exporters of *signal*, ``traces`` or ``metrics``, by name."""
    return {point.name: point for point in entry_points(group=GROUPS[signal])}


def list_known_names() -> set[str]:
    """Return the names that ``destinations`` may hold."""
    return {"otlp", *find_exporters("traces"), *find_exporters("metrics")}


def explain_unknown(name: str) -> SettingError:
    """Return the error for a destination whose exporter is not installed."""
    known = ", ".join(sorted(list_known_names()))
    return SettingError(f"destination {name!r} is not an installed exporter; found: {known}")


def load_exporter(name: str, point: EntryPoint) -> Any:
    """Return the exporter's class. Any: of whatever distribution. Raises SettingError if its module can't be imported."""
    try:
        return point.load()
    except Exception as exc:  # somebody else's module may raise anything
        raise SettingError(f"destination {name!r} can't be imported: {type(exc).__qualname__}") from exc


def load_by_name(name: str) -> dict[str, Any]:
    """Return ``{signal: exporter class}`` of the installed exporters called *name*.

    Nothing is constructed: each caller has keywords of its own. Any: classes of whatever distribution.
    Raises SettingError if no exporter has this name, or if its module can't be imported.
    """
    points = {signal: find_exporters(signal).get(name) for signal in GROUPS}
    if not any(points.values()):
        raise explain_unknown(name)
    return {signal: load_exporter(name, point) for signal, point in points.items() if point is not None}
