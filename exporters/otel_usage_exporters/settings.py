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

from .named_event import NOBODY
from .span_choice import DEFAULT_ATTRIBUTES, STANDARD, SpanChoice

T = TypeVar("T")

MAX_TIMEOUT_S = 300.0
DEFAULT_TIMEOUT_S = 10.0
MIN_USER_KEY = 16  # characters: who has the key, or guesses it, can try all ids that there may be
AN_ADDRESS = "an https:// address (http:// only for this machine), without user, query and fragment"


@dataclass(frozen=True, slots=True)
class CommonSettings:
    """The settings that the exporters of every vendor have.

    choice: what is exported of spans that are not about use, and whose spans are.
    folder: where to remember things between processes; "" is in memory only, None is a folder per service.
    """

    choice: SpanChoice
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
        self.prefix = prefix
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
        return f"OTEL_EXPORTER_{self.prefix}_{keyword.upper()}"

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

    def names(self, vendor: str) -> Mapping[str, str]:
        """Return ``{declared name: vendor's}``, of a mapping or of text like ``report.upload=Report Uploaded``.

        Raises SettingError.
        """
        no_names: Mapping[str, str] = {}
        return self.read("names", _parse_pairs, no_names, f"declared name={vendor}'s name, separated by commas")

    def client(self, keyword: str) -> str:
        """Return the setting that says who the client is for all, "" without. Raises SettingError, also for nobody's id."""

        def parse(value: Any) -> str:
            who = parse_key(value)
            if who.lower() in NOBODY:
                raise ValueError
            return who

        return self.read(keyword, parse, "", "an id without spaces, and none that stands for nobody")

    def _choice(self) -> SpanChoice:
        """Return what the settings say about spans of any instrumentation. Raises SettingError."""
        names, none = "names, separated by commas; * stands for any characters", ()
        no_key = "a key of at least 16 characters, to hash users' ids with (or send_raw_user, to send them as they are)"
        choice = SpanChoice(
            spans=self.read("spans", _parse_spans, none, f'"usage", "all" or {names}'),
            attributes=self.read("attributes", _parse_attributes, DEFAULT_ATTRIBUTES, f'"standard", "all" or {names}'),
            personal=self.read("allow_personal_data", parse_flag, False, '"true" or "false"'),
            user=self.read("user", parse_names, none, "names of attributes, separated by commas"),
            user_key=self.read("user_key", _user_key, "", no_key),
            raw_user=self.read("send_raw_user", parse_flag, False, '"true" or "false"'),
            prefix=self.prefix,
        )
        if choice.user and self.raw("user_key") is None and not self.read("send_raw_user", parse_flag, False, ""):
            raise self.wrong("user_key", no_key, missing=True)
        return choice

    def common(self, keyword: str, client: str) -> CommonSettings:
        """Return the settings that all exporters share. Raises SettingError, also for a keyword nobody has asked for.

        client: the one that the setting *keyword* names for all events, "" for none; then no user of an event is one.
        """
        common = CommonSettings(
            self._choice(),
            self.read("derived", parse_flag, False, '"true" or "false"'),
            self.read("timeout_s", _seconds, DEFAULT_TIMEOUT_S, f"seconds, more than 0 and at most {MAX_TIMEOUT_S:g}"),
            self.read("folder", _path, None, "a folder"),
        )
        unknown = sorted(set(self._settings) - self._asked_for)
        if unknown:
            raise SettingError(f"unknown setting {', '.join(unknown)}: expected {', '.join(sorted(self._asked_for))}")
        if client and common.choice.user:
            raise self.wrong(keyword, "it or user, not both")
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


def parse_names(value: Any) -> tuple[str, ...]:
    """Return the names in *value*: a list, or text with commas between. Raises ValueError."""
    names = value.split(",") if isinstance(value, str) else list(value)
    if isinstance(value, Mapping) or not all(isinstance(name, str) for name in names):
        raise ValueError
    return tuple([name.strip() for name in names if name.strip()])


def _parse_pairs(value: Any) -> Mapping[str, str]:
    if isinstance(value, str):
        value = dict([pair.split("=") for pair in value.split(",") if pair.strip()])
    pairs = {key.strip(): name.strip() for key, name in value.items()}
    if not all(key and name for key, name in pairs.items()):
        raise ValueError
    return pairs


def _parse_spans(value: Any) -> tuple[str, ...]:
    names = parse_names(value)
    words = [name.lower() for name in names]
    return ("*",) if "all" in words else tuple([name for name in names if name.lower() != "usage"])


def _parse_attributes(value: Any) -> tuple[str, ...]:
    names = parse_names(value)
    words = [name.lower() for name in names]
    if "all" in words:
        return ("*",)
    return (*[name for name in names if name.lower() != STANDARD], *(DEFAULT_ATTRIBUTES if STANDARD in words else ()))


def _user_key(value: Any) -> str:
    if len(value.strip()) < MIN_USER_KEY:
        raise ValueError
    return str(value.strip())


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
