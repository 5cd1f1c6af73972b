"""Do installations stay: weekly cohorts."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta

from .filters import Filters
from .question import LASTING_DAYS, Column, Headline, Question, Results, Row, Scope, Table, share

MIN_WEEKS = 12


def _queries(scope: Scope) -> dict[str, str]:
    d = scope.dialect
    version = d.text("version")
    first, last = d.date("first"), d.date("last")
    return {
        "cohorts": f"""
            WITH cohorts AS (
                SELECT installation, {d.week("min(day)")} AS born FROM installation_days
                WHERE {scope.whole()} AND {LASTING_DAYS}
                GROUP BY installation
                HAVING min(day) >= {first} AND min(day) <= {last}
                   AND ({d.value_at_first("version", "day")} = {version} OR {version} = '')),
            weeks AS (
                SELECT installation, {d.week("day")} AS seen_in FROM installation_days
                WHERE {scope.whole()} AND {LASTING_DAYS} AND day >= {first} AND day <= {last}
                GROUP BY installation, seen_in)
            SELECT born, seen_in, count(*) FROM weeks JOIN cohorts ON weeks.installation = cohorts.installation
            GROUP BY born, seen_in""",
    }


def _shape(results: Results, filters: Filters) -> Table:
    seen: dict[date, dict[int, int]] = defaultdict(dict)
    for born, week, count in results["cohorts"]:
        monday = date.fromisoformat(str(born)[:10])
        seen[monday][(date.fromisoformat(str(week)[:10]) - monday).days // 7] = int(count)
    last_monday = _weeks(filters)[1] - timedelta(6)
    rows: list[Row] = []
    pooled: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for monday in sorted(seen):
        size = seen[monday][0]
        for week in range((last_monday - monday).days // 7 + 1):
            count = seen[monday].get(week, 0)
            rows.append((monday.isoformat(), week, count, size, share(count, size)))
            pooled[week][0] += count
            pooled[week][1] += size
    headlines = [
        Headline(f"seen in week {week}", share(*pooled[week]) if week in pooled else None, "share")
        for week in (1, 4, 8)
    ]
    first, last = _weeks(filters)
    return Table(rows, headlines, f"Whole weeks only, of {first} to {last}.")


def _weeks(filters: Filters) -> tuple[date, date]:
    """Return the first Monday and the last Sunday: whole weeks up to the period's end, and at least `MIN_WEEKS`."""
    last = filters.end - timedelta((filters.end.weekday() + 1) % 7)
    first = min(filters.start - timedelta(filters.start.weekday()), last - timedelta(7 * MIN_WEEKS - 1))
    return first, last


QUESTION = Question(
    id="cohorts",
    title="Do installations stay?",
    why="Growth is worth little if those who come leave again; and whether that gets better from cohort to cohort.",
    definition=(
        "Installations by the week, from Monday, in which they were first seen (week 0), and which share of them was seen in "
        "each week after it. Whole weeks only, at least twelve, up to the end of the period. Seen means on any day of that week: "
        "who uses the program once a month is absent in most weeks, and has not left. A new id, after a year or on request, is "
        "a new installation. The headlines take all cohorts together that have reached the week. The filter by version is about "
        "the first day's."
    ),
    of_whom="Installations whose id lasts.",
    draw="heatmap",
    x="week",
    y=("share",),
    series="cohort",
    columns=(
        Column("cohort", "First seen in the week from", "day"),
        Column("week", "Weeks later"),
        Column("installations", "Installations"),
        Column("size", "Of"),
        Column("share", "Share", "share"),
    ),
    queries=_queries,
    shape=_shape,
    rows_of=("installation_days",),
    parameters=lambda filters: {"first": _weeks(filters)[0].isoformat(), "last": _weeks(filters)[1].isoformat()},
)
