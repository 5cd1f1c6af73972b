"""Three of the four ways to use the exporters, each with the real SDK: variables, a configuration file, code."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from otel_usage_exporters.ga4 import GA4MetricExporter, GA4SpanExporter
from otel_usage_exporters.segment import SegmentMetricExporter, SegmentSpanExporter

from otel_usage import SettingError
from otel_usage.receiver import ga4 as ga4_wire
from otel_usage.receiver import segment as segment_wire

from ..hosts import ROOT

SECRET = "sh-secret-9"
PROGRAM = """
from opentelemetry import metrics, trace

with trace.get_tracer("host").start_as_current_span("mycli scan") as span:
    span.set_attributes({"usage.kind": "run", "usage.command": "scan", "usage.outcome": "success"})
with trace.get_tracer("host").start_as_current_span("GET /"):
    pass
metrics.get_meter("host").create_counter("usage.count.hits").add(3, {"usage.field.channel": "slack"})
print("done")
"""


class Everything:
    """A server that plays GA4, Segment and an OTLP receiver, each by its path."""

    def __init__(self, serve):
        self.server = serve()
        self.server.reply = self.reply
        self.url = self.server.url
        self.problems = []
        self.events = []
        self.messages = []
        self.otlp = []

    def reply(self, path, headers, body):
        if path.startswith("/mp/collect"):
            status, told, text, problems = ga4_wire.answer(path, "", body)
            self.events += json.loads(body)["events"]
        elif path == "/v1/batch":
            status, told, text, problems = segment_wire.answer(path, headers, body)
            self.messages += json.loads(gzip.decompress(body))["batch"]
        else:
            status, told, text, problems = 200, {"Content-Type": "application/x-protobuf"}, b"", []
            self.otlp.append((path, body))
        self.problems += problems
        return status, told, text

    @property
    def names(self):
        """Names of what arrived at GA4 and at Segment."""
        tracks = [message["event"] for message in self.messages if message["type"] == "track"]
        return sorted(event["name"] for event in self.events), sorted(tracks)


@pytest.fixture
def everything(serve):
    made = Everything(serve)
    yield made
    assert [] == made.problems


@pytest.fixture
def start(tmp_path):
    """Run a program under opentelemetry-instrument as a user would; return what it printed."""

    def run(program, **variables):
        file = tmp_path / "host.py"
        file.write_text(program)
        keep = {name: os.environ[name] for name in ("PATH", "COVERAGE_PROCESS_START") if name in os.environ}
        environ = {
            **keep,
            "HOME": str(tmp_path),
            "OTEL_USAGE_HOME": str(tmp_path / "home"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = [str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable, str(file)]
        done = subprocess.run(
            command, env={**environ, **variables}, capture_output=True, text=True, timeout=60, check=False
        )
        assert "done\n" == done.stdout, done.stderr
        assert SECRET not in done.stderr
        return done.stderr

    return run


def zero_code(url):
    return {
        "OTEL_SERVICE_NAME": "mycli",
        "OTEL_TRACES_EXPORTER": "ga4,segment,otlp",
        "OTEL_METRICS_EXPORTER": "ga4,segment",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*,usage",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_GA4_MEASUREMENT_ID": "G-AB12CD",
        "OTEL_EXPORTER_GA4_API_SECRET": SECRET,
        "OTEL_EXPORTER_GA4_ENDPOINT": url,
        "OTEL_EXPORTER_SEGMENT_WRITE_KEY": SECRET,
        "OTEL_EXPORTER_SEGMENT_ENDPOINT": url,
    }


def test_variables(everything, start):
    """OTEL_TRACES_EXPORTER=ga4,segment,otlp: usage reaches the vendors, everything reaches the OTLP receiver."""
    told = start(PROGRAM, **zero_code(everything.url))

    assert (["command_run", "hits"], ["Command Run", "Hits"]) == everything.names
    [(path, body)] = everything.otlp
    spans = ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
    assert ("/v1/traces", ["mycli scan", "GET /"]) == (path, [span.name for span in spans])
    assert "" == told
    identified = [message for message in everything.messages if message["type"] == "identify"]
    assert 1 <= len(identified) <= 2  # the exporters of spans and of metrics work at once
    assert 1 == len({message["anonymousId"] for message in everything.messages})


def test_variables_that_are_wrong(everything, start):
    """GA4 without its secret is one error; Segment, OTLP and the program go on."""
    variables = zero_code(everything.url)
    del variables["OTEL_EXPORTER_GA4_API_SECRET"]

    told = start(PROGRAM, **variables)

    assert ([], ["Command Run", "Hits"]) == everything.names
    assert 1 == len(everything.otlp)
    assert 1 == told.count("OTEL_EXPORTER_GA4_API_SECRET (api_secret=) is not set: expected a Measurement Protocol")
    assert "Traceback" not in told


CONFIGURATION = """
    file_format: "1.1"
    resource:
      attributes:
        - {{name: service.name, value: mycli}}
    tracer_provider:
      processors:
        - batch:
            exporter:
              ga4: {{measurement_id: {measurement_id}, api_secret: {secret}, endpoint: "{url}", screens: page_view}}
        - batch:
            exporter:
              segment: {{write_key: {secret}, endpoint: "{url}", names: {{hits: Hits Seen}}, timeout_s: 5}}
    meter_provider:
      readers:
        - periodic:
            exporter:
              ga4: {{measurement_id: {measurement_id}, api_secret: {secret}, endpoint: "{url}"}}
        - periodic:
            exporter:
              segment: {{write_key: {secret}, endpoint: "{url}", names: {{hits: Hits Seen}}, {more}}}
