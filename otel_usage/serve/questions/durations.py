"""How long commands take for those who use them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from .filters import Filters
from .question import Column, Headline, Question, Results, Row, Scope, Table
from .version_order import version_key

SHARES = (0.5, 0.9, 0.99)
ENDED = "outcome IN ('success', 'failure')"
ROUNDED_UP = (
    "The single events of this period have expired: durations come from counts per power of two, and are rounded up to the "
    "next."
)


def _queries(scope: Scope) -> dict[str, str]:
    d = scope.dialect
    runs = f"FROM events WHERE {scope.events()} AND kind = 'run' AND {ENDED}"
    quantiles = d.quantiles("duration_us", SHARES)
    return {
        "versions": f"SELECT name, version, count(*), {quantiles} {runs} GROUP BY name, version",
        "all": f"SELECT count(*), {quantiles} {runs} HAVING count(*) > 0",
        "buckets": f"""
            SELECT name, version, bucket, sum(runs) FROM run_days WHERE {scope.runs_of_days()} AND {ENDED}
            GROUP BY name, version, bucket""",
    }


def _shape(results: Results, _filters: Filters) -> Table:
    rows = results["versions"]
    total: Sequence[Any] | None = next(iter(results["all"]), None)
    rolled_up = bool(not rows and results["buckets"])
    if rolled_up:
        rows, total = _read_buckets(results["buckets"])
    shaped: list[Row] = [(name, version, int(runs), *map(_to_seconds, times)) for name, version, runs, times in rows]
    shaped.sort(key=lambda row: version_key(str(row[1])), reverse=True)
    shaped.sort(key=lambda row: str(row[0]))
    times = [_to_seconds(us) for us in total[1]] if total else [None] * len(SHARES)
    headlines = [Headline(f"p{part * 100:g}", time, "seconds") for part, time in zip(SHARES, times, strict=True)]
    return Table(
        shaped,
        [*headlines, Headline("runs", int(total[0]) if total else 0)],
        ROUNDED_UP if rolled_up else "",
        rolled_up,
    )


def _to_seconds(duration_us: float | None) -> float | None:
    return None if duration_us is None else float(duration_us) / 1e6


def _read_buckets(rows: Sequence[Sequence[Any]]) -> tuple[list[Sequence[Any]], Sequence[Any]]:
    """Return, from rows of name, version, bucket and runs, what the other queries would have, rounded up. Any: a driver's."""
    groups: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    everything: Counter[int] = Counter()
    for name, version, bucket, runs in rows:
        groups[name, version][int(bucket)] += int(runs)
        everything[int(bucket)] += int(runs)
    return [(*place, buckets.total(), _quantiles(buckets)) for place, buckets in groups.items()], (
        everything.total(),
        _quantiles(everything),
    )


def _quantiles(buckets: Counter[int]) -> list[float]:
    """Return for each share the upper end, in microseconds, of the bucket in which it lies."""
    ends = []
    for part in SHARES:
        rank, seen = part * (buckets.total() - 1), 0
        for bucket in sorted(buckets):
            seen += buckets[bucket]
            if seen > rank:
                ends.append(float(2 ** (bucket + 1)))
                break
    return ends


QUESTION = Question(
    id="durations",
    title="How slow is it for users?",
    why="What a benchmark on a maintainer's machine does not show; and whether a release made it slower.",
    definition=(
        "The time from a run's begin to its end, of runs that ended by success or failure: half of them took at most p50, nine "
        "of ten p90, 99 of a hundred p99. Exact while the single events are stored, taken between two values where it "
        "falls between them. It includes the time for which a program waited for its user. By runs, not by installations: one "
        "that runs often weighs more. A p99 of fewer than a hundred runs is close to the slowest."
    ),
    of_whom="Runs of commands.",
    draw="table",
    x="version",
    y=("p50", "p90", "p99"),
    series="name",
    columns=(
        Column("name", "Command", "text"),
        Column("version", "Version", "text"),
        Column("runs", "Runs"),
        Column("p50", "p50", "seconds"),
        Column("p90", "p90", "seconds"),
        Column("p99", "p99", "seconds"),
    ),
    queries=_queries,
    shape=_shape,
    rows_of=("events",),
)
