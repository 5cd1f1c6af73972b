"""How much it is used: runs and installations, day by day."""

from __future__ import annotations

from .filters import Filters
from .question import LASTING_DAYS, Column, Headline, Question, Results, Scope, Table, fill_days


def _queries(scope: Scope) -> dict[str, str]:
    d = scope.dialect
    installations = d.distinct("installation")
    return {
        "runs": f"SELECT day AS of_day, sum(runs) FROM run_days WHERE {scope.runs_of_days()} GROUP BY of_day",
        "installations": f"""
            SELECT day AS of_day, {installations} FROM installation_days
            WHERE {scope.days()} AND {LASTING_DAYS} GROUP BY of_day""",
        "period": f"SELECT {installations} FROM installation_days WHERE {scope.days()} AND {LASTING_DAYS}",
    }


def _shape(results: Results, filters: Filters) -> Table:
    runs = {str(day)[:10]: int(n) for day, n in results["runs"]}
    installations = {str(day)[:10]: int(n) for day, n in results["installations"]}
    by_day = {day: (day, runs.get(day, 0), installations.get(day, 0)) for day in {*runs, *installations}}
    seen = int((results["period"] or [(0,)])[0][0])
    headlines = [Headline("runs", sum(runs.values())), Headline("installations", seen)]
    return Table(fill_days(filters, by_day, 2) if by_day else [], headlines)


QUESTION = Question(
    id="runs",
    title="How much is it used?",
    why="Whether use grows or falls, and on which day that began.",
    definition=(
        "Runs: commands that were begun on a day, whatever became of them; those of installations without an id too. "
        "Installations: those whose id lasts that did anything on that day, whether a run or a heartbeat. "
        "The installations of days do not add up to those of the period: most come back."
    ),
    of_whom="Runs, and installations whose id lasts.",
    draw="line",
    x="day",
    y=("runs", "installations"),
    columns=(Column("day", "Day", "day"), Column("runs", "Runs"), Column("installations", "Installations")),
    queries=_queries,
    shape=_shape,
    rows_of=("run_days", "installation_days"),
)
