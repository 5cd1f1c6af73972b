"""How many installations are active, new, returning, gone."""

from __future__ import annotations

from .filters import Filters
from .question import LASTING_DAYS, Column, Headline, Question, Results, Scope, Table, fill_days


def _queries(scope: Scope) -> dict[str, str]:
    d = scope.dialect
    start, end = d.date("start"), d.date("end")
    # One row per installation: its first day ever, on how many days of the period and of the one before it was seen. There is
    # one row per installation and day, so that rows are days: to count different ones would take ten times as long.
    of_period = f"day >= {start} AND day <= {end}{scope.of_version()}"
    spans = f"""
        SELECT installation, min(day) AS first_day, {d.count_if(of_period)} AS seen_days,
               {d.count_if(f"day >= {d.date('before')} AND day < {start}{scope.of_version()}")} AS days_before
        FROM installation_days
        WHERE {scope.whole()} AND {LASTING_DAYS} AND day <= {end}
        GROUP BY installation"""
    return {
        "period": f"""
            SELECT {d.count_if("seen_days >= 2")}, {d.count_if("seen_days >= 1")},
                   {d.count_if(f"seen_days >= 1 AND first_day >= {start}")},
                   {d.count_if(f"seen_days >= 1 AND first_day < {start}")},
                   {d.count_if("seen_days = 0 AND days_before >= 2")}, {d.count_if("seen_days = 1")}
            FROM ({spans}) AS spans""",
        "days": f"""
            SELECT seen.day AS of_day, {d.count_if("first_day = seen.day")}, {d.count_if("first_day < seen.day")},
                   {d.count_if("seen_days >= 2")}
            FROM installation_days AS seen JOIN ({spans}) AS spans ON seen.installation = spans.installation
            WHERE {scope.days()}
            GROUP BY of_day ORDER BY of_day""",
    }


def _shape(results: Results, filters: Filters) -> Table:
    titles = ("active", "seen", "new", "returning", "gone", "seen on one day only")
    counts = [int(n) for n in (results["period"] or [[0] * len(titles)])[0]]
    by_day = {str(row[0])[:10]: (str(row[0])[:10], *row[1:]) for row in results["days"]}
    headlines = [Headline(title, count) for title, count in zip(titles, counts, strict=True)]
    return Table(fill_days(filters, by_day, 3) if by_day else [], headlines)


QUESTION = Question(
    id="active",
    title="How many installations are active, new, returning, gone?",
    why="The size of the user base, and whether it grows: for planning, and for those who fund the project.",
    definition=(
        "An installation is a random id that a program makes once consent allows sending. It is active if it was seen on at "
        "least two different days of the period, so that what is started once, such as a container, does not count as a user. "
        "New: first seen, ever, in the period (in the drawing: on that day). Returning: seen in the period (on that day), and "
        "first seen before it. Gone: seen on at least two days of the period before, and on none of this one. A person "
        "with two machines is two installations. Counts are exact; those of days do not add up to that of the period."
    ),
    of_whom="Installations whose id lasts, by the days on which they were seen.",
    draw="stacked",
    x="day",
    y=("new", "returning"),
    columns=(
        Column("day", "Day", "day"),
        Column("new", "New"),
        Column("returning", "Returning"),
        Column("active", "Active in the period"),
    ),
    queries=_queries,
    shape=_shape,
    rows_of=("installation_days",),
    parameters=lambda filters: {"before": filters.previous().start.isoformat()},
)
