"""The one exception that this package raises at a host: a setting is wrong."""


class SettingError(ValueError):
    """A setting is wrong. The text says which, its value, what is expected and what to do."""

    __module__ = "otel_usage"  # where people import it from
