"""The parts of a question and of its answer, and the pieces of SQL that questions share."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from .dialect import Dialect
from .filters import AUDIENCES, Filters

Value = str | int | float | None
Row = tuple[Value, ...]
# {name of a query: the rows that a database returned}. Any: what a driver makes of a column.
Results = Mapping[str, Sequence[Sequence[Any]]]
DRAWINGS = ("line", "bars", "stacked", "table", "heatmap", "funnel")
# What the values of a column are. A share is between 0 and 1, and None where it would be a share of nothing.
UNITS = ("text", "day", "count", "share", "seconds", "hours", "days")


@dataclass(frozen=True)
class Column:
    """A column of an answer: its name in JSON and CSV, its title on a page, and the unit of its values."""

    name: str
    title: str
    unit: str = "count"


@dataclass(frozen=True)
class Headline:
    """A number that stands above the drawing: its title, value, unit, and its value in the period before."""

    title: str
    value: Value
    unit: str = "count"
    previous: Value = None


@dataclass(frozen=True)
class Table:
    """What a question makes of the rows of its queries. missing: sentences on what these rows do not hold.

    rolled_up: the single events of the period have expired, and these rows are of what outlives them.
    """

    rows: Sequence[Row]
    headlines: Sequence[Headline] = ()
    missing: str = ""
    rolled_up: bool = False


@dataclass(frozen=True)
class Scope:
    """What a question's queries are written for: a dialect and an audience. Everything else is a bound parameter.

    Parameters that every query may use: ``app``, ``version``, ``start`` and ``end`` (days), ``since`` and ``until`` (times:
    of what begins at ``since`` and before ``until``).
    """

    dialect: Dialect
    audience: str = "people"

    def events(self, *, audience: bool = True, version: bool = True) -> str:
        """Return the condition of the period's rows of ``events``, ``counts`` and ``drops``."""
        d = self.dialect
        return f"app = {d.text('app')} AND {AT} >= {d.time('since')} AND {AT} < {d.time('until')}" + self._narrow(
            audience, version
        )

    def days(self, *, audience: bool = True, version: bool = True) -> str:
        """Return the condition of the period's rows of ``installation_days`` and ``run_days``."""
        d = self.dialect
        return f"app = {d.text('app')} AND day >= {d.date('start')} AND day <= {d.date('end')}" + self._narrow(
            audience, version
        )

    def whole(self, *, audience: bool = True, version: bool = False) -> str:
        """Return the condition of all rows of a program, of whatever day."""
        return f"app = {self.dialect.text('app')}" + self._narrow(audience, version)

    def of_audience(self) -> str:
        """Return the condition that a row of ``events`` or ``installation_days`` is of the audience."""
        return AUDIENCE_SQL.get(self.audience, "1 = 1")

    def of_audience_of_run_days(self) -> str:
        """Return the same of ``run_days``, whose ``agent`` is true or false, to stand behind other conditions."""
        return " AND " + self.of_audience().replace("agent = ''", "NOT agent").replace("agent <> ''", "agent")

    def runs_of_days(self) -> str:
        """Return the condition of the period's rows of ``run_days``."""
        return self.days(audience=False) + self.of_audience_of_run_days()

    def of_version(self) -> str:
        """Return the condition that a row is of the version that is filtered by, to stand behind others."""
        return self._narrow(audience=False, version=True)

    def _narrow(self, audience: bool, version: bool) -> str:
        text = self.dialect.text("version")
        return (f" AND (version = {text} OR {text} = '')" if version else "") + (
            f" AND {AUDIENCE_SQL[self.audience]}" if audience and self.audience != "all" else ""
        )


EXPIRED = "The single events of this period have expired: runs come from counts per day."
AT = '"at"'  # quoted: DuckDB reserves the word
# Columns that ``events``, ``installation_days`` and ``run_days`` have under the same names; ``agent`` is text in the first
# two, and in ``run_days`` true or false.
AUDIENCE_SQL = {
    "people": "NOT ci AND agent = '' AND surface <> 'service'",
    "ci": "ci",
    "agents": "NOT ci AND agent <> ''",
    "services": "NOT ci AND agent = '' AND surface = 'service'",
}
# An installation whose id lasts. One without is counted among runs, never among installations.
LASTING = "installation IS NOT NULL AND NOT ephemeral"
LASTING_DAYS = "installation IS NOT NULL"  # ``installation_days`` has no others
AUDIENCE = (
    "CASE WHEN ci THEN 'ci' WHEN agent <> '' THEN 'agents' WHEN surface = 'service' THEN 'services' ELSE 'people' END"
)


