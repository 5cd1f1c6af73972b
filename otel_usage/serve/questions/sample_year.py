"""A generated year of a program that does not exist: for demonstrations, tests and measurements.

The same arguments give the same rows. What the year holds, so that each question has something to show: versions with staged
upgrades and some that stay behind; a release after which ``upload`` fails; a slow command that became faster; newcomers who
leave, and some who stay; weekends; CI without ids, coding agents, a service with daily heartbeats, containers with ids
that do not last; clocks that are ahead, and events that arrive late.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone

# The columns of ``events``, in the order of the rows.
COLUMNS = (
    "app", "at", "kind", "name", "installation", "ephemeral", "version", "outcome", "exit_code", "error_type", "duration_us",
    "options", "ci", "ci_system", "agent", "surface", "os", "os_version", "arch", "runtime", "runtime_version", "first_week",
    "cluster", "tty", "fields", "event", "received",
)  # fmt: skip
# What the program declares.
SCHEMA = {
    "report.upload": {
        "why": "Is uploading worth keeping, and in which formats?",
        "fields": {"format": ["pdf", "html", "csv"], "retried": bool},
    },
    "cache.cleared": {"why": "Do people have to help the cache?"},
    "config.invalid": {
        "kind": "error",
        "why": "Which settings confuse people?",
        "fields": {"setting": ["colour", "timeout", "proxy"]},
    },
    "heartbeat": {
        "kind": "heartbeat",
        "why": "Which set-ups do services run in?",
        "fields": {"storage": ["memory", "disk"], "workers": ("bucket", "worker", 1, 4, 16)},
    },
    "events.handled": {
        "kind": "count",
        "why": "What load does each channel carry?",
        "fields": {"channel": ["slack", "discord"]},
    },
}
RELEASE_DAYS = 32
VERSIONS = [f"{major}.{minor}.0" for major in (1, 2, 3) for minor in range(40)]
FAILING_RELEASE, FAST_RELEASE = 6, 8  # the number of the release in which ``upload`` breaks, and ``scan`` gets faster
# {command: (weight, median seconds, share that fails, its options)}
COMMANDS = {
    "(root)": (4, 0.05, 0.02, ["--verbose"]),
    "create": (30, 0.8, 0.03, ["--template", "--force", "--quiet"]),
    "scan": (25, 6.0, 0.04, ["--deep", "--exclude", "--jobs"]),
    "report build": (14, 2.5, 0.05, ["--format", "--open"]),
    "report upload": (8, 1.8, 0.06, ["--format", "--retry"]),
    "config set": (7, 0.06, 0.10, ["--global"]),
    "list": (9, 0.1, 0.01, ["--json", "--all"]),
    "login": (2, 3.0, 0.15, ["--token-stdin"]),
    "legacy import": (0.1, 9.0, 0.30, ["--old-format"]),
}
NAMES, WEIGHTS = list(COMMANDS), [row[0] for row in COMMANDS.values()]
ERROR_TYPES = ["ConnectionError", "ValueError", "mycli.errors.ConfigError", "PermissionError", "_OTHER"]
SYSTEMS = [
    ("linux", "6.1.0-28-amd64", "amd64", 50),
    ("linux", "6.8.0-50-generic", "amd64", 20),
    ("darwin", "24.1.0", "arm64", 22),
    ("windows", "10.0.22631", "amd64", 7),
    ("darwin", "21.6.0", "amd64", 1),
]
PYTHONS = [("3.9.18", 4), ("3.10.14", 10), ("3.11.7", 25), ("3.12.4", 36), ("3.13.1", 20), ("3.14.0", 5)]
AGENTS = ["claude-code", "codex", "cursor", "other"]
CI_SYSTEMS = ["github", "gitlab", "jenkins", "other"]


@dataclass
class _Installation:
    """One of the people's, agents' or services' installations, and what stays the same of it."""

    id: str
    born: int
    last: int
    habit: float  # the chance that it is seen on a day
    lag: float  # days until it has a new release; infinite if it never upgrades
    system: tuple[str, str, str, int]
    python: str
    agent: str
    surface: str
    ephemeral: bool


