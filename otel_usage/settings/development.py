"""Say that a setting is wrong, where a program is developed: `_strictness` in the front door says where that is."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from ..setting_error import SettingError
from .check import check_settings, check_without_exporters


def check_in_development(settings: Mapping[str, Any], strictness: int) -> None:
    """Raise SettingError if *settings* are wrong and *strictness* is 2; if it is 1, say so on stderr. Any: the host's own."""
    if strictness > 1:
        check_settings(settings)
        return
    try:
        check_without_exporters(settings)
    except SettingError as exc:
        print(f"otel-usage: {exc}; nothing is sent until it is right", file=sys.stderr)
