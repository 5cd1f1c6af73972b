"""Instrumented with segment-analytics-python, as its documentation does it: one event."""

import os

import segment.analytics as analytics

from .click_tool import cli

analytics.write_key = "bench"
analytics.host = os.environ["BENCH_ENDPOINT"]


def main():
    """Run it."""
    analytics.track(anonymous_id="5ac7bdd0-bench", event="report upload", properties={"version": "1.4"})
    cli()
