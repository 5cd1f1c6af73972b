"""Questions about usage, each a module: the SQL that asks, the drawing, and the text that says what the number is.

>>> from otel_usage.serve.questions import DUCKDB, QUESTIONS, Filters, answer  # doctest: +SKIP
>>> answer(execute, DUCKDB, QUESTIONS["active"], Filters.from_query({"app": "digest"})).as_json()  # doctest: +SKIP
"""

from __future__ import annotations

from . import activation, active, audience, cohorts, commands, durations, failures, platforms, runs, trust, versions
from .ask import Execute, answer
from .declared import declared_questions, unused_fields
from .dialect import CLICKHOUSE, DIALECTS, DUCKDB, Dialect
from .filters import AUDIENCES, FilterError, Filters
from .question import Answer, Column, Headline, Question

# In the order in which a page shows them.
_MODULES = (active, versions, runs, commands, failures, platforms, audience, activation, cohorts, durations, trust)
QUESTIONS: dict[str, Question] = {module.QUESTION.id: module.QUESTION for module in _MODULES}

__all__ = [
    "AUDIENCES",
    "CLICKHOUSE",
    "DIALECTS",
    "DUCKDB",
    "QUESTIONS",
    "Answer",
    "Column",
    "Dialect",
    "Execute",
    "FilterError",
    "Filters",
    "Headline",
    "Question",
    "answer",
    "declared_questions",
    "unused_fields",
]
