"""Instrumented with posthog, as its documentation does it: one event."""

import os

from posthog import Posthog

from .click_tool import cli

client = Posthog("phc_bench", host=os.environ["BENCH_ENDPOINT"])


def main():
    """Run it."""
    client.capture("report upload", distinct_id="5ac7bdd0-bench", properties={"version": "1.4"})
    cli()
