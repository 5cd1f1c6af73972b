"""Read exporters' settings: a keyword if given, else the variable of the same name.

Ring 1 (background).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from otel_usage.schema import SettingError

from .post import check_endpoint

T = TypeVar("T")

MAX_TIMEOUT_S = 300.0
DEFAULT_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Common:
    """What every exporter can be told.

    folder: where it keeps what it must remember between processes; "" is memory only, None a folder per service.
    """

    all_spans: bool
    derived: bool
    timeout_s: float
    folder: str | None


class Reader:
    """Looks settings up by keyword, then by variable. Any: declarative configuration passes what YAML holds."""

    def __init__(self, vendor: str, given: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        self._prefix = f"OTEL_EXPORTER_{vendor}_"
        self._given = given
        self._environ = environ
        self._asked: set[str] = set()

    def raw(self, keyword: str) -> Any:
        """Return the value given for *keyword*, None if there is none. An empty variable is an unset one."""
        self._asked.add(keyword)
        value = self._given.get(keyword)
        return value if value is not None else self._environ.get(self.variable(keyword)) or None

    def variable(self, keyword: str) -> str:
        """Return the variable's name: ``timeout_s`` → ``OTEL_EXPORTER_GA4_TIMEOUT_S``."""
        return self._prefix + keyword.upper()

    def wrong(self, keyword: str, expected: str, *, missing: bool = False) -> SettingError:
        """Return the error for *keyword*. It shows no value: keys and ids get mixed up, and keys are shown nowhere."""
        what = "is not set" if missing else "can't be used"
        return SettingError(f"{self.variable(keyword)} ({keyword}=) {what}: expected {expected}")

    def read(self, keyword: str, parse: Callable[[Any], T], default: T, expected: str) -> T:
        """Return what *parse* makes of the setting, *default* without one. parse raises ValueError if it can't."""
        value = self.raw(keyword)
        if value is None:
            return default
        try:
            return parse(value)
        except (ValueError, TypeError, AttributeError):
            raise self.wrong(keyword, expected) from None

    def endpoint(self, default: str) -> str:
        """Return the address to post to."""
        value = self.raw("endpoint")
        try:
            return default if value is None else check_endpoint(value)
        except (ValueError, TypeError, AttributeError):
            expected = "an https:// address (http:// only for this machine), without user, query and fragment"
            raise self.wrong("endpoint", expected) from None

    def common(self) -> Common:
        """Return the settings that all exporters share; afterwards nothing given may be left over."""
        settings = Common(
            self.read("spans", choice("usage", "all"), "usage", '"usage" or "all"') == "all",
            self.read("derived", flag, False, '"true" or "false"'),
            self.read("timeout_s", _seconds, DEFAULT_TIMEOUT_S, f"seconds, more than 0 and at most {MAX_TIMEOUT_S:g}"),
            self.read("folder", _path, None, "a folder"),
        )
        unknown = sorted(set(self._given) - self._asked)
        if unknown:
            raise SettingError(f"unknown setting {', '.join(unknown)}: expected {', '.join(sorted(self._asked))}")
        return settings


def flag(value: Any) -> bool:
    """Return the bool that *value* says. Raises ValueError."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower()
    if word in ("true", "1", "yes"):
        return True
    if word in ("false", "0", "no"):
        return False
    raise ValueError


def key(value: Any) -> str:
    """Return *value* as a key: printable ASCII without spaces. Raises ValueError."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value.strip()
    if not text or len(text) > 256 or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError
    return str(text)


def choice(*words: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        word = str(value.strip().lower())
        if word not in words:
            raise ValueError
        return word

    return parse


def _seconds(value: Any) -> float:
    seconds = float(value)
    if isinstance(value, bool) or not 0 < seconds <= MAX_TIMEOUT_S:
        raise ValueError
    return seconds


def _path(value: Any) -> str | None:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    return value
