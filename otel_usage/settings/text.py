"""Read a host's settings back from text.

FORMAT  The ``repr`` of the dict that ``init`` got. A host writes it to the standard input of the sender: the settings hold
        keys, and so must stand neither in arguments, nor in the environment, nor on the disk. JSON would not do: it knows
        no tuples, and writing it would load a module into the host.
"""

from __future__ import annotations

import re
from typing import Any

MUST_BE_PLAIN = (
    "must be plain values: text, numbers, booleans, None, lists and dicts; in the schema also bool and what "
    "otel_usage.bucket, integer, several and version return"
)


def read_settings(text: str) -> Any:
    """Return what *text* stands for. Raises ValueError if it is more than literals. Any: whatever the host passed.

    A class, such as bool in a schema, becomes its name.

    >>> read_settings("{'app': 'mycli', 'schema': {'x': {'fields': {'again': <class 'bool'>}}}}")
    {'app': 'mycli', 'schema': {'x': {'fields': {'again': 'bool'}}}}
    """
    from ast import literal_eval

    try:
        # A text of the host's may hold "<class 'bool'>" too. Then repr puts it between double quotes, or escapes its single
        # quotes: it is still one text after the replacement, and can't turn into anything else.
        return literal_eval(re.sub(r"<class '([\w.]+)'>", r"'\1'", text))
    except (SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(MUST_BE_PLAIN) from None  # their own messages may quote a key
