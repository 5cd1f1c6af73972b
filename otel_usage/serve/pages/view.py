"""What one request looks at: the filters, read from its address and written into every link, and what there is to choose.

FORMAT  The query of an address is that of `Filters`, and besides: ``days``, a period that ends today, so that a bookmark
        stays current; ``compare=no``, without the period before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode

from ..questions import QUESTIONS, FilterError, Filters, Question, declared_questions

PERIODS = {7: "7 days", 28: "28 days", 90: "90 days", 365: "12 months"}
USUAL_DAYS = 28
THEMES = {"auto": "Auto", "light": "Light", "dark": "Dark"}


@dataclass(frozen=True)
class Release:
    """A version, the first day on which it was seen, and on how many days of installations."""

    version: str
    day: str
    days: int


@dataclass(frozen=True)
class View:
    """What a page is made for.

    days: the period if it is one that ends today, else 0. path: of the page itself. notice: what every page says, such as
    that this is a demonstration. theme: one of `THEMES`. locked: people need a token; asks_clients: programs
    that send do. schema: what the program declares, as far as the server knows.
    """

    filters: Filters
    path: str = "/"
    days: int = USUAL_DAYS
    compares: bool = True
    apps: Sequence[str] = ()
    releases: Sequence[Release] = ()
    theme: str = "auto"
    locked: bool = False
    asks_clients: bool = False
    notice: str = ""
    schema: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # Any: a schema's rows

    def question(self, id_: str) -> Question | None:
        """Return the question *id_*: one of all programs, or of what this one declares; None if there is none."""
        return QUESTIONS.get(id_) or declared_questions(self.schema).get(id_)

    def link(self, path: str | None = None, **changes: object) -> str:
        """Return the address of *path*, or of this page, with these filters but for *changes*.

        changes: app, version, audience, days, start, end, compares. A period of days replaces one of dates.
        """
        filters, days, compares = self.filters, self.days, self.compares
        query: dict[str, object] = {"app": changes.get("app", filters.app)}
        if "start" in changes or not (n := changes.get("days", days)):
            query["start"] = changes.get("start", filters.start)
            query["end"] = changes.get("end", filters.end)
        elif n != USUAL_DAYS:
            query["days"] = n
        query["version"] = changes.get("version", filters.version)
        audience = changes.get("audience", filters.audience)
        query["audience"] = "" if audience == "people" else audience
        query["compare"] = "" if changes.get("compares", compares) else "no"
        text = urlencode({key: setting for key, setting in query.items() if setting != ""})
        return f"{self.path if path is None else path}?{text}" if text else (self.path if path is None else path)


def read_view(path: str, query: Mapping[str, str], apps: Sequence[str], today: date | None = None) -> View:
    """Return what an address asks for, without what has to be looked up. Raises FilterError."""
    today = today or datetime.now(timezone.utc).date()
    named = {key: setting for key, setting in query.items() if setting}
    named.setdefault("app", apps[0] if apps else "")
    days = 0 if "start" in named or "end" in named else USUAL_DAYS
    if days and "days" in named:
        number = named["days"]
        if not (number.isascii() and number.isdigit() and len(number) <= 4 and 1 <= int(number) <= 3_660):
            raise FilterError(f"days {named['days']!r} is not a number between 1 and 3660")
        days = int(named["days"])
    if days:
        named["start"] = (today - timedelta(days - 1)).isoformat()
    filters = Filters.from_query(named, today)
    return View(filters, path, days, named.get("compare") != "no", apps)


def with_theme(view: View, theme: str) -> View:
    """Return *view* in a theme, or in that of the system if there is none of that name."""
    return replace(view, theme=theme if theme in THEMES else "auto")
