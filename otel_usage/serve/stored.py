"""Open a store that no server has open, for commands that read it: what is wrong is said as a setting."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from otel_usage.setting_error import SettingError

if TYPE_CHECKING:
    from .store.store import Store

STORE = "usage.duckdb"  # of `otel-usage serve`, where nothing else is named
VIEWER_TOKEN = "OTEL_USAGE_SERVE_VIEWER_TOKEN"  # noqa: S105  the variable's name


def open_store(path: str) -> Store:
    """Return the store at *path*, which is not made if it is not there. Raises SettingError."""
    if not os.path.exists(path):
        raise SettingError(f"--store {path!r} is not there")
    try:
        from .store.store import Store
    except ImportError as exc:
        raise SettingError(f"{exc.name} is missing: pip install 'otel-usage[server]'") from exc
    return Store(path)


def choose_app(name: str | None, apps: Sequence[str]) -> str:
    """Return the app that is meant. Raises SettingError if that is none of the store's, or not clear."""
    if name in apps or (name is None and len(apps) == 1):
        return name or apps[0]
    listed = ", ".join(apps) or "none"
    if name is None:
        raise SettingError(f"which program? Name it with --app; the store has: {listed}")
    raise SettingError(f"--app {name!r} is not in the store, which has: {listed}")
