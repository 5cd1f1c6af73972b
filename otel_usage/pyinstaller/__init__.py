"""Where PyInstaller finds its hook for us: the entry point ``pyinstaller40`` names `get_hook_dirs`."""

from __future__ import annotations

import os


def get_hook_dirs() -> list[str]:
    """Return the folders with hooks, for PyInstaller."""
    return [os.path.dirname(__file__)]
