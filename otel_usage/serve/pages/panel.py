"""A panel: an answer with its title, its drawing, and what its number is: of whom, what is excluded, what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from ..questions import AUDIENCES, Answer, Headline
from .drawing import draw, list_rows
from .frame import short_title
from .markup import Content, Markup, join, tag
from .view import View
from .wording import write, write_change

BRIEF_ROWS = 7
_PLURALS = {"people": "people", "ci": "CI", "agents": "agents", "services": "services"}


@dataclass(frozen=True)
class Card:
    """A headline, the name that it has here, what it is, and the address of its question ("" on that question's page)."""

    headline: Headline
    name: str
    definition: str = ""
    address: str = ""


def draw_cards(cards: Sequence[Card], view: View) -> Markup:
    """Return the cards, each with its change from the period before."""
    return tag("div", [_draw_card(card, view) for card in cards], class_="cards")


def _draw_card(card: Card, view: View) -> Markup:
    headline = card.headline
    change, meaning = write_change(headline)
    compared = None
    if view.compares:
        before = write(headline.previous, headline.unit)
        full = f"{before} in the {view.filters.days} days before"
        spoken = tag("span", f" ({full})", class_="visually-hidden")
        compared = tag("span", change, spoken, class_=f"change {meaning}".strip(), title=full)
    name = tag("a", card.name, href=card.address, title=card.definition) if card.address else card.name
    value = tag("span", write(headline.value, headline.unit), class_="value")
    return tag("section", tag("h2", name), value, compared, class_="card")


def draw_panel(answer: Answer, view: View, *, wide: bool = False) -> Markup:
    """Return a panel of a page that has several."""
    question = answer.question
    id_ = f"q-{question.id}"
    header = tag(
        "header",
        tag("h2", tag("a", question.title, href=view.link(f"/questions/{quote(question.id)}")), id=id_),
        links(answer, view),
    )
    drawing = draw(answer, view, most_rows=BRIEF_ROWS, brief=True)
    wide_ = " wide" if wide else ""
    return tag("section", header, drawing, draw_about(answer), class_=f"panel{wide_}", aria_labelledby=id_)


def draw_audience(answer: Answer, view: View) -> Markup:
    """Return the line below the filters: whose runs are counted on this page, and how many of others are not."""
    chosen = view.filters.audience
    text = f"Counted: {AUDIENCES[chosen]}."
    others = [(name, runs) for name, runs in answer.apart.items() if chosen not in (name, "all") and runs]
    apart: list[Content] = [" Not counted here: "] if others else []
    for place, (name, runs) in enumerate(others):
        apart += [
            ", " if place else "",
            tag("a", f"{write(runs, 'count')} runs of {_PLURALS[name]}", href=view.link(audience=name)),
        ]
    return tag("p", text, apart, "." if others else None, class_="audience")


def draw_failure(title: str, wide: bool) -> Markup:
    """Return a panel whose question could not be answered; the log has the reason."""
    text = "This question could not be answered. The server's log says why."
    return tag("section", tag("h2", title), tag("p", text, class_="wrong"), class_="panel wide" if wide else "panel")


def links(answer: Answer, view: View) -> Markup:
    """Return the links to the answer as JSON and CSV."""
    name = short_title(answer.question.id)
    return tag(
        "span",
        [
            tag(
                "a",
                kind.upper(),
                href=view.link(f"/questions/{quote(answer.question.id)}.{kind}"),
                aria_label=f"{name} as {kind.upper()}",
            )
            for kind in ("json", "csv")
        ],
        class_="links",
    )


def draw_about(answer: Answer, *, whole: bool = False) -> Markup:
    """Return what the number is. The first line is always to be seen; *whole*: all of it, with nothing to open."""
    rows: list[tuple[str, str]] = [("What it is", answer.question.definition), ("Why ask", answer.question.why)]
    rows += [("Of whom", answer.of_whom), ("Excluded", answer.excluded), ("Missing", answer.missing)]
    if whole:
        return tag("div", tag("dl", list_rows(rows)), class_="about")
    details = tag("details", tag("summary", "What this number is"), tag("dl", list_rows(rows)), class_="about")
    return join(tag("p", answer.question.of_whom, class_="of-whom"), details)
