"""Which commands, options and actions are used, by how many."""

from __future__ import annotations

from .filters import Filters
from .question import AT, EXPIRED, Column, Headline, Question, Results, Row, Scope, Table, share

EVERYTHING = "all"  # in place of a kind: the row of all commands and actions together


def _queries(scope: Scope) -> dict[str, str]:
    d = scope.dialect
    lasting = "CASE WHEN NOT ephemeral THEN installation END AS lasting"
    options = d.unnested("events", "options", "option_name")
    # One row per name and installation first: rows are installations then, and to count different ones would take longer. All
    # whose id does not last are one row, without an id, and not counted.
    counted = f"count(lasting), sum(times), max({d.day('last_at')})"
    return {
        "names": f"""
            WITH uses AS (
                SELECT kind, name, {lasting}, count(*) AS times, max({AT}) AS last_at FROM events
                WHERE {scope.events()} AND kind IN ('run', 'action') GROUP BY kind, name, lasting)
            SELECT kind, name, {counted} FROM uses GROUP BY kind, name
            UNION ALL
            SELECT '{EVERYTHING}', '', {d.distinct("lasting")}, sum(CASE WHEN kind = 'run' THEN times ELSE 0 END),
                   max({d.day("last_at")})
            FROM uses HAVING count(*) > 0""",
        "options": f"""
            SELECT name, option_name, {counted} FROM (
                SELECT name, option_name, {lasting}, count(*) AS times, max({AT}) AS last_at FROM {options}
                WHERE {scope.events()} AND kind = 'run' GROUP BY name, option_name, lasting) AS uses
            GROUP BY name, option_name""",
        "days": f"SELECT name, sum(runs), max(day) FROM run_days WHERE {scope.runs_of_days()} GROUP BY name",
    }


def _shape(results: Results, _filters: Filters) -> Table:
    if results["days"] and not results["names"]:
        return _shape_days(results)
    total = next((row for row in results["names"] if row[0] == EVERYTHING), ("", "", 0, 0))
    installations, runs = int(total[2]), int(total[3])
    what = {"run": "command", "action": "action"}
    rows = [
        (what[kind], name, users, share(users, installations), times, day)
        for kind, name, users, times, day in results["names"]
        if kind != EVERYTHING
    ]
    rows += [
        ("option", f"{name} {option}", users, share(users, installations), times, day)
        for name, option, users, times, day in results["options"]
    ]
    rows.sort(key=lambda row: (("command", "option", "action").index(row[0]), -row[2], -row[4], row[1]))
    return Table(rows, [Headline("installations", installations), Headline("runs", runs)])


def _shape_days(results: Results) -> Table:
    """Return what is left once the events have expired."""
    rows: list[Row] = [("command", name, None, None, int(runs), day) for name, runs, day in results["days"]]
    rows.sort(key=lambda row: (-int(row[4] or 0), str(row[1])))
    runs = sum(int(row[1]) for row in results["days"])
    missing = f"{EXPIRED} How many installations used what, and options and actions, are not known any more."
    return Table(rows, [Headline("installations", None), Headline("runs", runs)], missing, rolled_up=True)


QUESTION = Question(
    id="commands",
    title="Which commands, options and actions are used by how many?",
    why="What deserves work, and what nobody would miss. By how many use it, since one script can run a command a million times.",
    definition=(
        "For each command, option of a command, and declared action: the installations that used it at least once in the "
        "period, their share of all installations that ran anything, how often it was used, and the last day. "
        "An option counts when it was given, not with its default; its value is never recorded. Times include runs "
        "without an installation id and with one that does not last; installations do not. What is not in the list was not "
        "used: compare with the program's own list of commands."
    ),
    of_whom="Installations whose id lasts, that ran at least one command in the period.",
    draw="bars",
    x="name",
    y=("installations",),
    series="what",
    columns=(
        Column("what", "What", "text"),
        Column("name", "Name", "text"),
        Column("installations", "Installations"),
        Column("share", "Share of installations", "share"),
        Column("times", "Times"),
        Column("last_day", "Last used", "day"),
    ),
    queries=_queries,
    shape=_shape,
    rows_of=("events",),
)
