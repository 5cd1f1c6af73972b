"""Draw an answer: as a table, which scripts make a chart of where it is one over time.

The table is all that a chart is made of (assets/pages.js reads it), so the two can't disagree. Rankings, funnels and cohorts
need no script: their bars and shades are part of the table.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

from ..questions import Answer, Column
from ..questions.question import Row
from .markup import Markup, join, tag
from .view import View
from .wording import AUDIENCE_NAMES, FORMATS, write, write_day

MOST_SERIES = 7  # of a stacked chart: as many as can be told apart; the rest is "other"
MOST_ROWS = 200  # of a table on a page; CSV and JSON have all
MOST_RELEASES = 8  # marked on a chart: more would hide it
SHADES = 8
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
MOST_GROUPS = 6  # tables beside each other's headings; with more the groups are a column
BRIEF_GROUPS = 2
Head = tuple[Sequence[Column], Sequence[Row]]


def draw(answer: Answer, view: View, *, most_rows: int = MOST_ROWS, brief: bool = False) -> Markup:
    """Return the drawing of *answer*. brief: for a panel among others, so with fewer columns and the first group alone."""
    if not answer.rows:
        return tag("p", "Nothing in this period, of those who are chosen above.", class_="muted")
    if answer.question.draw == "table":
        return _draw_table(answer, view, most_rows, brief=brief)
    draws: dict[str, Callable[[], Markup]] = {
        "line": lambda: _draw_over_time(answer, view),
        "stacked": lambda: _draw_over_time(answer, view),
        "bars": lambda: _draw_ranking(answer, view, most_rows, brief=brief),
        "funnel": lambda: _draw_ranking(answer, view, most_rows, brief=brief, of_first=True),
        "heatmap": lambda: _draw_cohorts(answer, view),
    }
    return draws[answer.question.draw]()


# Over time.


def _draw_over_time(answer: Answer, view: View) -> Markup:
    """Return a chart's place, and its table, closed: a chart and a table of the same are one too many to read at once."""
    columns, rows = _spread(answer) if answer.question.series else _drawn(answer)
    head = [tag("th", columns[0].title, scope="col"), *(_series_title(column) for column in columns[1:])]
    described = _describe(answer, [column.title for column in columns], rows)
    if view.compares and answer.question.draw == "line" and len(answer.previous) == len(rows):
        # The period before, of the first line alone: of each it would be a tangle.
        first = [column.name for column in answer.columns].index(columns[1].name)
        head.append(_series_title(columns[1], before=True))
        columns = [*columns, columns[1]]
        rows = [(*row, old[first]) for row, old in zip(rows, answer.previous, strict=True)]
    body = [
        tag(
            "tr",
            _label(view, columns[0], row[0]),
            [_number(value, c) for value, c in zip(row[1:], columns[1:], strict=True)],
        )
        for row in rows
    ]
    table = tag("table", tag("caption", answer.question.title), tag("thead", tag("tr", head)), tag("tbody", body))
    return tag(
        "figure",
        tag("div", class_="chart"),
        tag("details", tag("summary", "Table of this chart"), _scroll(table), class_="behind"),
        data_draw=answer.question.draw,
        data_label=described,
        data_releases=json.dumps(_mark_releases([str(row[0]) for row in rows], view)),
    )


def _mark_releases(days: Sequence[str], view: View) -> list[tuple[str, str]]:
    """Return (day, versions) of the releases that are marked on a chart: those that most have, each at the last of *days*, which
    may be weeks, that is not after it. What was there when the chart begins is no release.
    """
    last = view.filters.end.isoformat()
    releases = [release for release in view.releases if days[0] < release.day <= last]
    marks: dict[str, list[str]] = {}
    for release in sorted(releases, key=lambda release: -release.days)[:MOST_RELEASES]:
        marks.setdefault(days[bisect_right(days, release.day) - 1], []).append(release.version)
    return [(day, ", ".join(versions)) for day, versions in marks.items()]


def _series_title(column: Column, *, before: bool = False) -> Markup:
    """Return the head of a column that is a line of the chart; before: of the period before."""
    title = f"{column.title}, period before" if before else column.title
    unit = FORMATS.get(column.unit, "number")
    return tag("th", title, scope="col", class_="number", data_format=unit, data_before=before)


def name_group(name: str) -> str:
    """Return the caption of a group of rows.

    >>> name_group("ci"), name_group("command")
    ('CI', 'Command')
    """
    return AUDIENCE_NAMES.get(name.lower(), name[:1].upper() + name[1:])


