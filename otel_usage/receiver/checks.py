"""What the checks of all vendors that take JSON share: unpack and parse a body, and know a time and a plain value."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

# Any in this module: JSON, of any shape.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
_MAX_UNPACKED_BYTES = 50 * 1024 * 1024  # what is unpacked of a body, whatever it claims


def read_json(body: bytes, headers: Mapping[str, str] | None, *, most_bytes: int) -> tuple[Any, list[str]]:
    """Return what *body* holds, None if it is not JSON, and what is wrong with it.

    headers: as they came, of any case; left out, the body is as it is. most_bytes: of the body unpacked.
    """
    broken_rules: list[str] = []
    by_lower_name = {name.lower(): value for name, value in (headers or {}).items()}
    if by_lower_name.get("content-encoding", "identity") == "gzip":
        try:
            body = zlib.decompressobj(31).decompress(body, _MAX_UNPACKED_BYTES)
        except zlib.error:
            return None, ["(body): is not gzip"]
    if headers is not None and by_lower_name.get("content-type", "").partition(";")[0].strip() != "application/json":
        broken_rules.append("(header): Content-Type must be application/json")
    if len(body) > most_bytes:
        broken_rules.append(f"(size): {len(body)} bytes are too many")
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_refuse_constant), broken_rules
    except (ValueError, RecursionError):
        return None, [*broken_rules, "(body): is not JSON in UTF-8"]


def is_plain(value: Any) -> bool:
    """True for what every server, and every destination behind it, takes as the value of a property: GA4 takes no list."""
    if isinstance(value, str):
        return value.isprintable()
    return isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 2**64)


def is_time(value: Any) -> bool:
    """True for a time in ISO 8601 with its zone."""
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value[:19])
    except ValueError:
        return False
    return True


def _refuse_constant(constant: str) -> None:
    """Refuse ``NaN`` and ``Infinity``, which Python takes for JSON."""
    raise ValueError(constant)
