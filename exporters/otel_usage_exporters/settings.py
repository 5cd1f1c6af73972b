"""Read an exporter's settings: a keyword if there is one, else the variable of the same name.

The keyword ``timeout_s`` of the vendor ``GA4`` is the variable ``OTEL_EXPORTER_GA4_TIMEOUT_S``, and so on. No error shows
a value: people mix keys and ids up, and a key must not stand in a log.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from otel_usage.setting_error import SettingError
from otel_usage.settings.endpoint import is_loopback

T = TypeVar("T")

MAX_TIMEOUT_S = 300.0
DEFAULT_TIMEOUT_S = 10.0
AN_ADDRESS = "an https:// address (http:// only for this machine), without user, query and fragment"


@dataclass(frozen=True, slots=True)
class CommonSettings:
    """The settings that the exporters of every vendor have.

    folder: where to remember things between processes; "" is in memory only, None is a folder per service.
    """

    all_spans: bool
    derived: bool
    timeout_s: float
    folder: str | None


class SettingReader:
    """Looks settings up by keyword, then by variable. Any: declarative configuration passes what YAML holds.

    ::

        reader = SettingReader("TOY", settings, os.environ)
        key = reader.read("write_key", parse_key, "", "the write key of a source")
        common = reader.common()  # last, as it refuses keywords that nobody has asked for
    """

    def __init__(self, prefix: str, settings: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        self._prefix = f"OTEL_EXPORTER_{prefix}_"
        self._settings = settings
        self._environ = environ
        self._asked_for: set[str] = set()

    def raw(self, keyword: str) -> Any:
        """Return the setting as it was written, None if there is none. An empty variable is an unset one."""
        self._asked_for.add(keyword)
        value = self._settings.get(keyword)
        return value if value is not None else self._environ.get(self.variable(keyword)) or None

    def variable(self, keyword: str) -> str:
        """Return the variable's name: ``timeout_s`` → ``OTEL_EXPORTER_GA4_TIMEOUT_S``."""
        return self._prefix + keyword.upper()

    def wrong(self, keyword: str, expected: str, *, missing: bool = False) -> SettingError:
        """Return the error for *keyword*, without its value."""
        what = "is not set" if missing else "can't be used"
        return SettingError(f"{self.variable(keyword)} ({keyword}=) {what}: expected {expected}")

    def read(self, keyword: str, parse: Callable[[Any], T], default: T, expected: str) -> T:
        """Return what *parse* makes of the setting, *default* without one.

        parse: raises ValueError, TypeError or AttributeError for what it does not take.
        Raises SettingError, which says what was *expected*.
        """
        value = self.raw(keyword)
        if value is None:
            return default
        try:
            return parse(value)
        except (ValueError, TypeError, AttributeError):
            raise self.wrong(keyword, expected) from None

    def endpoint(self, default: str) -> str:
        """Return the address to post to. Raises SettingError."""
        return self.read("endpoint", parse_endpoint, default, AN_ADDRESS)

    def common(self) -> CommonSettings:
        """Return the settings that all exporters share. Raises SettingError, also for a keyword nobody has asked for."""
        common = CommonSettings(
            self.read("spans", parse_choice("usage", "all"), "usage", '"usage" or "all"') == "all",
            self.read("derived", parse_flag, False, '"true" or "false"'),
            self.read("timeout_s", _seconds, DEFAULT_TIMEOUT_S, f"seconds, more than 0 and at most {MAX_TIMEOUT_S:g}"),
            self.read("folder", _path, None, "a folder"),
        )
        unknown = sorted(set(self._settings) - self._asked_for)
        if unknown:
            raise SettingError(f"unknown setting {', '.join(unknown)}: expected {', '.join(sorted(self._asked_for))}")
        return common


def parse_flag(value: Any) -> bool:
    """Return the bool that *value* says. Raises ValueError."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower()
    if word in ("true", "1", "yes"):
        return True
    if word in ("false", "0", "no"):
        return False
    raise ValueError


def parse_key(value: Any) -> str:
    """Return *value* as a key or an id: printable ASCII without spaces. Raises ValueError."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value.strip()
    if not text or len(text) > 256 or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError
    return str(text)


def parse_choice(*words: str) -> Callable[[Any], str]:
    """Return a function that takes one of *words*, in any case, and raises ValueError for all else."""

    def parse(value: Any) -> str:
        word = str(value.strip().lower())
        if word not in words:
            raise ValueError
        return word

    return parse


def parse_endpoint(url: str) -> str:
    """Return *url* without a slash at its end. Raises ValueError, which says what is expected and shows no value."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        plain = not (parts.query or parts.fragment or parts.username or parts.password) and url.isprintable()
        _ = parts.port
    except ValueError:
        raise ValueError(AN_ADDRESS) from None
    if (
        not host
        or not plain
        or " " in url
        or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))
    ):
        raise ValueError(AN_ADDRESS)
    return url.rstrip("/")


def _seconds(value: Any) -> float:
    seconds = float(value)
    if isinstance(value, bool) or not 0 < seconds <= MAX_TIMEOUT_S:
        raise ValueError
    return seconds


def _path(value: Any) -> str | None:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    os.fsencode(value)  # a ValueError, if no file can have that name
    return value