"""


declarative = pytest.mark.skipif(
    importlib.util.find_spec("opentelemetry.configuration") is None,
    reason="no declarative configuration in this OpenTelemetry",
)


@declarative
@pytest.mark.parametrize(
    ("measurement_id", "more", "expected", "error"),
    [
        ("G-AB12CD", "derived: false", (["command_run", "hits", "page_view"], ["Command Run", "Hits Seen"]), ""),
        (
            "oops",
            "derived: false",
            ([], ["Command Run", "Hits Seen"]),
            "OTEL_EXPORTER_GA4_MEASUREMENT_ID (measurement_id=) can't be used",
        ),
        (
            "G-AB12CD",
            "drived: false",
            (["command_run", "hits", "page_view"], ["Command Run"]),
            "unknown setting drived",
        ),
    ],
)
def test_a_configuration_file(everything, start, tmp_path, measurement_id, more, expected, error):
    """OTEL_CONFIG_FILE with our exporters; a wrong setting is one error, and the others work."""
    file = tmp_path / "otel.yaml"
    text = textwrap.dedent(CONFIGURATION)
    file.write_text(text.format(measurement_id=measurement_id, more=more, secret=SECRET, url=everything.url))

    told = start(PROGRAM, OTEL_CONFIG_FILE=str(file), OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="*,usage")

    assert expected == everything.names, told
    assert told.count(error) == (1 if error else len(told) + 1)


@declarative
def test_lists_in_a_configuration_file(everything, start, tmp_path):
    """``spans`` and ``attributes`` are lists there, as in code."""
    file = tmp_path / "otel.yaml"
    lists = "spans: [http, order.*], attributes: [http.route], folder: ''"
    text = textwrap.dedent(CONFIGURATION).replace("timeout_s: 5", lists)
    file.write_text(text.format(measurement_id="G-AB12CD", more="derived: false", secret=SECRET, url=everything.url))

    stderr = start(PROGRAM, OTEL_CONFIG_FILE=str(file), OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="*,usage")

    assert (["command_run", "hits", "page_view"], ["Command Run", "Hits Seen", "Http"]) == everything.names, stderr


@declarative
def test_the_configuration_file_of_the_documentation(everything, start, tmp_path):
    """docs/exporters.md, as it stands but for the addresses: traces and counts, under the name that it gives."""
    text = (ROOT / "docs" / "exporters.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    for key in ("measurement_id:", "write_key:"):
        text = text.replace("{" + key, f'{{endpoint: "{everything.url}", {key}')
    file = tmp_path / "otel.yaml"
    file.write_text(text)

    told = start(
        PROGRAM,
        OTEL_CONFIG_FILE=str(file),
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="*,usage",
        GA4_API_SECRET=SECRET,
        SEGMENT_WRITE_KEY=SECRET,
    )

    assert (["command_run", "hits", "page_view"], ["Command Run", "Hits"]) == everything.names, told
    assert {"mycli"} == {e["params"]["app"] for e in everything.events if e["name"] == "command_run"}


def test_a_wrong_setting_in_code():
    """A keyword that is given makes it an error; with none it is one line in the log, as the documentation says."""
    with pytest.raises(SettingError, match="api_secret"):
        GA4SpanExporter(measurement_id="G-AB12CD34EF")

    made = GA4SpanExporter()

    assert "OTEL_EXPORTER_GA4_MEASUREMENT_ID (measurement_id=) is not set" in made.problem


def test_code(everything):
    """In code, behind a BatchSpanProcessor and a PeriodicExportingMetricReader."""
    about = Resource({"service.name": "mycli", "app.installation.id": "i-1"})
    ga4 = {"measurement_id": "G-AB12CD", "api_secret": SECRET, "endpoint": everything.url}
    segment = {"write_key": SECRET, "endpoint": everything.url}
    tracers = TracerProvider(resource=about)
    tracers.add_span_processor(BatchSpanProcessor(GA4SpanExporter(**ga4)))
    tracers.add_span_processor(BatchSpanProcessor(SegmentSpanExporter(**segment)))
    readers = [
        PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
        for exporter in (GA4MetricExporter(**ga4), SegmentMetricExporter(**segment))
    ]
    meters = MeterProvider(readers, resource=about)
    hits = meters.get_meter("host").create_counter("usage.count.hits")

    with tracers.get_tracer("host").start_as_current_span("mycli scan") as span:
        span.set_attributes({"usage.kind": "run", "usage.command": "scan", "usage.outcome": "success"})
    for n in (3, 4):
        hits.add(n)
        hits.add(1)
        meters.force_flush()
    tracers.shutdown()
    meters.shutdown()

    assert (["command_run", "hits", "hits"], ["Command Run", "Hits", "Hits"]) == everything.names
    counts = [event["params"]["count"] for event in everything.events if event["name"] == "hits"]
    assert [4, 5] == counts  # one event per interval, not per increment, and no sum since the start
    assert {"i-1"} == {message["anonymousId"] for message in everything.messages}


def test_posting_is_not_traced(everything):
    """Our own requests are no spans of the program: an instrumented HTTP library leaves them out."""
    from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, get_value

    seen = []
    import otel_usage_exporters.exporting as exporting

    class Seeing(exporting.Post):
        def __call__(self, *args, **kwargs):
            seen.append(get_value(_SUPPRESS_INSTRUMENTATION_KEY))
            return super().__call__(*args, **kwargs)

    original, exporting.Post = exporting.Post, Seeing
    try:
        from .servers import run

        SegmentSpanExporter(write_key=SECRET, endpoint=everything.url, folder="").deliver([run()])
    finally:
        exporting.Post = original

    assert [True] == seen