@dataclass(frozen=True)
class Question:
    """A question that a maintainer asks, how it is asked of a database, and how its answer is drawn.

    queries: from a scope, {name: SQL}. shape: from their rows, for these filters, the table. parameters: what the queries
    bind besides `Scope`'s. x, y, series: the columns that are drawn; a heatmap's *y* is the colour, and *series* its rows.
    definition: what the number is, in whole sentences. rows_of: the tables that are asked.
    """

    id: str
    title: str
    why: str
    definition: str
    of_whom: str
    draw: str
    columns: tuple[Column, ...]
    queries: Callable[[Scope], dict[str, str]]
    shape: Callable[[Results, Filters], Table]
    rows_of: tuple[str, ...]
    x: str = ""
    y: tuple[str, ...] = ()
    series: str = ""
    parameters: Callable[[Filters], dict[str, str]] = field(default=lambda _filters: {})
    every_audience: bool = False  # it compares the audiences, and takes no account of the filter


@dataclass(frozen=True)
class Answer:
    """What a question came to, with what makes the number honest.

    of_whom, excluded, missing: whole sentences. apart: {audience: its runs in the period}, whether counted here or not.
    previous: the rows of the period before.
    """

    question: Question
    filters: Filters
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    of_whom: str
    excluded: str
    missing: str
    headlines: tuple[Headline, ...] = ()
    apart: Mapping[str, int] = field(default_factory=dict)
    previous: tuple[Row, ...] = ()

    def as_object(self) -> dict[str, object]:
        """Return what `as_json` writes: dicts, lists, text and numbers."""
        return {
            "question": self.question.id,
            "title": self.question.title,
            "why": self.question.why,
            "definition": self.question.definition,
            "app": self.filters.app,
            "start": self.filters.start.isoformat(),
            "end": self.filters.end.isoformat(),
            "version": self.filters.version,
            "audience": self.filters.audience,
            "of_whom": self.of_whom,
            "excluded": self.excluded,
            "missing": self.missing,
            "runs_by_audience": dict(self.apart),
            "headlines": [
                {"title": h.title, "unit": h.unit, "value": h.value, "previous": h.previous} for h in self.headlines
            ],
            "columns": [{"name": c.name, "title": c.title, "unit": c.unit} for c in self.columns],
            "rows": [list(row) for row in self.rows],
            "previous": [list(row) for row in self.previous],
        }

    def as_json(self) -> str:
        """Return the answer as JSON, ASCII, on one line without an end of line."""
        return json.dumps(self.as_object(), allow_nan=False)

    def as_csv(self) -> str:
        """Return the rows as CSV (RFC 4180), with the columns' names first.

        Text that a spreadsheet would take for a formula begins with an apostrophe: names in it may come from anywhere.
        """
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow([column.name for column in self.columns])
        writer.writerows([[_harmless(value) for value in row] for row in self.rows])
        return out.getvalue()


def _harmless(value: Value) -> Value:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def share(part: float, whole: float) -> float | None:
    """Return *part* of *whole*, None if there is no whole."""
    return part / whole if whole else None


def fill_days(filters: Filters, by_day: Mapping[str, Row], width: int) -> list[Row]:
    """Return a row for each day of the period: of *by_day*, else the day and *width* zeros."""
    days = [(filters.start + timedelta(n)).isoformat() for n in range(filters.days)]
    return [by_day.get(day, (day, *[0] * width)) for day in days]


def describe_audience(filters: Filters) -> str:
    """Return which audience and version is meant, as a sentence."""
    version = f" Only version {filters.version!r}." if filters.version else ""
    return f"Audience: {AUDIENCES[filters.audience]}.{version}"
