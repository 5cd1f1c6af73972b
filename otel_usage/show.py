"""Log mode: print what would be sent, send nothing.

Ring 1 (background).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO


def show(settings: Mapping[str, Any], out: TextIO) -> None:
    """Print the records of this run as they would leave, after the checks of a real sending."""
