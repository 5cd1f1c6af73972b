"""What the questions' rows should be, calculated in plain Python from the events, without SQL and without rows per day.

Each function takes the events of one app as dicts (``at`` and ``received`` are datetimes) and the filters, and returns the rows
of the question of its name. Audience: people, and no version, but for those questions that take no account of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date, timedelta
from statistics import median
from typing import Any

from otel_usage.serve.questions import Filters
from otel_usage.serve.questions.version_order import version_key

Event = dict[str, Any]
Rows = list[tuple[Any, ...]]


def day_of(event: Event) -> date:
    return event["at"].date()


def is_person(event: Event) -> bool:
    return not event["ci"] and not event["agent"] and event["surface"] != "service"


def lasts(event: Event) -> bool:
    return event["installation"] is not None and not event["ephemeral"]


def within(events: list[Event], filters: Filters) -> list[Event]:
    return [event for event in events if filters.start <= day_of(event) <= filters.end]


def days_of_people(events: list[Event]) -> dict[str, dict[date, Event]]:
    """Return {installation: {day: its last event}} of those whose id lasts; in the sample one is always of one audience."""
    days: dict[str, dict[date, Event]] = defaultdict(dict)
    for event in sorted(events, key=lambda event: event["at"]):
        if is_person(event) and lasts(event):
            days[event["installation"]][day_of(event)] = event
    return days


def users(events: list[Event]) -> set[str]:
    return {event["installation"] for event in events if lasts(event)}


def monday(day: date) -> date:
    return day - timedelta(day.weekday())


def active(events: list[Event], filters: Filters) -> Rows:
    rows = []
    seen = days_of_people(events)
    period = {one: [day for day in days if filters.start <= day <= filters.end] for one, days in seen.items()}
    for n in range(filters.days):
        day = filters.start + timedelta(n)
        here = [one for one, days in seen.items() if day in days]
        new = sum(min(seen[one]) == day for one in here)
        rows.append((day.isoformat(), new, len(here) - new, sum(len(period[one]) >= 2 for one in here)))
    return rows


def runs(events: list[Event], filters: Filters) -> Rows:
    seen = days_of_people(events)
    begun = Counter(day_of(event) for event in events if event["kind"] == "run" and is_person(event))
    days = [filters.start + timedelta(n) for n in range(filters.days)]
    return [(day.isoformat(), begun[day], sum(day in of for of in seen.values())) for day in days]


def versions(events: list[Event], filters: Filters) -> Rows:
    weeks: dict[date, dict[str, str]] = defaultdict(dict)
    for one, days in days_of_people(events).items():
        for day in sorted(days):
            if filters.start <= day <= filters.end:
                weeks[monday(day)][one] = days[day]["version"]
    total = Counter(version for week in weeks.values() for version in week.values())
    week_ago = max(filters.start, filters.end - timedelta(6))
    lately = [
        days[max(near)]["version"]
        for days in days_of_people(events).values()
        if (near := [day for day in days if week_ago <= day <= filters.end])
    ]
    newest = max(lately, key=version_key, default="")
    drawn = sorted(total, key=lambda version: (version != newest, -total[version], version_key(version)))[:7]
    rows = []
    for week, of in sorted(weeks.items()):
        counts = Counter(of.values())
        rows += [(str(week), v, counts[v], counts[v] / len(of)) for v in sorted(drawn, key=version_key)]
        if len(total) > 7:
            rest = sum(n for v, n in counts.items() if v not in drawn)
            rows.append((str(week), "other", rest, rest / len(of)))
    return rows


def commands(events: list[Event], filters: Filters) -> Rows:
    events = [e for e in within(events, filters) if is_person(e) and e["kind"] in ("run", "action")]
    uses: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in events:
        uses["command" if event["kind"] == "run" else "action", event["name"]].append(event)
        for option in event["options"]:
            uses["option", f"{event['name']} {option}"].append(event)
    total = len(users(events))
    rows = [
        (*what, len(users(of)), len(users(of)) / total, len(of), str(max(map(day_of, of)))) for what, of in uses.items()
    ]
    return sorted(rows, key=lambda r: (["command", "option", "action"].index(r[0]), -r[2], -r[4], r[1]))


def failures(events: list[Event], filters: Filters) -> Rows:
    groups: dict[str, dict[str, list[Event]]] = defaultdict(lambda: defaultdict(list))
    for event in within(events, filters):
        if is_person(event) and event["kind"] == "run":
            groups[event["name"]][event["version"]].append(event)
    rows = []
    for name, by_version in groups.items():
        before = None
        for version in sorted(by_version, key=version_key):
            outcomes = Counter(event["outcome"] for event in by_version[version])
            failed = [event for event in by_version[version] if event["outcome"] == "failure"]
            ended = outcomes["failure"] + outcomes["success"]
            rate = len(failed) / ended if ended else None
            errors = Counter(event["error_type"] for event in failed)
            most = min(errors, key=lambda error: (-errors[error], error), default="")
            last = str(max(map(day_of, failed))) if failed else ""
            if failed or outcomes["unfinished"] or outcomes["usage_error"]:
                counts = (len(users(failed)), len(failed), ended, rate, before)
                rows.append((name, version, *counts, outcomes["unfinished"], outcomes["usage_error"], most, last))
            before = rate if ended else before
    return sorted(rows, key=lambda r: (-r[3], -r[7], -r[8], r[0], r[1]))[:200]


def platforms(events: list[Event], filters: Filters) -> Rows:
    last = {one: days[max(days)] for one, days in days_of_people(within(events, filters)).items()}
    names = {
        "runtime": lambda e: f"{e['runtime']} {'.'.join(e['runtime_version'].split('.')[:2])}",
        "system": lambda e: e["os"],
        "system version": lambda e: (
            f"{e['os']} {'.'.join(e['os_version'].split('.')[: 1 if e['os'] == 'darwin' else 2])}"
        ),
        "architecture": lambda e: e["arch"],
    }
    rows = []
    for what, name in names.items():
        counts = Counter(name(event) for event in last.values())
        ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        rows += [(what, value, n, n / len(last)) for value, n in ordered]
    return rows


def audience(events: list[Event], filters: Filters) -> Rows:
    groups: dict[tuple[str, str], list[Event]] = defaultdict(list)
    events = within(events, filters)
    for e in events:
        which = (
            "an id that lasts" if lasts(e) else "an id that does not last (a container)" if e["ephemeral"] else "no id"
        )
        if e["ci"]:
            groups["ci", e["ci_system"]].append(e)
        elif e["agent"]:
            groups["agents", e["agent"]].append(e)
        else:
            groups["services" if e["surface"] == "service" else "people", which].append(e)
    total = sum(event["kind"] == "run" for event in events)
    rows = []
    for place, of in groups.items():
        outcomes = Counter(event["outcome"] for event in of if event["kind"] == "run")
        ended = outcomes["success"] + outcomes["failure"]
        runs = outcomes.total()
        rate = outcomes["failure"] / ended if ended else None
        rows.append((*place, len(users(of)), runs, runs / total, rate, len(of)))
    return sorted(rows, key=lambda r: (["people", "ci", "agents", "services"].index(r[0]), -r[3], r[1]))


def activation(events: list[Event], filters: Filters) -> Rows:
    first, last = filters.start - timedelta(7), filters.end - timedelta(7)
    born = {one: min(days) for one, days in days_of_people(events).items() if first <= min(days) <= last}
    lives: dict[str, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event["at"]):
        one = event["installation"]
        if one in born and is_person(event) and day_of(event) <= min(born[one] + timedelta(7), filters.end):
            lives[one].append(event)
    steps = {
        "first seen": lambda one, e: True,
        "ran a command": lambda one, e: e["kind"] == "run",
        "a run succeeded": lambda one, e: e["kind"] == "run" and e["outcome"] == "success",
        "did a declared action": lambda one, e: e["kind"] == "action",
        "came back on another day": lambda one, e: day_of(e) > born[one],
    }
    left, rows = set(lives), []
    for step, done in steps.items():
        left = {one for one in left if any(done(one, event) for event in lives[one])}
        waits = [
            (next(e["at"] for e in lives[one] if done(one, e)) - lives[one][0]["at"]) // timedelta(seconds=1)
            for one in left
        ]
        rows.append((step, len(left), len(left) / len(lives), median(waits) / 3600 if waits else None))
    return rows


def cohorts(events: list[Event], filters: Filters) -> Rows:
    last = filters.end - timedelta((filters.end.weekday() + 1) % 7)
    first = min(monday(filters.start), last - timedelta(83))
    weeks: dict[date, Counter[int]] = defaultdict(Counter)
    for days in days_of_people(events).values():
        born = monday(min(days))
        if first <= min(days) <= last:
            weeks[born].update({(monday(day) - born).days // 7 for day in days if day <= last})
    return [
        (str(born), n, counts[n], counts[0], counts[n] / counts[0])
        for born, counts in sorted(weeks.items())
        for n in range((last - born).days // 7 + 1)
    ]


def quantile(values: list[int], share: float) -> float:
    """Return the quantile, between two values where it falls between them, in seconds."""
    place = share * (len(values) - 1)
    low = sorted(values)[int(place)]
    high = sorted(values)[min(int(place) + 1, len(values) - 1)]
    return (low + (high - low) * (place - int(place))) / 1e6


def durations(events: list[Event], filters: Filters) -> Rows:
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for event in within(events, filters):
        if is_person(event) and event["kind"] == "run" and event["outcome"] in ("success", "failure"):
            groups[event["name"], event["version"]].append(event["duration_us"])
    rows = [(*place, len(of), *(quantile(of, part) for part in (0.5, 0.9, 0.99))) for place, of in groups.items()]
    rows.sort(key=lambda row: version_key(row[1]), reverse=True)
    return sorted(rows, key=lambda row: row[0])


def trust(events: list[Event], filters: Filters) -> Rows:
    """Return the amounts alone, in the rows' order, without what was dropped."""
    here = within(events, filters)
    days: dict[str, set[date]] = defaultdict(set)
    for event in here:
        if lasts(event):
            days[event["installation"]].add(day_of(event))
    runs = Counter(event["outcome"] for event in here if event["kind"] == "run")
    late = sum(event["received"] - event["at"] > timedelta(days=1) for event in here)
    ahead = sum(
        e["at"] - e["received"] > timedelta(minutes=10)
        for e in events
        if filters.start <= e["received"].date() <= filters.end
    )
    amounts = [
        len(here), len(set(map(day_of, here))), sum(len(of) == 1 for of in days.values()),
        sum(e["ephemeral"] for e in here), sum(not e["ci"] and e["installation"] is None for e in here),
        late, ahead, runs["unfinished"], runs["unknown"],
    ]  # fmt: skip
    return [(amount,) for amount in amounts]
