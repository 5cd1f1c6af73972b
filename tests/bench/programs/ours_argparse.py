"""Instrumented by us."""

import os

import otel_usage

otel_usage.init(
    "mycli",
    version="1.4",
    consent="opt-out",
    destinations={"otlp": os.environ.get("BENCH_ENDPOINT", "")},
    schema={
        "report.upload": {"why": "is uploading worth keeping?", "fields": {"format": ["pdf", "html"]}},
        "events.handled": {"kind": "count", "why": "load per channel", "fields": {"channel": ["slack", "discord"]}},
    },
)

from .argparse_tool import cli  # noqa: E402


def main():
    """Run it."""
    cli()
