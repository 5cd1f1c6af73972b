"""A real Collector before a relay whose settings are wrong: nothing is lost, and nothing is doubled, once they are mended."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.collector.gateway import Gateway
from tests.collector.harness import get, post, traces
from tests.server.serving import Process
from tests.server.vendors import Vendors

RUNS = 60
NAMES = ("ga4", "segment")
WAIT_S = 150.0  # the relay asks for a minute's patience, and the Collector has some of its own


@pytest.mark.skipif(not os.environ.get("OTEL_USAGE_SLOW"), reason="takes minutes; set OTEL_USAGE_SLOW=1")
@pytest.mark.timeout(400)
@pytest.mark.parametrize("killed", [False, True], ids=["waits", "both-killed"])
def test_what_a_wrong_key_refuses_arrives_once_when_mended(otelcol: str, tmp_path: Path, killed: bool) -> None:
    """401 from both vendors is 503 to the Collector, which holds all of it; mended, each run is at each vendor once.

    killed: Collector and relay, with SIGKILL, while the keys are wrong; they come back from what they have on disk.
    """
    keys_are_wrong = True
    refused: set[str] = set()
    began_ns = time.time_ns() - 10**9  # each run has a time of its own, by which GA4's events are told apart

    def answer(vendor: str, body: Any) -> int:
        if keys_are_wrong:
            refused.add(vendor)
        return 401 if keys_are_wrong else 200

    with (
        Vendors(answer) as vendors,
        Process(list(NAMES), "--state", str(tmp_path / "relay"), **vendors.environ()) as relay,
    ):
        environ = {
            "BACKEND_OTLP_ENDPOINT": "http://127.0.0.1:9",
            "RELAY_ENDPOINT": f"http://127.0.0.1:{relay.port}",
            "FAN_OUT_TO": "[otlp_http/ga4, otlp_http/segment]",
        }
        with Gateway(otelcol, tmp_path, ("gateway.yaml", "fan-out.yaml"), **environ) as gateway:
            for first in range(0, RUNS, 10):
                request = traces(range(first, first + 10), began_ns=began_ns)
                assert 200 == post(gateway.http, "/v1/traces", request.SerializeToString())[0]
            vendors.wait(lambda: refused == set(NAMES))
            if killed:
                gateway.kill()
                relay.end(signal.SIGKILL)
                relay.start()
                gateway.start()
            with vendors.changed:
                keys_are_wrong = False

            vendors.wait(lambda: len(vendors.ga4) == len(vendors.segment) == RUNS, WAIT_S)

            gateway.stop()
            shown = get(relay.port, "/metrics")[1]

    assert {1} == set(vendors.ga4.values()) == set(vendors.segment.values())
    for name in NAMES:
        assert f'sent_total{{destination="{name}",signal="traces"}} {RUNS}' in shown
        assert f'rejected_total{{destination="{name}"' not in shown
