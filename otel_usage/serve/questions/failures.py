"""What fails, for how many, since which release."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from .filters import Filters
from .question import AT, EXPIRED, Column, Headline, Question, Results, Row, Scope, Table, share
from .version_order import version_key

MAX_ROWS = 200


def _queries(scope: Scope) -> dict[str, str]:
    d = scope.dialect
    runs = f"{scope.events()} AND kind = 'run'"
    failed = "outcome = 'failure'"
    outcomes = ("outcome IN ('success', 'failure')", failed, "outcome = 'unfinished'", "outcome = 'usage_error'")
    return {
        "runs": f"""
            SELECT name, version, {", ".join(map(d.count_if, outcomes))},
                   {d.distinct_if("installation", f"{failed} AND NOT ephemeral")}
            FROM events WHERE {runs} GROUP BY name, version""",
        "errors": f"""
            SELECT name, version, error_type, count(*), max({d.day(AT)}) FROM events
            WHERE {runs} AND {failed} GROUP BY name, version, error_type""",
        "hit": f"""
            SELECT {d.distinct_if("installation", f"{failed} AND NOT ephemeral")} FROM events
            WHERE {runs} HAVING count(*) > 0""",
        "days": f"""
            SELECT name, version, {", ".join(f"sum(CASE WHEN {which} THEN runs ELSE 0 END)" for which in outcomes)},
                   max(CASE WHEN {failed} THEN day END)
            FROM run_days WHERE {scope.runs_of_days()} GROUP BY name, version""",
    }


def _shape(results: Results, _filters: Filters) -> Table:
    errors: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    last: dict[tuple[str, str], str] = {}
    for name, version, error_type, count, day in results["errors"]:
        errors[name, version].append((-int(count), str(error_type)))
        last[name, version] = max(last.get((name, version), ""), str(day)[:10])
    groups = results["runs"]
    rolled_up = bool(results["days"] and not groups)
    if rolled_up:
        groups = [(*row[:-1], None) for row in results["days"]]
        last = {(row[0], row[1]): str(row[-1])[:10] for row in results["days"] if row[-1]}
    before = _find_rates_before(groups)
    totals: Counter[str] = Counter()
    rows: list[Row] = []
    for name, version, ended, failed, unfinished, misused, installations in groups:
        totals.update(ended=int(ended), failed=int(failed), unfinished=int(unfinished))
        if failed or unfinished or misused:
            most = min(errors[name, version], default=(0, ""))[1]
            rate = share(int(failed), int(ended))
            place = (name, version)
            counts = (installations, int(failed), int(ended), rate, before.get(place))
            rows.append((*place, *counts, int(unfinished), int(misused), most, last.get(place, "")))
    rows.sort(key=lambda row: (-int(row[3] or 0), -int(row[7] or 0), -int(row[8] or 0), str(row[0]), str(row[1])))
    left_out = f"{len(rows) - MAX_ROWS} rows with fewer failures are left out." if len(rows) > MAX_ROWS else ""
    headlines = [
        Headline("failure rate", share(totals["failed"], totals["ended"]), "share"),
        Headline("failed runs", totals["failed"]),
        Headline("installations with a failure", None if rolled_up else int((results["hit"] or [(0,)])[0][0])),
        Headline("runs that ended without a word", totals["unfinished"]),
    ]
    expired = f"{EXPIRED} Which errors it were, and how many installations met one, is not known any more."
    missing = " ".join(filter(None, (left_out, expired if rolled_up else "")))
    return Table(rows[:MAX_ROWS], headlines, missing, rolled_up)


def _find_rates_before(groups: Sequence[Sequence[Any]]) -> dict[tuple[str, str], float | None]:
    """Return {(command, version): the failure rate of that command in the next lower version with runs}. Any: a driver's."""
    rates: dict[str, dict[str, float | None]] = defaultdict(dict)
    for name, version, ended, failed, *_ in groups:
        rates[name][version] = share(int(failed), int(ended))
    before: dict[tuple[str, str], float | None] = {}
    for name, by_version in rates.items():
        rate = None
        for version in sorted(by_version, key=version_key):
            before[name, version] = rate
            rate = rate if by_version[version] is None else by_version[version]
    return before


QUESTION = Question(
    id="failures",
    title="What fails, for how many, since which release?",
    why="What to mend first: what many meet, and what a release has broken.",
    definition=(
        "For each command and version: runs that failed (exit code not 0, or an exception) among those that ended by success "
        "or failure, so that a version that is used more does not seem worse; the installations that met a failure; the rate "
        "of the same command in the version before, of those with runs in the period; and the most frequent error. Help, runs "
        "that were interrupted, and those whose end is not known are in neither number. Unfinished: the process ended without "
        "a word, killed or crashed. Wrong usage: the arguments were refused. An error is the name of an exception class of the "
        "standard library or of the program itself, and '_OTHER' for all others; messages are never recorded."
    ),
    of_whom="Runs of commands; installations whose id lasts.",
    draw="bars",
    x="name",
    y=("rate",),
    series="version",
    columns=(
        Column("name", "Command", "text"),
        Column("version", "Version", "text"),
        Column("installations", "Installations"),
        Column("failures", "Failed runs"),
        Column("runs", "Runs"),
        Column("rate", "Failure rate", "share"),
        Column("rate_before", "Rate in the version before", "share"),
        Column("unfinished", "Unfinished"),
        Column("usage_errors", "Wrong usage"),
        Column("error", "Most frequent error", "text"),
        Column("last_day", "Last failure", "text"),
    ),
    queries=_queries,
    shape=_shape,
    rows_of=("events",),
)
