"""What an operator can ask of the relay: limits, tokens, schemas; and how files with tokens and schemas are read.

FORMAT  of a schema file: a Python literal, the dict that the app passes to ``otel_usage.init``; in it ``"bool"`` stands
        for ``bool`` and ``("bucket", unit, …)`` for ``bucket(unit, …)``. Nothing of it is executed.
        of a token file: one token a line. Two while one is being replaced by another.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from otel_usage.schema.declaration import check_schema
from otel_usage.setting_error import SettingError

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Options:
    """Limits and policy. The defaults suit one core and 512 MiB.

    tokens: bearer tokens, any of which lets a client in; empty lets everybody in.
    schemas: ``{app: schema}``; an app without is checked by the structural rules alone.
    body_bytes, decoded_bytes: the largest request, as it comes and decompressed.
    items: the most spans or data points of one request.
    held_bytes: the most that decompressed bodies of all requests may take, until each is delivered.
    waiting: requests that a destination may have waiting or under way; all others are refused (429).
    workers: deliveries to a destination at a time.
    deadline_s: until a request is answered, one way or the other.
    window: ids that a destination remembers, so that a redelivery is not a second event.

    >>> Options(waiting=64, deadline_s=10.0).items
    10000
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
    """Return (app, schema) for ``APP=FILE``, the value of ``--schema``. Raises SettingError."""
    app, equals, path = text.partition("=")
    if not (app and equals and path):
        raise SettingError(f"--schema {text!r} is not APP=FILE, such as mycli=mycli.schema")
    try:
        literal = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as exc:
        raise SettingError(f"--schema {app}: {path!r} can't be read: {explain_error(exc)}") from exc
    try:
        schema = ast.literal_eval(literal)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as exc:
        raise SettingError(f"--schema {app}: {path!r} does not hold a Python literal: {explain_error(exc)}") from exc
    try:
        check_schema(schema)
    except SettingError as exc:
        raise SettingError(f"--schema {app}: {path!r}: {exc}") from exc
    return app, schema


def explain_error(error: Exception) -> str:
    """Return what *error* says, in one line."""
    text = error.strerror if isinstance(error, OSError) else None
    return text or (str(error).splitlines() or [type(error).__name__])[0]


def read_tokens(text: str, source: str) -> tuple[str, ...]:
    """Return the tokens in the lines of *text*. source: where it comes from, for the message. Raises SettingError."""
    tokens = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not tokens:
        raise SettingError(f"{source} is empty: put a token in it, or leave it out")
    if any(not token.isascii() or not token.isprintable() or " " in token for token in tokens):
        raise SettingError(f"{source}: a token holds a space or a character that a header can't carry")
    return tokens
