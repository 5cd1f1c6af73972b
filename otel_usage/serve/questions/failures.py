"""What fails, for how many, since which release."""

from __future__ import annotations

from collections import Counter, defaultdict

from .filters import Filters
from .question import AT, Column, Headline, Question, Results, Row, Scope, Table, share
from .version_order import version_key

MAX_ROWS = 200


def _queries(scope: Scope) -> dict[str, str]:
    d = scope.dialect
    runs = f"{scope.events()} AND kind = 'run'"
    failed = "outcome = 'failure'"
    return {
        "runs": f"""
            SELECT name, version, {d.count_if("outcome IN ('success', 'failure')")}, {d.count_if(failed)},
                   {d.count_if("outcome = 'unfinished'")}, {d.count_if("outcome = 'usage_error'")},
                   {d.distinct_if("installation", f"{failed} AND NOT ephemeral")}
            FROM events WHERE {runs} GROUP BY name, version""",
        "errors": f"""
            SELECT name, version, error_type, count(*), max({d.day(AT)}) FROM events
            WHERE {runs} AND {failed} GROUP BY name, version, error_type""",
        "hit": f"""
            SELECT {d.distinct_if("installation", f"{failed} AND NOT ephemeral")} FROM events
            WHERE {runs} HAVING count(*) > 0""",
    }


def _shape(results: Results, _filters: Filters) -> Table:
    errors: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    last: dict[tuple[str, str], str] = {}
    for name, version, error_type, count, day in results["errors"]:
        errors[name, version].append((-int(count), str(error_type)))
        last[name, version] = max(last.get((name, version), ""), str(day)[:10])
    before = _find_rates_before(results)
    totals: Counter[str] = Counter()
    rows: list[Row] = []
    for name, version, ended, failed, unfinished, misused, installations in results["runs"]:
        totals.update(ended=int(ended), failed=int(failed), unfinished=int(unfinished))
        if failed or unfinished or misused:
            most = min(errors[name, version], default=(0, ""))[1]
            rate = share(int(failed), int(ended))
            place = (name, version)
            counts = (int(installations), int(failed), int(ended), rate, before.get(place))
            rows.append((*place, *counts, int(unfinished), int(misused), most, last.get(place, "")))
    rows.sort(key=lambda row: (-int(row[3] or 0), -int(row[7] or 0), -int(row[8] or 0), str(row[0]), str(row[1])))
    left_out = f"{len(rows) - MAX_ROWS} rows with fewer failures are left out." if len(rows) > MAX_ROWS else ""
    headlines = [
        Headline("failure rate", share(totals["failed"], totals["ended"]), "share"),
        Headline("failed runs", totals["failed"]),
        Headline("installations with a failure", int((results["hit"] or [(0,)])[0][0])),
        Headline("runs that ended without a word", totals["unfinished"]),
    ]
    return Table(rows[:MAX_ROWS], headlines, left_out)


def _find_rates_before(results: Results) -> dict[tuple[str, str], float | None]:
    """Return {(command, version): the failure rate of that command in the next lower version with runs}."""
    rates: dict[str, dict[str, float | None]] = defaultdict(dict)
    for name, version, ended, failed, *_ in results["runs"]:
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
