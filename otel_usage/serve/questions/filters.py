"""What an answer is about: program, period, version and audience; read from the query of a URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone

PERIOD_DAYS = 28  # whole weeks, so that a period and the one before it have the same weekdays
MAX_DAYS = 3_660
# {audience: what it is}. Each run belongs to exactly one of the first four: the first condition that holds, of CI, agents,
# services. Nothing here comes from a user: what stands in `AUDIENCES` goes into SQL by name only.
AUDIENCES = {
    "people": "people at a terminal or in a script: not in CI, not started by an agent, no service",
    "ci": "continuous integration",
    "agents": "coding agents, outside CI",
    "services": "services, and what else is long-lived",
    "all": "everything that was received",
}


class FilterError(ValueError):
    """A filter of a URL's query, or of a command line, is not what it may be. The text says which, and what is expected."""


@dataclass(frozen=True)
class Filters:
    """The program, the period (both days are part of it, in UTC), a version or '' for all, and an audience.

    >>> filters = Filters.from_query({"app": "digest", "start": "2026-11-01", "end": "2026-11-28"})
    >>> filters.days, filters.previous().end.isoformat()
    (28, '2026-10-31')
    """

    app: str
    start: date
    end: date
    version: str = ""
    audience: str = "people"

    def __post_init__(self) -> None:
        if self.audience not in AUDIENCES:
            raise FilterError(f"audience {self.audience!r} is not one of {', '.join(AUDIENCES)}")
        if not 1 <= self.days <= MAX_DAYS:
            raise FilterError(
                f"the period {self.start} to {self.end} has {self.days} days; expected 1 to {MAX_DAYS}: "
                "a last day that is not before the first"
            )

    @property
    def days(self) -> int:
        """How many days the period has."""
        return (self.end - self.start).days + 1

    def previous(self) -> Filters:
        """Return the same filters over the period of equal length that ends the day before this one."""
        return replace(self, start=self.start - timedelta(self.days), end=self.start - timedelta(1))

    @classmethod
    def from_query(cls, query: Mapping[str, str], today: date | None = None) -> Filters:
        """Return the filters that *query* names, ``app``, ``start``, ``end`` (ISO days), ``version`` and ``audience``.

        Without ``end`` the period ends *today* (UTC); without ``start`` it has 28 days. Other keys are left alone.
        Raises: FilterError, whose text says what is wrong.
        """
        last = _read_day(query, "end") or today or datetime.now(timezone.utc).date()
        try:
            first = _read_day(query, "start") or last - timedelta(PERIOD_DAYS - 1)
            filters = cls(
                query.get("app", ""), first, last, query.get("version", ""), query.get("audience") or "people"
            )
            filters.previous()
        except OverflowError:
            raise FilterError(f"the period that ends {last} begins before the calendar does") from None
        return filters


def _read_day(query: Mapping[str, str], key: str) -> date | None:
    text = query.get(key, "")
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise FilterError(f"{key} {text!r} is not a day such as 2026-11-26") from None
    if not 1971 <= day.year <= 2261:  # what every database's days hold
        raise FilterError(f"{key} {text!r} is not a day between 1971 and 2261")
    return day
