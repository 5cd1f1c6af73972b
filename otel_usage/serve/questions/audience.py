"""People, CI, agents, services: which share is whose."""

from __future__ import annotations

from .filters import AUDIENCES, Filters
from .question import AUDIENCE, EXPIRED, LASTING, Column, Headline, Question, Results, Row, Scope, Table, share

_ID = (
    "CASE WHEN installation IS NULL THEN 'no id' WHEN ephemeral THEN 'an id that does not last (a container)' "
    "ELSE 'an id that lasts' END"
)


def _queries(scope: Scope) -> dict[str, str]:
    d = scope.dialect
    return {
        # One row per installation and what it said first, so that texts are made and compared for these, and not for each event.
        "audiences": f"""
            WITH uses AS (
                SELECT ci, ci_system, agent, surface, installation, ephemeral, count(*) AS records,
                       {d.count_if("kind = 'run'")} AS runs_of, {d.count_if("kind = 'run' AND outcome = 'failure'")} AS failed,
                       {d.count_if("kind = 'run' AND outcome IN ('success', 'failure')")} AS ended
                FROM events WHERE {scope.events()} GROUP BY ci, ci_system, agent, surface, installation, ephemeral)
            SELECT {AUDIENCE} AS who,
                   CASE WHEN ci THEN ci_system WHEN agent <> '' THEN agent ELSE {_ID} END AS which,
                   {d.distinct_if("installation", LASTING)}, sum(runs_of), sum(records), sum(failed), sum(ended)
            FROM uses GROUP BY who, which""",
        "days": f"""
            SELECT {AUDIENCE.replace("agent <> ''", "agent")} AS who, sum(runs),
                   sum(CASE WHEN outcome = 'failure' THEN runs ELSE 0 END),
                   sum(CASE WHEN outcome IN ('success', 'failure') THEN runs ELSE 0 END)
            FROM run_days WHERE {scope.runs_of_days()} GROUP BY who""",
    }


def _shape(results: Results, _filters: Filters) -> Table:
    order = list(AUDIENCES)
    groups = results["audiences"]
    rolled_up = bool(results["days"] and not groups)
    if rolled_up:
        groups = [(who, "", None, runs, None, failed, ended) for who, runs, failed, ended in results["days"]]
    total = sum(int(row[3]) for row in groups)
    rows: list[Row] = []
    runs_of = dict.fromkeys(order[:-1], 0)
    for who, which, installations, runs, events, failed, ended in groups:
        runs_of[who] += int(runs)
        rate = share(int(failed), int(ended))
        counts = (int(runs), share(int(runs), total), rate)
        rows.append((who, which or "(not known)", installations, *counts, events))
    rows.sort(key=lambda row: (order.index(str(row[0])), -int(row[3] or 0), str(row[1])))
    headlines = [Headline(f"{who}: share of runs", share(runs, total), "share") for who, runs in runs_of.items()]
    missing = f"{EXPIRED} Which system or agent it was, installations and records are not known any more."
    return Table(rows, headlines, missing if rolled_up else "", rolled_up)


QUESTION = Question(
    id="audience",
    title="People, CI, agents, services, containers: whose is which share?",
    why="A number of runs says little as long as nobody knows whose they are; a thousand jobs may be one project.",
    definition=(
        "Each run belongs to one audience, the first that fits: CI, a coding agent, a service, people. For CI and agents the "
        "rows name which; for the others, whether the id lasts: one in a container that is thrown away does not, and is "
        "counted among runs but never as an installation. CI has no installations. Agents are those that say so in their "
        "environment; one that does not is counted as people. Records are all that arrived: runs, actions, errors, "
        "heartbeats. This question compares the audiences, and the filter by audience does not apply."
    ),
    of_whom="Everything that was received in the period.",
    draw="bars",
    x="which",
    y=("runs",),
    series="who",
    columns=(
        Column("who", "Who", "text"),
        Column("which", "Which", "text"),
        Column("installations", "Installations"),
        Column("runs", "Runs"),
        Column("share", "Share of runs", "share"),
        Column("failure_rate", "Failure rate", "share"),
        Column("records", "Records"),
    ),
    queries=_queries,
    shape=_shape,
    rows_of=("events",),
    every_audience=True,
)
