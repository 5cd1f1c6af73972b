"""The page of one program: what it declares, with the question that each declaration is to answer; and erasure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from ..questions import unused_fields
from ..questions.ask import BLIND_SPOT
from ..questions.declared import PREFIX
from .erasure import erasure_panel
from .frame import begin, end, filter_bar, heading
from .markup import Markup, join, tag
from .reading import Reading
from .view import View
from .wording import NOTHING, write, write_day

COUNTED = (
    "Counted: everybody, of every version; versions of all time, all else of the period. Installations are those whose id lasts, "
    "times are of all. " + BLIND_SPOT
)
Use = tuple[str, str, int, int, str]  # kind, name, installations, times, last day


def uses(reading: Reading, view: View) -> list[Use]:
    """Return what was recorded of the program in the period, of everybody, the most used first."""
    d = reading.dialect
    day = d.day('"at"')  # a word of SQL, so it is quoted
    users = d.distinct_if("installation", "NOT ephemeral")
    where = f'app = {d.text("app")} AND "at" >= {d.time("since")} AND "at" < {d.time("until")}'
    sql = (
        f"SELECT kind, name, {users} AS users, count(*) AS times, max({day}) FROM events "
        f"WHERE {where} AND kind NOT IN ('run', 'first_run') GROUP BY kind, name UNION ALL "
        f"SELECT 'count', name, {users}, sum(amount), max({day}) FROM counts WHERE {where} GROUP BY name "
        "ORDER BY users DESC, times DESC"
    )
    first, last = view.filters.start, view.filters.end + timedelta(1)
    values = {"app": view.filters.app, "since": f"{first} 00:00:00", "until": f"{last} 00:00:00"}
    rows = reading.execute(sql, values)
    return [(str(kind), str(name), int(users), int(times), str(day)[:10]) for kind, name, users, times, day in rows]


def app_page(reading: Reading, view: View, message: str = "") -> Markup:
    """Return the page. message: what became of an erasure."""
    name = view.filters.app
    declared = view.schema
    rows = uses(reading, view)
    seen = {row[1]: row for row in rows}
    panels = [tag("p", message, class_="panel wide", role="status")] if message else []
    panels.append(_versions(view))
    if declared:
        body = [_declaration(view, key, row, seen.get(key)) for key, row in declared.items()]
        text = "The schema of the program: nothing else can arrive. What was not used may be more than is needed."
        if unused := unused_fields(reading.execute, reading.dialect, declared, view.filters):
            text += f" Fields that nobody sent in this period: {', '.join(unused)}."
        panels.append(_table("What it declares", text, ("Name", "Kind", "Why", "Installations", "Times", "Last"), body))
    else:
        body = [_use(row) for row in rows]
        text = f"The server does not know its schema, so this is what arrived. Start it with --schema {name}=FILE to see why."
        panels.append(
            _table("What arrived besides runs", text, ("Name", "Kind", "Installations", "Times", "Last"), body)
        )
    panels.append(erasure_panel(view))
    return join(
        begin(view, name),
        heading(name, "The program itself: its versions, what it may record, and what is removed on request."),
        filter_bar(view),
        tag("p", COUNTED, class_="audience"),
        tag("div", panels, class_="panels"),
        end(),
    )


def _versions(view: View) -> Markup:
    body = [
        tag(
            "tr",
            tag("th", tag("a", release.version, href=view.link("/", version=release.version)), scope="row"),
            tag("td", write_day(release.day)),
            tag("td", write(release.days, "count"), class_="number"),
        )
        for release in view.releases
    ]
    text = "First seen: on the first day on which an installation reported it. Days: of all installations together."
    return _table("Versions", text, ("Version", "First seen", "Days"), body)


def _declaration(view: View, key: str, row: Mapping[str, Any], use: Use | None) -> Markup:
    """Return the row of what is declared as *key*. Any: a schema's."""
    numbers = [write(use[2], "count"), write(use[3], "count"), write_day(use[4])] if use else ["none", NOTHING, NOTHING]
    fields = row.get("fields")
    names = ", ".join(fields) if isinstance(fields, Mapping) else ""
    return tag(
        "tr",
        tag(
            "th",
            tag("a", key, href=view.link(f"/questions/{PREFIX}{quote(key)}")),
            tag("span", f" ({names})", class_="muted") if names else None,
            scope="row",
        ),
        tag("td", str(row.get("kind", "action"))),
        tag("td", str(row.get("why", NOTHING)), class_="text"),
        [tag("td", text, class_="number") for text in numbers],
    )


def _use(row: Use) -> Markup:
    kind, name, users, times, day = row
    numbers = (write(users, "count"), write(times, "count"), write_day(day))
    return tag(
        "tr", tag("th", name, scope="row"), tag("td", kind), [tag("td", text, class_="number") for text in numbers]
    )


def _table(title: str, text: str, titles: Sequence[str], body: Sequence[Markup]) -> Markup:
    numbers = ("Installations", "Times", "Last", "Days")
    head = tag("tr", [tag("th", one, scope="col", class_="number" if one in numbers else None) for one in titles])
    table = tag("table", tag("caption", title, class_="visually-hidden"), tag("thead", head), tag("tbody", body))
    box = tag("div", table, class_="scroll", tabindex=0, role="group", aria_label=title)
    return tag(
        "section",
        tag("h2", title),
        tag("p", text, class_="why"),
        box if body else tag("p", "Nothing in this period.", class_="muted"),
        class_="panel wide",
    )
