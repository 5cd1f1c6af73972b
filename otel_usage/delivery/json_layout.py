"""Lay JSON out for a terminal: as few lines as its width allows, none broken within a value.

``json.dumps(indent=1)`` would take some 120 lines for one span, most of them brackets.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


def lay_out_json(value: Any, width: int, indent: int = 0, lead: int = 0, tail: int = 0) -> str:
    """Return JSON that is broken into lines only where it is wider than *width*. Any: JSON.

    indent: of the lines after the first; lead: how much stands before the first; tail: how much follows the last.

    >>> print(lay_out_json({"name": "report.upload", "kind": 1, "status": {"code": 0}}, 30))
    {
     "name": "report.upload",
     "kind": 1,
     "status": {"code": 0}
    }
    """
    whole = json.dumps(value, ensure_ascii=False)
    if not whole.isprintable():  # a text with control characters could write to the terminal: escape everything
        whole = json.dumps(value)
    if indent + lead + len(whole) + tail <= width or not value or not isinstance(value, (dict, list)):
        return whole
    items: list[tuple[str, Any]] = (
        [(json.dumps(key) + ": ", inner) for key, inner in value.items()]
        if isinstance(value, dict)
        else [("", inner) for inner in value]
    )
    start, end = "{}" if isinstance(value, dict) else "[]"
    if len(items) == 1:  # such as {"resourceSpans": [{…}]}: no line and no indent of its own
        key, inner = items[0]
        return start + key + lay_out_json(inner, width, indent, lead + 1 + len(key), tail + 1) + end
    lines, packing = [""], False
    for n, (key, inner) in enumerate(items):
        text = key + lay_out_json(inner, width, indent + 1, len(key), 1) + ("," if n < len(items) - 1 else "")
        single = not inner or not isinstance(inner, (dict, list))
        if packing and single and len(lines[-1]) + 1 + len(text) <= width:
            lines[-1] += " " + text
        else:
            lines.append(" " * (indent + 1) + text)
        packing = single
    return start + "\n".join(lines) + "\n" + " " * indent + end


def lay_out_parts(parts: Iterable[str], width: int) -> str:
    """Return *parts*, such as headers, in as few indented lines as hold them, none broken."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) + 3 <= width:
            lines[-1] += " · " + part
        else:
            lines.append("  " + part)
    return "\n".join(lines)
