"""The page of one question: its numbers, its drawing, all that its number is."""

from __future__ import annotations

from ..questions import Answer, Question
from .drawing import draw, name_group
from .frame import begin, end, filter_bar, heading
from .markup import Markup, join, tag
from .panel import Card, draw_about, draw_audience, draw_cards, draw_failure, links
from .view import View


def question_page(question: Question, answer: Answer | None, view: View) -> Markup:
    """Return the page; *answer* is None where it failed."""
    if answer is None:
        content = draw_failure(question.title, True)
    else:
        named = [Card(headline, _name_card(headline.title)) for headline in answer.headlines]
        cards = draw_cards(named, view) if named else None
        header = tag("header", tag("h2", "The answer"), links(answer, view))
        panel = tag("section", header, draw(answer, view), class_="panel wide")
        about = tag("section", tag("h2", "What this number is"), draw_about(answer, whole=True), class_="panel wide")
        everybody = tag(
            "p", "Counted: everybody. The choice between people, CI and others does not apply.", class_="audience"
        )
        whose = everybody if question.every_audience else draw_audience(answer, view)
        content = join(whose, cards, tag("div", panel, about, class_="panels"))
    return join(begin(view, question.title), heading(question.title, question.why), filter_bar(view), content, end())


def _name_card(title: str) -> str:
    """Return a headline's title as it stands on a card.

    >>> _name_card("ci: share of runs"), _name_card("failure rate")
    ('CI: share of runs', 'Failure rate')
    """
    first, colon, rest = title.partition(":")
    return name_group(first) + colon + rest
