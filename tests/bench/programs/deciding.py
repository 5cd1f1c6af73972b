"""The gate alone: who decides, as often as BENCH_TIMES says."""

import os

import otel_usage


def main():
    """Run it."""
    for _ in range(int(os.environ["BENCH_TIMES"])):
        otel_usage._load("consent.gate").decide("mycli", "opt-out", 1, os.environ)
