"""The first page: cards, runs over time, and the answers that maintainers look for first.

It is sent as it is answered, panel by panel, so that the first numbers are there before the last question is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from ..questions import QUESTIONS, Answer, Question
from .frame import begin, end, filter_bar, heading
from .panel import Card, draw_audience, draw_cards, draw_failure, draw_panel
from .reading import Reading
from .view import View

log = logging.getLogger("otel_usage.serve")
# (question, which of its headlines, by title, and how a card calls it): the cards, in this order.
CARDS = (
    ("runs", "runs", "Runs"),
    ("active", "active", "Active installations"),
    ("active", "new", "New installations"),
    ("failures", "failure rate", "Runs that failed"),
    ("durations", "p90", "Duration, p90"),
)
# Of these the period before is asked too; no panel says anything of it but the one of runs, which has a card.
COMPARED = {id_ for id_, _, _ in CARDS}
# (question, is it as wide as the page): the panels, in this order.
PANELS = (
    ("runs", True),
    ("active", False),
    ("versions", False),
    ("commands", False),
    ("failures", False),
    ("platforms", False),
    ("audience", False),
    ("activation", False),
    ("durations", False),
    ("cohorts", True),
)


def overview(reading: Reading, view: View) -> Iterator[str]:
    """Yield the page, piece by piece."""
    yield begin(view, view.filters.app or "Overview")
    yield heading(view.filters.app)
    yield filter_bar(view)
    answers: dict[str, Answer | None] = {}
    first = ask(reading, view, PANELS[0][0], answers)
    if first:
        yield draw_audience(first, view)
    cards = [card for id_, title, name in CARDS if (card := _card(ask(reading, view, id_, answers), title, name, view))]
    yield draw_cards(cards, view)
    yield '<div class="panels">'
    for id_, wide in PANELS:
        if id_ in QUESTIONS:
            answer = ask(reading, view, id_, answers)
            yield draw_panel(answer, view, wide=wide) if answer else draw_failure(QUESTIONS[id_].title, wide)
    yield "</div>"
    yield end()


def ask(reading: Reading, view: View, id_: str, answers: dict[str, Answer | None]) -> Answer | None:
    """Return the answer to a question, asked once for all of a page; None if it failed, which the log says."""
    if id_ not in answers:
        question = QUESTIONS.get(id_)
        compares = view.compares and id_ in COMPARED
        answers[id_] = ask_safely(reading, view, question, compares=compares) if question else None
    return answers[id_]


def ask_safely(reading: Reading, view: View, question: Question, *, compares: bool = True) -> Answer | None:
    """Return the answer to *question*, None if it failed. The text of a fault may hold what was stored, and is not logged.

    compares: with the period before.
    """
    try:
        return reading.ask(question, view.filters, compares=compares)
    except Exception as exc:  # whatever a database can't do: the other panels are shown all the same
        log.error("question %s failed with %s", question.id, type(exc).__name__)
        return None


def _card(answer: Answer | None, title: str, name: str, view: View) -> Card | None:
    if answer is None:
        return None
    headline = next((one for one in answer.headlines if one.title == title), None)
    address = view.link(f"/questions/{answer.question.id}")
    return Card(headline, name, answer.question.definition, address) if headline else None
