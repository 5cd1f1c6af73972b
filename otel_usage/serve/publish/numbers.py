"""Count a whole month, and blur the counts so that no installation can be told from them.

RULES
1. People alone, with ids that last; whole months in UTC, and nothing shorter; no filters, so that no two can be subtracted.
2. A month is counted seven days after its end, of what was received until then. What comes later changes nothing, so that
   pages of two days say the same of a month, wherever they are written.
3. A group of fewer than ten installations is not shown. Where each installation is in one group (versions, systems), small
   ones are merged into "other"; if "other" has fewer than ten, it is not shown either.
4. Counts are rounded to tens, and above a thousand to three figures; shares are of rounded counts, in whole per cent. So no
   two numbers differ by less than ten, whichever are subtracted, and what is left over is within the rounding. (To merge the
   next group too, until "other" has ten, would tell more: the name of a large group would go when one installation comes.)
5. Numbers of installations alone: how often something was used could be one installation's doing.
WHAT IS LEFT  Who sends events of ten invented installations can lift a group over the limit, and then knows that it has them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from ..questions import DUCKDB, Dialect, Execute, Filters
from ..questions.platforms import WHATS, name_platforms
from ..questions.question import AT, LASTING, Scope
from ..questions.version_order import version_key

SMALLEST = 10  # installations of a group that is shown
WAIT_DAYS = 7
OTHER = "other"
MOST_GROUPS = 20  # of a table; the rest is merged
# {table: (title, what its numbers are)}, in the order of the pages.
TABLES = {
    "active": (
        "How many installations are active?",
        "Installations that were seen in the month, and those of them that were seen on at least two days of it.",
    ),
    "versions": (
        "Which versions are in use?",
        "Each installation by the version that it had when it was last seen in the month.",
    ),
    "commands": (
        "Which commands are used by how many?",
        "Installations that used a command at least once in the month. One that uses several stands in several rows.",
    ),
    "platforms": (
        "What does it run on?",
        "Each installation by what it ran on when it was last seen in the month.",
    ),
}


@dataclass(frozen=True)
class Group:
    """A row of a published table: what, its name, about how many installations, and their share in per cent of all."""

    what: str
    name: str
    installations: int
    percent: int


def months_until(today: date, first: date, last: int = 13) -> list[date]:
    """Return the first days of the months that may be published *today*: over for a week, the latest *last*, from *first* on.

    >>> months_until(date(2026, 11, 7), date(2026, 9, 20))
    [datetime.date(2026, 9, 1)]
    """
    months: list[date] = []
    month = (today - timedelta(WAIT_DAYS)).replace(day=1)
    while len(months) < last and month > first.replace(day=1):
        month = (month - timedelta(1)).replace(day=1)
        months.append(month)
    return months[::-1]


def count_month(
    execute: Execute, app: str, month: date, tables: Iterable[str] = tuple(TABLES), dialect: Dialect = DUCKDB
) -> dict[str, list[Group]]:
    """Return {table: its groups} of a month, blurred; a table of which nothing can be shown has none."""
    following = (month + timedelta(31)).replace(day=1)
    filters = Filters(app, month, following - timedelta(1))
    values = {
        "app": app,
        "version": "",
        "since": f"{filters.start} 00:00:00",
        "until": f"{following} 00:00:00",
        "received": f"{following + timedelta(WAIT_DAYS)} 00:00:00",
    }
    d = dialect
    where = f"{Scope(d).events(version=False)} AND {LASTING} AND received < {d.time('received')}"
    columns = ("version", "runtime", "runtime_version", "os", "os_version", "arch")
    last = ", ".join(f"{d.value_at_last(name, AT)} AS last_{name}" for name in columns)
    grouped = ", ".join(f"last_{name}" for name in columns)
    installations = f"""
        SELECT {grouped}, seen_days >= 2, count(*) FROM (
            SELECT installation, {d.distinct(d.day(AT))} AS seen_days, {last} FROM events WHERE {where}
            GROUP BY installation) AS installations
        GROUP BY {grouped}, seen_days >= 2"""
    commands = f"""
        SELECT name, {d.distinct("installation")} FROM events WHERE {where} AND kind = 'run' GROUP BY name"""
    rows = execute(installations, d.bind(installations, values))
    total = sum(int(row[-1]) for row in rows)
    versions: Counter[str] = Counter()
    platforms: dict[str, Counter[str]] = {what: Counter() for what in WHATS}
    active = 0
    for version, *platform, often, n in rows:
        versions[version or "(not sent)"] += int(n)
        active += int(n) if often else 0
        for what, name in zip(WHATS, name_platforms(*platform), strict=True):
            platforms[what][name] += int(n)
    count: dict[str, Callable[[], list[Group]]] = {
        "active": lambda: _overlapping("", {"seen": total, "active (seen on two days or more)": active}, total),
        "versions": lambda: sorted(
            _disjoint("", versions, total),
            key=lambda group: (group.name != OTHER, version_key(group.name)),
            reverse=True,
        ),
        "commands": lambda: _overlapping(
            "", {name: int(n) for name, n in execute(commands, d.bind(commands, values))}, total
        ),
        "platforms": lambda: [group for what in WHATS for group in _disjoint(what, platforms[what], total)],
    }
    return {table: count[table]() if total >= SMALLEST else [] for table in tables}


def blur(count: int) -> int:
    """Return a count as it is published: rounded to tens, above a thousand to three figures.

    >>> blur(14), blur(999), blur(12345)
    (10, 1000, 12300)
    """
    grain = int(max(10, 10 ** (len(str(count)) - 3)))
    return round(count / grain) * grain


def merge_small(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the groups that have ten installations, and "other" for the rest if that has ten."""
    large = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = {name: n for name, n in large[:MOST_GROUPS] if n >= SMALLEST and name != OTHER}
    other = sum(counts.values()) - sum(shown.values())
    return {**shown, OTHER: other} if other >= SMALLEST else shown


def _disjoint(what: str, counts: Mapping[str, int], total: int) -> list[Group]:
    return [Group(what, name, blur(n), _percent(n, total)) for name, n in merge_small(counts).items()]


def _overlapping(what: str, counts: Mapping[str, int], total: int) -> list[Group]:
    large = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_GROUPS]
    return [Group(what, name, blur(n), _percent(n, total)) for name, n in large if n >= SMALLEST]


def _percent(count: int, total: int) -> int:
    return min(100, round(100 * blur(count) / blur(total)))


def find_first_month(execute: Execute, app: str, dialect: Dialect = DUCKDB) -> date | None:
    """Return a day of the first month whose events are stored, None if there are none.

    Where events have expired, which the rows per day outlive, the month in which they begin is not whole any more.
    """
    values = {"app": app}
    events = f"SELECT min({AT}) FROM events WHERE app = {dialect.text('app')} HAVING count(*) > 0"
    days = f"SELECT min(day) FROM installation_days WHERE app = {dialect.text('app')} HAVING count(*) > 0"
    first, oldest = (
        [date.fromisoformat(str(row[0])[:10]) for row in execute(sql, dialect.bind(sql, values))]
        for sql in (events, days)
    )
    if not first:
        return None
    return (first[0].replace(day=1) + timedelta(32)).replace(day=1) if oldest and oldest[0] < first[0] else first[0]
