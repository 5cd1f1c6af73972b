"""What an operator can tell the relay: limits, listening, keys; from the command line and the environment.

Ring 2 (extra ``[relay]``).
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from otel_usage.schema import SettingError, check_schema

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits and policy. The defaults suit one core and 512 MiB.

    tokens: bearer tokens, any of which lets a client in; empty lets everybody in.
    schemas: ``{app: schema}``; apps without are checked by the structural rules alone.
    body_bytes, decoded_bytes: of one request, as it comes and decompressed.
    items: spans or data points of one request.
    held_bytes: decompressed bodies of all requests that are waited for or delivered.
    waiting: requests that a destination may have waiting or under way, all others are refused (429).
    workers: deliveries to a destination at a time.
    deadline_s: until a request is answered, one way or the other.
    window: event ids that a destination remembers, so that a redelivery is not a second event.
    """

    tokens: tuple[str, ...] = field(default=(), repr=False)
    schemas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    body_bytes: int = 4 * MIB
    decoded_bytes: int = 4 * MIB
    items: int = 10_000
    held_bytes: int = 64 * MIB
    waiting: int = 32
    workers: int = 4
    deadline_s: float = 30.0
    window: int = 500_000


def read_schema(text: str) -> tuple[str, Mapping[str, Any]]:
    """Return (app, schema) for ``APP=FILE``. The file holds the schema as a Python literal. Raises SettingError.

    In it, ``"bool"`` stands for bool and ``("bucket", unit, …)`` for ``bucket(unit, …)``.
    """
    app, equals, name = text.partition("=")
    if not (app and equals and name):
        raise SettingError(f"--schema {text!r} is not APP=FILE, such as mycli=mycli.schema")
    try:
        written = Path(name).read_text(encoding="utf-8")
    except (OSError, ValueError) as exc:
        raise SettingError(f"--schema {app}: {name!r} can't be read: {why(exc)}") from exc
    try:
        schema = ast.literal_eval(written)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as exc:
        raise SettingError(f"--schema {app}: {name!r} does not hold a Python literal: {why(exc)}") from exc
    try:
        check_schema(schema)
    except SettingError as exc:
        raise SettingError(f"--schema {app}: {name!r}: {exc}") from exc
    return app, schema


def why(error: Exception) -> str:
    """Return what *error* says, in one line."""
    text = error.strerror if isinstance(error, OSError) else None
    return text or (str(error).splitlines() or [type(error).__name__])[0]


def read_tokens(text: str, name: str = "") -> tuple[str, ...]:
    """Return the tokens in the lines of *text*: more than one while a token is being replaced. Raises SettingError.

    name: of the file it comes from, for the message; OTEL_USAGE_RELAY_TOKEN without.
    """
    where = f"--token-file {name!r}" if name else "OTEL_USAGE_RELAY_TOKEN"
    tokens = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not tokens:
        raise SettingError(f"{where} is empty: put a token in it, or leave it out")
    if any(not token.isascii() or not token.isprintable() or " " in token for token in tokens):
        raise SettingError(f"{where}: a token holds a space or a character that a header can't carry")
    return tokens
