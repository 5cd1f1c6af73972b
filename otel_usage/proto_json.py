"""Numbers and the like as JSON carries them for protobuf: what they say, or an error; never another value.

FORMAT  protobuf's JSON mapping (protobuf.dev, "ProtoJSON Format"), as OTLP narrows it: an integer is a JSON number or a
        decimal text, of which either may be written with a fraction of zeros or an exponent (``"10"``, ``10.0``,
        ``1e1``); a double is either, or ``"NaN"``, ``"Infinity"``, ``"-Infinity"``; booleans and texts are JSON's own; an
        enum is a JSON number (OTLP takes no names); ids are hexadecimal. A member that is null counts as absent, which is
        for callers to see to.

Python's own ``int`` and ``float`` take more: ``1.7`` for 1, ``True`` for 1, ``" 1_000 "`` for 1000, ``"nan"``, digits of
other scripts. Each function here raises ValueError for what the mapping has not. Any: JSON, of any type.
"""

from __future__ import annotations

import math
import re
from typing import Any

MAX_DIGITS = 20  # of a number of 64 bits

_DIGITS = re.compile(rf"-?[0-9]{{1,{MAX_DIGITS}}}")
_NUMBER = re.compile(r"-?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,3})?")
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]*")
_NO_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def read_integer(value: Any, lowest: int, highest: int) -> int:
    """Return an integer between *lowest* and *highest*."""
    if value.__class__ is str:
        if (value.isdigit() and value.isascii() and len(value) <= MAX_DIGITS) or _DIGITS.fullmatch(value):
            number = int(value)
        elif _NUMBER.fullmatch(value):
            from decimal import Decimal  # rare, and exact: a float has 53 bits

            exact = Decimal(value)
            if exact != exact.to_integral_value():
                raise ValueError("not an integer")
            number = int(exact)
        else:
            raise ValueError("not an integer")
    elif value.__class__ is int:
        number = value
    elif value.__class__ is float and value.is_integer():
        number = int(value)
    else:
        raise ValueError("not an integer")
    if not lowest <= number <= highest:
        raise ValueError("out of range")
    return number


def read_int64(value: Any) -> int:
    """Return an integer of 64 bits with a sign."""
    return read_integer(value, -(1 << 63), (1 << 63) - 1)


def read_uint64(value: Any) -> int:
    """Return an integer of 64 bits without a sign: a time in nanoseconds, a count."""
    return read_integer(value, 0, (1 << 64) - 1)


def read_uint32(value: Any) -> int:
    """Return an integer of 32 bits without a sign: flags."""
    return read_integer(value, 0, (1 << 32) - 1)


def read_enum(value: Any) -> int:
    """Return the number of an enum."""
    if value.__class__ is str:
        raise ValueError("not the number of an enum")
    return read_integer(value, -(1 << 31), (1 << 31) - 1)


def read_double(value: Any) -> float:
    """Return a floating point number."""
    if value.__class__ is float:
        if not math.isfinite(value):  # Python's json takes NaN and Infinity without quotes, and makes infinity of 1e999
            raise ValueError("not a number")
        return float(value)
    if value.__class__ is str and value in _NO_NUMBERS:
        return _NO_NUMBERS[value]
    if value.__class__ is int or (value.__class__ is str and _NUMBER.fullmatch(value)):
        try:
            number = float(value)
        except OverflowError:
            raise ValueError("out of range") from None
        if math.isfinite(number):
            return number
    raise ValueError("not a number")


def read_bool(value: Any) -> bool:
    """Return a boolean."""
    if value.__class__ is not bool:
        raise ValueError("not a boolean")
    return bool(value)


def read_text(value: Any) -> str:
    """Return a text."""
    if value.__class__ is not str:
        raise ValueError("not a text")
    return str(value)


def read_id(value: Any, size_bytes: int) -> int:
    """Return an id of *size_bytes* as a number."""
    if value.__class__ is not str or len(value) != 2 * size_bytes or not _HEXADECIMAL.fullmatch(value):
        raise ValueError("not an id")
    return int(value, 16)
