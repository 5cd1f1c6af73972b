"""Why a delivery failed is in the relay's log and in its metrics, in a word of a closed list."""

from __future__ import annotations

import logging

import pytest

from otel_usage.delivery.verdict import MAYBE_SENT, NOT_SENT, Verdict
from tests.collector.harness import get, post, traces
from tests.server.serving import Fake, Process, Serving
from tests.server.vendors import Vendors


@pytest.mark.parametrize(
    ("verdict", "cause", "label"),
    [
        *((Verdict(unsent=(0,), reason=word), word, word) for word in (*NOT_SENT, *MAYBE_SENT)),
        (Verdict(unsent=(0,), reason="http_503", status=503), "HTTP 503", "http_503"),
        (Verdict(unsent=(0,), status=429), "HTTP 429", "http_429"),
        (Verdict(unsent=(0,), reason='of "/home/ada"'), "other", "other"),
        (Verdict(unsent=(0,)), "no answer in time", "unknown"),
    ],
)
def test_the_reason_is_shown(verdict: Verdict, cause: str, label: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever an exporter says: no label that it invents, and no text of its own, is shown."""
    caplog.set_level(logging.INFO, "otel_usage")
    with Serving(Fake(lambda given: verdict)) as serving:
        status = post(serving.port, "/fake/v1/traces", traces([1]).SerializeToString())[0]
        shown = get(serving.port, "/metrics")[1]

    assert status in (429, 503)
    assert f"fake: can't deliver ({cause}); clients are told to try again" in caplog.text
    assert f'failures_total{{destination="fake",signal="traces",reason="{label}"}} 1' in shown
    assert "ada" not in shown + caplog.text


def test_what_is_dropped_by_a_refusal_is_counted_with_its_reason() -> None:
    """A vendor that answers 400: no failure of the delivery, but a loss, with its reason."""
    with Vendors(lambda vendor, body: 500) as vendors, Process(["ga4"], **vendors.environ()) as process:
        status = post(process.port, "/ga4/v1/traces", traces([1]).SerializeToString())[0]
        shown = get(process.port, "/metrics")[1]

    assert 200 == status
    assert 'rejected_total{destination="ga4",signal="traces",reason="http_500"} 1' in shown
