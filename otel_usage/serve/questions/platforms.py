"""Which Pythons, systems and architectures are in use, and may be dropped."""

from __future__ import annotations

from collections import Counter

from .filters import Filters
from .question import LASTING_DAYS, Column, Headline, Question, Results, Row, Scope, Table, share

WHATS = ("runtime", "system", "system version", "architecture")


def _queries(scope: Scope) -> dict[str, str]:
    d = scope.dialect
    names = ("runtime", "runtime_version", "os", "os_version", "arch")
    last = ", ".join(f"{d.value_at_last(name, 'day')} AS last_{name}" for name in names)
    columns = ", ".join(f"last_{name}" for name in names)
    return {
        "platforms": f"""
            SELECT {columns}, count(*) FROM (
                SELECT installation, {last} FROM installation_days WHERE {scope.days()} AND {LASTING_DAYS}
                GROUP BY installation) AS installations
            GROUP BY {columns}""",
    }


def _shape(results: Results, _filters: Filters) -> Table:
    counts: dict[str, Counter[str]] = {what: Counter() for what in WHATS}
    total = 0
    for *platform, count in results["platforms"]:
        total += int(count)
        for what, name in zip(WHATS, name_platforms(*platform), strict=True):
            counts[what][name] += int(count)
    rows: list[Row] = []
    for what in WHATS:
        for name, count in sorted(counts[what].items(), key=lambda pair: (-pair[1], pair[0])):
            rows.append((what, name, count, share(count, total)))
    return Table(rows, [Headline("installations", total)])


def name_platforms(runtime: str, runtime_version: str, system: str, system_version: str, arch: str) -> tuple[str, ...]:
    """Return the names of what an installation runs on, one for each of `WHATS`: versions with their first parts."""
    names = (
        f"{runtime} {_first_parts(runtime_version, 2)}",
        system,
        f"{system} {_first_parts(system_version, 1 if system == 'darwin' else 2)}",
        arch,
    )
    return tuple(name.strip() or "(not sent)" for name in names)


def _first_parts(version: str, parts: int) -> str:
    return ".".join(version.split(".")[:parts])


QUESTION = Question(
    id="platforms",
    title="Which Pythons, systems and architectures may be dropped?",
    why="What to test on, and what its users would notice if it were no longer supported.",
    definition=(
        "Each installation that was seen in the period, by what it ran on on the last day on which it was seen, so that one "
        "which moves to another Python is counted once. Versions of runtimes have two numbers, those of macOS one (that of its "
        "kernel, Darwin), those of other systems two. Those who use an old system may also be those who use an old version of "
        "the program, and those who say no: a small share is not nobody."
    ),
    of_whom="Installations whose id lasts.",
    draw="bars",
    x="name",
    y=("installations",),
    series="what",
    columns=(
        Column("what", "What", "text"),
        Column("name", "Name", "text"),
        Column("installations", "Installations"),
        Column("share", "Share of installations", "share"),
    ),
    queries=_queries,
    shape=_shape,
    rows_of=("installation_days",),
)
