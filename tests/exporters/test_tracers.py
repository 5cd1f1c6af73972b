"""With real tools at work, no key is in anything that they have: Sentry, OpenTelemetry, ddtrace, Elastic APM, New Relic."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..hosts import ROOT

KEY = "T0P-s3cr3t-gaga9"
TRACERS = ROOT / "build" / "tracers" / "bin" / "python"  # `make tracers`
slow = pytest.mark.skipif(not os.environ.get("OTEL_USAGE_SLOW"), reason="slow: OTEL_USAGE_SLOW=1")
there = pytest.mark.skipif(not TRACERS.exists(), reason="make tracers")


def seen_by(python, tool, way, serve, tmp_path):
    """Return all that *tool* has of a program that exports, and how many requests arrived."""
    server = serve((200, {}, b"{}"))
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "OTEL_USAGE_HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "KEY": KEY,
    }
    command = [str(python), str(Path(__file__).with_name("traced.py")), tool, server.url, way]

    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=100)

    assert 0 == done.returncode, done.stderr
    text, n = json.loads(done.stdout.splitlines()[-1])
    assert n > 0
    assert ["/v1/traces"] == [path for path, _, _ in server.requests[3:]]
    return text + done.stderr + done.stdout


@pytest.mark.parametrize("way", ["deliver", "export"])
@pytest.mark.parametrize(
    ("python", "tool"),
    [
        pytest.param(sys.executable, "sentry", id="sentry"),
        *[
            pytest.param(TRACERS, tool, id=tool + "-pinned", marks=[slow, there])
            for tool in ("sentry", "opentelemetry", "ddtrace", "elastic", "newrelic")
        ],
    ],
)
def test_no_tool_has_a_key(python, tool, way, serve, tmp_path):
    """Spans, breadcrumbs, errors with their variables, and logs of the tool hold the requests' addresses, and no key."""
    text = seen_by(python, tool, way, serve, tmp_path)

    assert "/mp/collect" in text
    assert "/v1/traces" in text
    for form in (KEY, base64.b64encode(f"{KEY}:".encode()).decode()):
        assert form not in text, text[max(0, text.index(form) - 300) : text.index(form) + 50]