def _describe(answer: Answer, titles: Sequence[str], rows: Sequence[Row]) -> str:
    """Return what a chart shows, for those who do not see it: of what to what, and the first, last and highest number."""
    first_day, last_day = write(rows[0][0], "day"), write(rows[-1][0], "day")
    parts = [f"{answer.question.title} {titles[0]}: {first_day} to {last_day}."]
    for place, title in enumerate(titles[1:], 1):
        numbers = [value for row in rows if isinstance(value := row[place], (int, float))]
        if numbers:
            first, last, most = (write(round(n, 3), "count") for n in (numbers[0], numbers[-1], max(numbers)))
            parts.append(f"{title}: first {first}, last {last}, at most {most}.")
    return " ".join(parts) + " The table below has every number."


def _drawn(answer: Answer) -> Head:
    """Return the columns that are drawn, and their rows."""
    names = [column.name for column in answer.columns]
    places = [names.index(name) for name in (answer.question.x, *answer.question.y)]
    return [answer.columns[place] for place in places], [tuple(row[place] for place in places) for row in answer.rows]


def _spread(answer: Answer) -> Head:
    """Return the rows with a column for each series, the largest, and one for all others together."""
    names = [column.name for column in answer.columns]
    x, y, series = (names.index(name) for name in (answer.question.x, answer.question.y[0], answer.question.series))
    totals: dict[str, float] = {}
    cells: dict[object, dict[str, float]] = {}
    for row in answer.rows:
        name, value = str(row[series]), row[y]
        number = float(value) if isinstance(value, (int, float)) else 0.0
        totals[name] = totals.get(name, 0.0) + number
        by_name = cells.setdefault(row[x], {})
        by_name[name] = by_name.get(name, 0.0) + number
    largest = sorted(totals, key=lambda name: -totals[name])
    if len(largest) > MOST_SERIES + 1:
        largest = largest[:MOST_SERIES]
    rest = answer.columns[y].unit == "count" and len(largest) < len(totals)
    order = [name for name in totals if name in set(largest)]
    unit = answer.columns[y].unit
    columns = [answer.columns[x], *(Column(name, name or "(none)", unit) for name in order)]
    columns += [Column("other", f"{len(totals) - len(largest)} others", unit)] if rest else []
    rows: list[Row] = []
    for key, by_name in cells.items():
        others = [sum(number for name, number in by_name.items() if name not in set(largest))] if rest else []
        rows.append((str(key), *[by_name.get(name, 0.0) for name in order], *others))
    return columns, sorted(rows, key=lambda row: str(row[0]))


# Rankings and funnels.


