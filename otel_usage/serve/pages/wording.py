"""How values are written: by the unit of their column, the same in tables, cards and what a chart says."""

from __future__ import annotations

import re
from datetime import date

from ..questions import Headline

NOTHING = "–"
# {unit of a column: how pages.js writes it on a chart}
FORMATS = {"count": "number", "share": "percent", "seconds": "seconds", "hours": "number", "days": "number"}
AUDIENCE_NAMES = {"people": "People", "ci": "CI", "agents": "Agents", "services": "Services", "all": "All"}
LEAST_SHARE = 0.0005  # a difference that is written as 0.0 points is none
# Headlines of which less is better; of any other, more is neither.
_LESS_IS_BETTER = re.compile(r"fail|error|gone|lost|drop|p50|p90|p99|duration", re.IGNORECASE)
_MORE_IS_BETTER = re.compile(r"active|new|installations|returning|activated|stay|success", re.IGNORECASE)


def write(value: object, unit: str) -> str:
    """Return *value* as people read it, "–" where there is none.

    >>> write(1234567, "count"), write(0.0123, "share"), write(0.85, "seconds"), write("2026-11-26", "day")
    ('1,234,567', '1.2 %', '850 ms', '26 Nov 2026')
    """
    if value is None:
        return NOTHING
    if unit == "day":
        return write_day(str(value))
    if not isinstance(value, (int, float)) or unit == "text":
        return str(value)
    if unit == "share":
        return f"{100 * value:.1f} %"
    if unit == "seconds":
        return _write_seconds(value)
    if unit in ("hours", "days"):
        return f"{value:,.1f} {unit}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def write_day(text: str) -> str:
    """Return an ISO day as people read it, or the text if it is none."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return text
    return f"{day.day} {day:%b} {day.year}"


def write_change(headline: Headline) -> tuple[str, str]:
    """Return how a headline changed from the period before, and whether that is "better", "worse" or "".

    The arrow says the direction too: colour alone says nothing to many.
    """
    now, before = headline.value, headline.previous
    if not isinstance(now, (int, float)) or not isinstance(before, (int, float)):
        return "none before", ""
    if now == before or (headline.unit == "share" and abs(now - before) < LEAST_SHARE):
        return "= as before", ""
    if headline.unit == "share":
        size = f"{abs(now - before) * 100:.1f} points"
    elif not before:
        return "none before", ""
    else:
        share = abs(now / before - 1)
        size = f"{100 * share:.1f} %" if share < 9.995 else f"× {now / before:,.0f}"
    rising = now > before
    text = f"{'▲' if rising else '▼'} {size}"
    if _LESS_IS_BETTER.search(headline.title):
        return text, "worse" if rising else "better"
    if _MORE_IS_BETTER.search(headline.title):
        return text, "better" if rising else "worse"
    return text, ""


def _write_seconds(seconds: float) -> str:
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
