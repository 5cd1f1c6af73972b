"""Chaos with real hosts, senders and vendors: see tests/bench/chaos.py, which runs hundreds; some here, with OTEL_USAGE_SLOW=1."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bench.chaos import run

HOSTS = 100


@pytest.mark.skipif(not os.environ.get("OTEL_USAGE_SLOW"), reason="takes a minute; set OTEL_USAGE_SLOW=1")
@pytest.mark.timeout(600)
def test_hosts_and_senders_die_while_vendors_fail(tmp_path: Path) -> None:
    """GA4 at most once, Segment and OTLP at least once, each run accounted for, nothing left behind."""
    chaos = run(tmp_path, HOSTS, seed=7)

    assert chaos.events["hosts"] > HOSTS
    assert chaos.on_disk