def rows(app: str, installations: int, days: int, seed: int, end: date | None = None) -> Iterator[tuple[object, ...]]:
    """Yield the rows of ``events`` of *days* days, by day, in the order of `COLUMNS`.

    installations: how many there are in all, over the whole time; in a year each has about 45 rows.
    end: the last day, by default today (UTC); no event is later, but for one in 20,000 whose clock is ahead.
    Values: `datetime` without a zone, in UTC; ids as text; ``options`` a list, ``fields`` a dict of text.
    """
    chance = random.Random(seed)  # noqa: S311 - this is no secret, and must be the same again
    waiting = sorted((_be_born(chance, days) for _ in range(installations)), key=lambda one: -one.born)
    alive: list[_Installation] = []
    event = chance.getrandbits(62)
    for n, midnight in _each_day(days, end):
        busy = 0.45 if midnight.weekday() >= 5 else 1.0
        alive = [one for one in alive if one.last >= n]
        while waiting and waiting[-1].born <= n:
            alive.append(waiting.pop())
        for one in alive:
            usual = 1.0 if one.surface == "service" or one.born == n else busy
            if chance.random() < one.habit * usual or one.born == n:
                for row in _live(chance, app, one, n, midnight):
                    event += 1
                    yield (*row, event, _receive(chance, row[1]))
        for _ in range(_about(chance, len(alive) * 0.06 * busy)):
            event += 1
            row = _run_in_ci(chance, app, n, midnight)
            yield (*row, event, _receive(chance, row[1]))


