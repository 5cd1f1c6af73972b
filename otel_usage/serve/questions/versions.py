"""Which versions are in use, and how fast installations upgrade."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta

from .filters import Filters
from .question import LASTING_DAYS, Column, Headline, Question, Results, Row, Scope, Table, share
from .version_order import version_key

DRAWN = 7  # versions that have a colour of their own: with "other" as many as can be told apart
UPGRADE_DAYS = 7  # in the last days of the period, what is in use


def _queries(scope: Scope) -> dict[str, str]:
    d = scope.dialect
    days = f"{scope.days(version=False)} AND {LASTING_DAYS}"
    last = d.value_at_last("version", "day")
    return {
        "weeks": f"""
            SELECT of_week, last_version, count(*) FROM (
                SELECT {d.week("day")} AS of_week, installation, {last} AS last_version
                FROM installation_days WHERE {days} GROUP BY of_week, installation) AS weeks
            GROUP BY of_week, last_version""",
        "now": f"""
            SELECT last_version, count(*) FROM (
                SELECT installation, {last} AS last_version FROM installation_days
                WHERE {days} AND day >= {d.date("lately")} GROUP BY installation) AS lately
            GROUP BY last_version""",
        # Of each version: of the installations that were there before it, how many have had it, and after how many days.
        "upgrades": f"""
            WITH firsts AS (
                SELECT installation, version, min(day) AS first_on FROM installation_days
                WHERE {scope.whole()} AND {LASTING_DAYS} AND day <= {d.date("end")} GROUP BY installation, version),
            births AS (SELECT installation, min(first_on) AS born FROM firsts GROUP BY installation),
            releases AS (SELECT version, min(first_on) AS released FROM firsts GROUP BY version)
            SELECT firsts.version, count(*), {d.quantile(d.days_between("released", "first_on"), 0.5)}
            FROM firsts JOIN births ON firsts.installation = births.installation
            JOIN releases ON firsts.version = releases.version
            WHERE born < released GROUP BY firsts.version""",
    }


def _shape(results: Results, _filters: Filters) -> Table:
    weeks: dict[str, Counter[str]] = defaultdict(Counter)
    total: Counter[str] = Counter()
    for week, version, count in results["weeks"]:
        weeks[str(week)[:10]][version] += int(count)
        total[version] += int(count)
    now = {version: int(count) for version, count in results["now"]}
    newest = max(now, key=version_key, default="")
    most = sorted(total, key=lambda version: (version != newest, -total[version], version_key(version)))
    drawn = sorted(most[:DRAWN], key=version_key)
    rows: list[Row] = []
    for week in sorted(weeks):
        seen = weeks[week].total()
        for version in drawn:
            rows.append((week, version, weeks[week][version], share(weeks[week][version], seen)))
        others = seen - sum(weeks[week][version] for version in drawn)
        if len(total) > DRAWN:
            rows.append((week, "other", others, share(others, seen)))
    upgrades = {version: (int(count), float(days)) for version, count, days in results["upgrades"]}
    count, median_days = upgrades.get(newest, (0, None))
    lately = sum(now.values())
    return Table(
        rows,
        [
            Headline("newest version", newest, "text"),
            Headline("share on the newest version", share(now.get(newest, 0), lately), "share"),
            Headline("installations on older versions", lately - now.get(newest, 0)),
            Headline("installations that upgraded to the newest", count),
            Headline("median days until they did", median_days, "days"),
        ],
    )


QUESTION = Question(
    id="versions",
    title="Which versions are in use, and how fast do installations upgrade?",
    why="How long an old version has to be supported, and whom a release reaches.",
    definition=(
        "For each week, from Monday, the installations that were seen in it, by the version that each had on the last day "
        "on which it was seen. The newest version and the six most frequent others are drawn; the rest is 'other'. The newest "
        "version is the highest number that was seen in the last seven days of the period; 'on the newest' is of those seen "
        "in these days. An upgrade is by an installation that was seen before anybody had the version; the days are from the "
        "first day on which anybody had it, so that those who have not upgraded yet are not in the median. The first and the "
        "last week may be cut by the period. The filter by version does not apply here."
    ),
    of_whom="Installations whose id lasts.",
    draw="stacked",
    x="week",
    y=("installations",),
    series="version",
    columns=(
        Column("week", "Week from", "day"),
        Column("version", "Version", "text"),
        Column("installations", "Installations"),
        Column("share", "Share of the week", "share"),
    ),
    queries=_queries,
    shape=_shape,
    rows_of=("installation_days",),
    parameters=lambda filters: {
        "lately": max(filters.start, filters.end - timedelta(UPGRADE_DAYS - 1)).isoformat(),
    },
)
