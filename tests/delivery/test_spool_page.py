"""What docs/spool.md says of answers and of bounds is what the code does."""

from __future__ import annotations

import re

import pytest

from otel_usage.delivery.intake import MAX_FILE, MAX_JUNK
from otel_usage.delivery.otlp_answer import judge
from otel_usage.delivery.queue import MAX_AGE_S, MAX_QUEUE_BYTES
from otel_usage.spool.set_aside import MAX_BAD

from ..house.test_docs_name_tests import read_rows

ANSWERS = read_rows("docs/spool.md", "## What an answer means")
OWN = ("application/x-protobuf", b"")
FOREIGN = ("text/html", b"<html>")


@pytest.mark.parametrize(
    ("row", "becomes"), list(enumerate(["is done with", "waits", "is dropped", "is dropped", "waits"]))
)
def test_each_status_of_the_page(row: int, becomes: str) -> None:
    """The statuses of a row, in the protocol's own words where the row says so, have the outcome of that row."""
    answer, outcome = ANSWERS[row][:2]
    content_type, body = OWN if row in (0, 2) else FOREIGN
    statuses = [200, 202] if row == 0 else [int(text) for text in re.findall(r"\b[345]\d\d\b", answer)]

    assert becomes == outcome
    for status in statuses:
        verdict = judge("traces", 3, status, content_type, body, None)
        waits, drops = bool(verdict.unsent), sum(verdict.dropped.values())
        assert (becomes == "waits", 3 if becomes == "is dropped" else 0) == (waits, drops), status
    assert len(statuses) >= 2


def test_the_bounds_of_the_page() -> None:
    """Its numbers are those of the code."""
    text = " ".join(" ".join(row) for row in read_rows("docs/spool.md", "## What is bounded, and what is counted"))

    assert f"{MAX_AGE_S // 86_400} days" in text
    assert f"{MAX_QUEUE_BYTES // 1_000_000} MB" in text
    assert f"{MAX_FILE >> 20} MiB" in text
    assert "a hundred lines" in text
    assert MAX_JUNK == 100
    assert f"{MAX_BAD} files" in text
