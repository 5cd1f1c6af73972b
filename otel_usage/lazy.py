"""Public names that few programs use: found when they are asked for.

Ring 0 (foreground): loaded by the first of them.
"""

import sys


class SettingError(ValueError):
    """A setting is wrong. The text says which, its value, what is expected and what to do."""

    # Here, not in the schema's module, since a program that names it would load that and what it needs, even when off.
    __module__ = "otel_usage"


def find(name: str) -> object:
    """Return the public *name* of `otel_usage`. Raises AttributeError if there is none."""
    if name == "SettingError":
        return SettingError
    if name in ("mount", "show_flag"):
        from . import mounting

        return getattr(mounting, name)
    if name == "retired":
        from .retirement import retired

        return retired
    module = sys.modules.get("otel_usage." + name)
    if module is not None:  # loaded without the import system, which would have made it an attribute
        return module
    raise AttributeError(f"module 'otel_usage' has no attribute {name!r}")