def _draw_ranking(answer: Answer, view: View, most_rows: int, *, brief: bool, of_first: bool = False) -> Markup:
    names = [column.name for column in answer.columns]
    question = answer.question
    label, measure = names.index(question.x), names.index(question.y[0])
    series = names.index(question.series) if question.series else None
    groups: dict[object, list[Row]] = {}
    for row in answer.rows:
        groups.setdefault(row[series] if series is not None else "", []).append(row)
    if len(groups) > MOST_GROUPS or question.series == "version":  # then the series is a column like any other
        groups, series = {"": list(answer.rows)}, None
    others = [place for place in range(len(names)) if place not in (label, series)]
    if brief:
        others = [place for place in others if place == measure or names[place] in (question.series, "share")][:3]
        groups = dict(list(groups.items())[:BRIEF_GROUPS])
        most_rows = max(3, most_rows // len(groups))
    tables = []
    for group, rows in groups.items():
        caption = answer.columns[label].title if series is None else name_group(str(group))
        shown = rows[:most_rows]
        tables.append(_rank(view, answer.columns, shown, caption, (label, measure, others), of_first=of_first))
        if len(rows) > len(shown) and not brief:
            tables.append(tag("p", f"{len(rows) - len(shown)} more rows are in the CSV file.", class_="muted"))
    return tag("div", tables, class_="stack")


def _rank(
    view: View,
    columns: Sequence[Column],
    rows: Sequence[Row],
    caption: str,
    places: tuple[int, int, Sequence[int]],
    *,
    of_first: bool,
) -> Markup:
    """Return a table whose first column has bars, as long as its measure. places: of the label, the measure, and all else."""
    label, measure, others = places
    numbers = [float(value) if isinstance(value := row[measure], (int, float)) else 0.0 for row in rows]
    longest = (numbers[0] if of_first else max(numbers)) or 1.0
    head = tag("tr", tag("th", columns[label].title, scope="col"), [_title(columns[place]) for place in others])
    body = []
    for row, number in zip(rows, numbers, strict=True):
        width = f"{min(100.0, 100 * number / longest):.2f}%"
        bar = tag(
            "svg", tag("rect", width=width, height="100%", rx=4), class_="bar", aria_hidden="true", focusable="false"
        )
        cell = _label(view, columns[label], row[label], bar)
        body.append(tag("tr", cell, [_number(row[place], columns[place]) for place in others]))
    table = tag(
        "table",
        tag("caption", caption, class_=None if caption != columns[label].title else "visually-hidden"),
        tag("thead", head),
        tag("tbody", body),
        class_="ranked",
    )
    return _scroll(table)


# Cohorts: rows are weeks of arrival, columns the weeks after.


def _draw_cohorts(answer: Answer, view: View) -> Markup:
    names = [column.name for column in answer.columns]
    question = answer.question
    x, y, series = names.index(question.x), names.index(question.y[0]), names.index(question.series)
    cells: dict[object, dict[object, object]] = {}
    for row in answer.rows:
        cells.setdefault(row[series], {})[row[x]] = row[y]
    steps = sorted({row[x] for row in answer.rows}, key=lambda step: (isinstance(step, str), step))
    unit = answer.columns[y].unit
    numbers = [value for row in cells.values() for value in row.values() if isinstance(value, (int, float))]
    top = 1.0 if unit == "share" else (max(numbers, default=1) or 1)
    head = tag(
        "tr",
        _title(answer.columns[series]),
        [tag("th", write(step, answer.columns[x].unit), scope="col") for step in steps],
    )
    body = [
        tag("tr", _label(view, answer.columns[series], key), [_shade(by_step.get(step), unit, top) for step in steps])
        for key, by_step in cells.items()
    ]
    caption = tag("caption", f"{answer.columns[y].title}, by {answer.columns[x].title.lower()}")
    return _scroll(tag("table", caption, tag("thead", head), tag("tbody", body), class_="cohorts"))


def _shade(value: object, unit: str, top: float) -> Markup:
    """Return a cell whose shade says roughly what its number says exactly."""
    if not isinstance(value, (int, float)):
        return tag("td")
    shade = max(1, min(SHADES, round(SHADES * value / top + 0.49))) if value else 0
    text = f"{100 * value:.0f} %" if unit == "share" else write(value, unit)
    return tag("td", text, class_=f"heat heat-{shade}")


# Tables.


def _draw_table(answer: Answer, view: View, most_rows: int, *, brief: bool) -> Markup:
    head = tag("tr", [_title(column) for column in answer.columns])
    body = [
        tag(
            "tr",
            _label(view, answer.columns[0], row[0]),
            [_number(v, c) for v, c in zip(row[1:], answer.columns[1:], strict=True)],
        )
        for row in answer.rows[:most_rows]
    ]
    caption = tag("caption", answer.question.title, class_="visually-hidden")
    more = len(answer.rows) - most_rows
    return join(
        _scroll(tag("table", caption, tag("thead", head), tag("tbody", body))),
        tag("p", f"{more:,} more rows are in the CSV file.", class_="muted") if more > 0 and not brief else None,
    )


def _scroll(table: Markup) -> Markup:
    """Return a table in a box that scrolls, by the keyboard too, where the table is wider or longer."""
    tall = " tall" if table.count("<tr") > 16 else ""
    return tag("div", table, class_=f"scroll{tall}", tabindex=0, role="group", aria_label="Table")


def _title(column: Column) -> Markup:
    return tag("th", column.title, scope="col", class_=None if column.unit in ("text", "day") else "number")


def _label(view: View, column: Column, value: object, before: Markup | None = None) -> Markup:
    """Return the cell that names a row: a version and a day are links that filter by them."""
    text = write(value, column.unit) or "(none)"
    content: Markup | str = text
    if column.name == "version" and value and value != view.filters.version:
        content = tag("a", text, href=view.link(version=value), title=f"Only version {value}")
    elif column.name == "audience":
        content = tag("a", text, href=view.link(audience=value))
    elif column.unit == "day" and column.name == "day" and view.filters.days > 1:
        content = tag("a", write_day(str(value)), href=view.link(start=value, end=value), title="Only this day")
    return tag("th", before, content, scope="row", data_value=str(value) if column.unit == "day" else None)


def _number(value: object, column: Column) -> Markup:
    if column.unit in ("text", "day"):
        is_day = column.unit == "day" or _DAY.fullmatch(str(value))
        return tag(
            "td", write_day(str(value)) if is_day else write(value, column.unit), class_="day" if is_day else None
        )
    raw = f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)
    return tag("td", write(value, column.unit), class_="number", data_value=raw)


def list_rows(rows: Iterable[tuple[str, str]]) -> Markup:
    """Return a list of terms and what is said of each."""
    return join(*(join(tag("dt", term), tag("dd", text)) for term, text in rows))
