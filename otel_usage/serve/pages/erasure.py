"""Erasing an installation: a form, and the page that asks once more, with what would go. Both work without scripts."""

from __future__ import annotations

from collections.abc import Mapping

from .frame import begin, end, heading
from .markup import Markup, join, tag
from .view import View
from .wording import write

ADDRESS = "/erase"
WORDS = {
    "events": "events",
    "counts": "counts",
    "installation_days": "rows per day",
    "outbox": "records that wait to be passed on",
}


def erasure_panel(view: View) -> Markup:
    """Return the form on the page of a program."""
    id_field = tag(
        "input", name="installation", required=True, pattern="[0-9a-fA-F-]{32,36}", autocomplete="off", size=38
    )
    return tag(
        "section",
        tag("h2", "Erase an installation"),
        tag(
            "p",
            "Removes every row of it. A user finds the id with otel-usage status. It is asked once more, with what would go.",
            class_="why",
        ),
        tag(
            "form",
            tag("input", type="hidden", name="app", value=view.filters.app),
            tag("label", "Id of the installation", id_field),
            tag("button", "Erase…", class_="button", type="submit"),
            method="post",
            action=ADDRESS,
            class_="erase",
        ),
        class_="panel wide",
    )


def erasure_page(view: View, installation: str, rows: Mapping[str, int]) -> Markup:
    """Return the page that asks once more. rows: {table: how many would go}."""
    app = view.filters.app
    question = tag(
        "section",
        tag("h2", "What would go"),
        tag("p", f"Of installation {installation} of {app} there are {count_words(rows)}. This can't be undone."),
        tag(
            "form",
            [
                tag("input", type="hidden", name=name, value=text)
                for name, text in (("app", app), ("installation", installation), ("confirmed", "yes"))
            ],
            tag("button", f"Erase {write(sum(rows.values()), 'count')} rows", class_="button danger", type="submit"),
            tag("a", "Keep them", class_="button", href=view.link("/app")),
            method="post",
            action=ADDRESS,
            class_="erase",
        ),
        class_="panel wide",
    )
    title = "Erase this installation?"
    return join(begin(view, title), heading(title), tag("div", question, class_="panels"), end())


def count_words(rows: Mapping[str, int]) -> str:
    """Return how many rows there are of each table, in words.

    >>> count_words({"events": 1200, "installation_days": 3})
    'events: 1,200; rows per day: 3'
    """
    return "; ".join(f"{WORDS.get(table, table)}: {write(n, 'count')}" for table, n in rows.items())