def _be_born(chance: random.Random, days: int) -> _Installation:
    born = min(int(days * (chance.random() ** 0.8)) - (days // 4 if chance.random() < 0.3 else 0), days - 1)
    stays = chance.random()
    ephemeral = chance.random() < 0.04
    # Half leave within days, and the others later or never: what cohorts look like.
    life = 0.0 if ephemeral else chance.expovariate(1 / 4) if stays < 0.5 else chance.expovariate(1 / 300)
    service = not ephemeral and chance.random() < 0.03
    return _Installation(
        id=_uuid(chance),
        born=max(born, 0),
        last=max(born, 0) + int(life),
        habit=1.0 if service else min(0.9, chance.paretovariate(1.2) * 0.09),
        lag=math.inf if chance.random() < 0.08 else chance.expovariate(1 / 14),
        system=chance.choices(SYSTEMS, [row[3] for row in SYSTEMS])[0],
        python=chance.choices([row[0] for row in PYTHONS], [row[1] for row in PYTHONS])[0],
        agent=chance.choice(AGENTS) if chance.random() < 0.08 else "",
        surface="service" if service else "cli",
        ephemeral=ephemeral,
    )


def _live(
    chance: random.Random, app: str, one: _Installation, n: int, midnight: datetime
) -> Iterator[tuple[object, ...]]:
    """Yield what an installation does on a day, without its event's id and the time of its arrival."""
    release = max(int((n - one.lag) // RELEASE_DAYS) if one.lag < math.inf else 0, one.born // RELEASE_DAYS, 0)
    if one.lag == math.inf:
        release = one.born // RELEASE_DAYS
    version = VERSIONS[release]
    week = (midnight - timedelta(n - one.born)).strftime("%G-W%V")
    who = (False, "", one.agent, one.surface, *one.system[:3], "CPython", one.python, week, "", chance.random() < 0.7)
    at = midnight + timedelta(seconds=chance.triangular(0, 86_000, 52_000))
    if one.surface == "service":
        fields = {"storage": chance.choice(["memory", "disk"]), "workers": chance.choice(["<1", "1-4", "4-16"])}
        yield (app, at, "heartbeat", "heartbeat", one.id, False, version, "", None, "", 0, [], *who, fields)
        return
    if one.born == n:
        yield (app, at, "first_run", "first_run", one.id, one.ephemeral, version, "", None, "", 0, [], *who, {})
    for _ in range(1 + _about(chance, 1.6)):
        at += timedelta(seconds=chance.expovariate(1 / 200))
        if chance.random() < 0.00005:
            at += timedelta(days=3)  # a clock that is ahead
        yield from _run(chance, app, at, one.id, one.ephemeral, release, who)


def _run(
    chance: random.Random,
    app: str,
    at: datetime,
    installation: str | None,
    ephemeral: bool,
    release: int,
    who: tuple[object, ...],
) -> Iterator[tuple[object, ...]]:
    """Yield a run, and what it did."""
    name = chance.choices(NAMES, WEIGHTS)[0]
    _, seconds, failing, options = COMMANDS[name]
    if name == "report upload" and release == FAILING_RELEASE:
        failing *= 5
    if name == "scan" and release >= FAST_RELEASE:
        seconds /= 3
    outcome, error = "success", ""
    exit_code: int | None = 0
    if (luck := chance.random()) < failing:
        outcome, exit_code, error = "failure", 1, chance.choice(ERROR_TYPES)
    elif luck > 0.99:
        outcome, exit_code = "usage_error", 2
    elif luck > 0.97:
        outcome = "help"
    elif luck > 0.965:
        outcome, exit_code, error = "interrupted", 130, "KeyboardInterrupt"
    elif luck > 0.963:
        outcome, exit_code = "unfinished", None
    chosen = [option for option in options if chance.random() < 0.25]
    duration_us = int(chance.lognormvariate(math.log(seconds), 0.7) * 1e6)
    version, same = VERSIONS[release], (app, at)
    yield (
        *same,
        "run",
        name,
        installation,
        ephemeral,
        version,
        outcome,
        exit_code,
        error,
        duration_us,
        chosen,
        *who,
        {},
    )
    rest = (installation, ephemeral, version, "", None, "", 0, [], *who)
    if name == "report upload" and outcome == "success":
        upload = {
            "format": chance.choices(["pdf", "html", "csv"], [6, 3, 1])[0],
            "retried": chance.choice(["true", "false"]),
        }
        yield (*same, "action", "report.upload", *rest, upload)
    if name == "config set" and outcome == "failure":
        yield (*same, "error", "config.invalid", *rest, {"setting": chance.choice(["colour", "timeout", "proxy"])})
    if name == "scan" and chance.random() < 0.02:
        yield (*same, "action", "cache.cleared", *rest, {})


def _run_in_ci(chance: random.Random, app: str, n: int, midnight: datetime) -> tuple[object, ...]:
    at = midnight + timedelta(seconds=chance.random() * 86_000)
    python = chance.choice(PYTHONS)[0]
    system = chance.choice(CI_SYSTEMS)
    who = (True, system, "", "cli", "linux", "6.8.0-1017-azure", "amd64", "CPython", python, "", "", False)
    return next(_run(chance, app, at, None, False, n // RELEASE_DAYS, who))


def _receive(chance: random.Random, at: object) -> datetime:
    """Return when an event arrived: soon, or, one in a hundred, days later."""
    assert isinstance(at, datetime)
    wait = chance.expovariate(1 / 2e5) if chance.random() < 0.01 else chance.expovariate(1 / 20) + 10
    return at + timedelta(seconds=wait)


def _about(chance: random.Random, mean: float) -> int:
    """Return a whole number, *mean* on average."""
    return int(chance.random() * 2 * mean + 0.5)


def _uuid(chance: random.Random) -> str:
    digits = f"{chance.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


# The columns of the other two tables that events do not fill, in the order of their rows.
COUNT_COLUMNS = (
    "app", "at", "name", "installation", "ephemeral", "version", "ci", "surface", "amount", "fields", "point",
    "received",
)  # fmt: skip
DROP_COLUMNS = ("app", "at", "reason", "version", "amount", "point", "received")


def counts(app: str, installations: int, days: int, seed: int, end: date | None = None) -> Iterator[tuple[object, ...]]:
    """Yield rows of ``counts``, in the order of `COUNT_COLUMNS`: some services count what they handled, once a day."""
    chance = random.Random(seed + 1)  # noqa: S311
    services = [_uuid(chance) for _ in range(max(installations // 50, 1))]
    for n, midnight in _each_day(days, end):
        for one in services:
            at = midnight + timedelta(seconds=chance.random() * 86_000)
            fields = {"channel": chance.choice(["slack", "discord"])}
            who = (one, False, VERSIONS[n // RELEASE_DAYS], False, "service")
            arrived = (chance.getrandbits(62), _receive(chance, at))
            yield (app, at, "events.handled", *who, _about(chance, 400), fields, *arrived)


def drops(app: str, installations: int, days: int, seed: int, end: date | None = None) -> Iterator[tuple[object, ...]]:
    """Yield rows of ``drops``, in the order of `DROP_COLUMNS`: what programs said that they did not send."""
    chance = random.Random(seed + 2)  # noqa: S311
    for n, midnight in _each_day(days, end):
        for reason in ("undeclared", "value", "limit", "age"):
            if chance.random() < 0.2:
                amount = 1 + _about(chance, installations / 500)
                arrived = (chance.getrandbits(62), midnight + timedelta(hours=1))
                yield (app, midnight, reason, VERSIONS[n // RELEASE_DAYS], amount, *arrived)


def _each_day(days: int, end: date | None) -> Iterator[tuple[int, datetime]]:
    first = (end or datetime.now(timezone.utc).date()) - timedelta(days - 1)
    for n in range(days):
        yield n, datetime.combine(first + timedelta(n), time())
