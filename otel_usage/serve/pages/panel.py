"""A panel: an answer with its title, its drawing, and what its number is: of whom, what is excluded, what is missing."""

from __future__ import annotations

from ..questions import Answer, Headline
from .drawing import draw, list_rows
from .frame import short_title
from .markup import Markup, join, tag
from .view import View
from .wording import write, write_change

BRIEF_ROWS = 7


def draw_cards(headlines: list[tuple[Headline, str, str]], view: View) -> Markup:
    """Return cards of (headline, of whom, address of the page that explains it)."""
    return tag("div", [_card(*row, view) for row in headlines], class_="cards")


def _card(headline: Headline, of_whom: str, address: str, view: View) -> Markup:
    title = headline.title[:1].upper() + headline.title[1:]
    change, meaning = write_change(headline)
    compared = None
    if view.compares:
        before = write(headline.previous, headline.unit)
        full = f"{before} in the {view.filters.days} days before"
        compared = tag("span", change, tag("span", f" ({full})", class_="visually-hidden"), class_=f"change {meaning}", title=full)
    return tag(
        "section",
        tag("h2", tag("a", title, href=address) if address else title),
        tag("span", write(headline.value, headline.unit), class_="value"),
        compared,
        tag("small", of_whom) if of_whom else None,
        class_="card",
    )


def draw_panel(answer: Answer, view: View, *, wide: bool = False) -> Markup:
    """Return a panel of a page that has several."""
    question = answer.question
    id_ = f"q-{question.id}"
    header = tag(
        "header",
        tag("h2", tag("a", question.title, href=view.link(f"/questions/{question.id}")), id=id_),
        links(answer, view),
    )
    drawing = draw(answer, view, most_rows=BRIEF_ROWS, brief=True)
    wide_ = " wide" if wide else ""
    return tag("section", header, drawing, draw_about(answer), class_=f"panel{wide_}", aria_labelledby=id_)


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
            tag("a", kind.upper(), href=view.link(f"/questions/{answer.question.id}.{kind}"), aria_label=f"{name} as {kind.upper()}")
            for kind in ("json", "csv")
        ],
        class_="links",
    )


def draw_about(answer: Answer, *, opened: bool = False) -> Markup:
    """Return what the number is. The first line is always to be seen."""
    rows: list[tuple[str, object]] = [("What it is", answer.question.definition), ("Why ask", answer.question.why)]
    rows += [("Excluded", answer.excluded), ("Missing", answer.missing)]
    details = tag("details", tag("summary", "What this number is"), tag("dl", list_rows(rows)), class_="about", open=opened)
    return join(tag("p", answer.of_whom, class_="of-whom"), details)
