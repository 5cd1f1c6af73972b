"""Public names that few programs use: found when they are asked for.

Ring 0 (foreground): loaded by the first of them.
"""


def find(name: str) -> object:
    """Return the public *name* of `otel_usage`. Raises AttributeError if there is none."""
    if name == "SettingError":
        from .schema import SettingError

        return SettingError
    if name in ("mount", "show_flag"):
        from . import mounting

        return getattr(mounting, name)
    if name == "retired":
        from .retired import retired

        return retired
    raise AttributeError(f"module 'otel_usage' has no attribute {name!r}")
