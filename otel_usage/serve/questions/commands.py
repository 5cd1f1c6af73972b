"""Which commands, options and actions are used, by how many."""

from __future__ import annotations

from .filters import Filters
from .question import AT, LASTING, Column, Headline, Question, Results, Scope, Table, share


def _queries(scope: Scope) -> dict[str, str]:
    d = scope.dialect
    counted = f"{d.distinct_if('installation', 'NOT ephemeral')}, count(*), max({d.day(AT)})"
    options = d.unnested("events", "options", "option_name")
    return {
        "names": f"""
            SELECT kind, name, {counted} FROM events
            WHERE {scope.events()} AND kind IN ('run', 'action') GROUP BY kind, name""",
        "options": f"""
            SELECT name, option_name, {counted} FROM {options}
            WHERE {scope.events()} AND kind = 'run' GROUP BY name, option_name""",
        "all": f"""
            SELECT {d.distinct_if("installation", LASTING)}, {d.count_if("kind = 'run'")} FROM events
            WHERE {scope.events()} AND kind IN ('run', 'action') HAVING count(*) > 0""",
    }


def _shape(results: Results, _filters: Filters) -> Table:
    installations, runs = (int(n) for n in (results["all"] or [(0, 0)])[0])
    what = {"run": "command", "action": "action"}
    rows = [
        (what[kind], name, users, share(users, installations), times, day)
        for kind, name, users, times, day in results["names"]
    ]
    rows += [
        ("option", f"{name} {option}", users, share(users, installations), times, day)
        for name, option, users, times, day in results["options"]
    ]
    rows.sort(key=lambda row: (("command", "option", "action").index(row[0]), -row[2], -row[4], row[1]))
    return Table(rows, [Headline("installations", installations), Headline("runs", runs)])


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
