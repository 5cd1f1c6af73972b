"""The hint that nothing was exported is seen where a person looks, once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import logging, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from otel_usage_exporters.ga4 import GA4SpanExporter

logs = sys.argv[1]
class Elsewhere(logging.Handler):
    def emit(self, record):
        pass
if logs == "elsewhere":  # as OpenTelemetry's instrumentation of logging does
    logging.getLogger().addHandler(Elsewhere())
if logs == "stderr":
    logging.basicConfig(level=logging.DEBUG)
if logs == "quiet":
    logging.getLogger().setLevel(logging.ERROR)
if logs == "closed":
    sys.stderr.close()
if logs == "none":
    sys.stderr = None
for _ in range(2):  # two providers, as a program's two workers may have
    provider = TracerProvider()
    exporter = GA4SpanExporter(measurement_id="G-AB12CD", api_secret="x", folder="")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for _ in range(3):
        provider.get_tracer("t").start_span("GET /").end()
print("done")
"""


@pytest.mark.parametrize(
    ("logs", "times"), [("default", 1), ("elsewhere", 1), ("stderr", 1), ("quiet", 0), ("closed", 0), ("none", 0)]
)
def test_the_hint(logs, times, tmp_path):
    """Once on stderr whatever handlers the program has; not at all where it wants no warnings or has no stderr."""
    environ = {**os.environ, "OTEL_USAGE_HOME": str(tmp_path)}

    done = subprocess.run([sys.executable, "-c", PROGRAM, logs], env=environ, capture_output=True, text=True)

    assert ("done\n", 0) == (done.stdout, done.returncode)
    assert times == done.stderr.count("OTEL_EXPORTER_GA4_SPANS=all")
    assert "" == "".join(line for line in done.stderr.splitlines() if "SPANS=all" not in line)
