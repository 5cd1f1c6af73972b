"""Under ``opentelemetry-instrument``, or with `UsageInstrumentor`: a run is one span, and says nothing."""

import json
import os
import shutil
import sys

import pytest

pytest.importorskip("opentelemetry.instrumentation.auto_instrumentation")

# A provider that writes the names of spans into a file, set up as opentelemetry-instrument does before it instruments.
SITE = """
import os, sys
def write(span):
    with open(os.environ["SPANS"], "a") as file:
        file.write(span.to_json(indent=None) + chr(10))
"""
PROVIDER = """
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
import spans_file
class Exporter(SpanExporter):
    def export(self, spans):
        for span in spans: spans_file.write(span)
        return 0
    def shutdown(self): pass
def set_up(processor=BatchSpanProcessor):
    provider = TracerProvider(); provider.add_span_processor(processor(Exporter()))
    trace.set_tracer_provider(provider); metrics.set_meter_provider(MeterProvider())
"""
# In place of contrib's sitecustomize: what it does for a child, without every instrumentation of the machine.
AUTO = """
import provider; provider.set_up()
from otel_usage.otel import UsageInstrumentor
UsageInstrumentor().instrument()
"""


class Instrumented:
    def __init__(self, host):
        self.host = host
        self.folder = host.tmp / "auto"
        self.folder.mkdir()
        (self.folder / "spans_file.py").write_text(SITE)
        (self.folder / "provider.py").write_text(PROVIDER)
        self.file = host.tmp / "spans.jsonl"
        host.environ["PYTHONPATH"] += f":{self.folder}"
        host.environ.update(SPANS=str(self.file), OTEL_SERVICE_NAME="prog")

    def auto(self):
        """Instrument every Python that the program starts, as contrib's folder on PYTHONPATH does."""
        (self.folder / "sitecustomize.py").write_text(AUTO)

    @property
    def names(self):
        text = self.file.read_text() if self.file.exists() else ""
        return [json.loads(line)["name"] for line in text.splitlines()]


@pytest.fixture
def instrumented(host):
    return Instrumented(host)


PARSE = "import argparse, sys\nargparse.ArgumentParser().parse_args()\n"
CHILDREN = {
    "spawn": "import multiprocessing\nif __name__ == '__main__':\n"
    "    with multiprocessing.get_context('spawn').Pool(2) as pool: pool.map(int, range(4)); pool.close(); pool.join()\n",
    "forkserver": "import multiprocessing\nif __name__ == '__main__':\n"
    "    p = multiprocessing.get_context('forkserver').Process(target=int); p.start(); p.join()\n",
    "fork": "import os\nif os.fork() == 0: sys.exit(0)\nos.wait()\n",
    "fork in C": "import ctypes, os\nif ctypes.PyDLL(None).fork() == 0: sys.exit(0)\nos.wait()\n",
    "executor": "import multiprocessing\nfrom concurrent.futures import ProcessPoolExecutor as E\nif __name__ == '__main__':\n"
    "    with E(2, multiprocessing.get_context('spawn')) as e: list(e.map(int, range(4)))\n",
    "programs": "import subprocess\nfor _ in range(2): subprocess.run([sys.executable, '-c', 'import argparse'])\n",
    "reloader": "import os, subprocess\nif 'RUN_MAIN' not in os.environ:\n"
    "    subprocess.run([sys.executable, *sys.argv], env={**os.environ, 'RUN_MAIN': 'true'})\n",
    "an exec": "import os\nif len(sys.argv) < 3: os.execv(sys.executable, [sys.executable, '-c', 'pass'])\n",
}


@pytest.mark.parametrize("how", CHILDREN)
def test_children_are_no_runs(instrumented, how):
    """Whatever an instrumented program starts is a part of its run."""
    instrumented.auto()
    ended = instrumented.host.run(PARSE + CHILDREN[how], flags=("-W", "ignore"))

    assert (0, b"") == (ended.status, ended.err)
    assert 1 == len(instrumented.names), instrumented.names


def test_by_the_real_command(instrumented):
    """The same by ``opentelemetry-instrument`` itself, as installed, which instruments each child."""
    command = shutil.which("opentelemetry-instrument", path=os.path.dirname(sys.executable))
    if command is None:
        pytest.skip("not installed beside this interpreter")
    mark = "import otel_usage.otel, os, subprocess, sys\nprint(otel_usage.otel.UsageInstrumentor()._observer is None, flush=True)\n"
    mark += "if len(sys.argv) == 1: subprocess.run([sys.executable, 'marked.py', 'again'])\n"
    (instrumented.host.tmp / "work" / "marked.py").write_text(mark)
    none = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
    none["OTEL_SERVICE_NAME"] = "marked"
    ended = instrumented.host.run(
        "-c", "import os, sys; os.execv(sys.argv[1], sys.argv[1:])", command, sys.executable, "marked.py", env=none
    )

    assert b"False\nTrue\n" == ended.out, ended.err.decode()


SHUT_DOWN = "trace.get_tracer_provider().shutdown(); metrics.get_meter_provider().shutdown()\n"


@pytest.mark.parametrize("processor", ["BatchSpanProcessor", "SimpleSpanProcessor"])
def test_a_program_that_shuts_its_providers_down(instrumented, processor):
    """It says nothing of it, and its own log works as before."""
    source = (
        "import provider\nfrom provider import *\nprovider.set_up(" + processor + ")\n"
        "from otel_usage.otel import UsageInstrumentor\nUsageInstrumentor().instrument(app='prog')\n"
        + PARSE
        + SHUT_DOWN
        + "import atexit, logging\natexit.register(lambda: None)\nlogging.getLogger('opentelemetry.x').warning('its own')\n"
    )
    ended = instrumented.host.run(source)

    assert (0, b"its own\n") == (ended.status, ended.err)


def test_providers_made_late(instrumented):
    """A provider that the command makes, after everything of ours, still gets the run."""
    source = (
        "from otel_usage.otel import UsageInstrumentor\nUsageInstrumentor().instrument(app='prog')\n"
        + PARSE
        + "import provider\nprovider.set_up()\nsys.exit(3)\n"
    )
    ended = instrumented.host.run(source)

    assert (3, b"", ["prog"]) == (ended.status, ended.err, instrumented.names)


LATE = """
import atexit, os, sys, weakref
class Late:
    pass
late = Late()
atexit.register(lambda: otel_usage.count("n", 2))
weakref.finalize(late, lambda: otel_usage.count("n", 3))
import otel_usage
usage = otel_usage.init("prog", version="1", consent="opt-in", schema={"n": {"kind": "count", "why": "x"}, "did": {"why": "x"}})
usage.command("scan")
"""


@pytest.mark.parametrize("before", ["", "usage.count('n')\n"])
def test_exit_handlers_of_before(host, before):
    """What exit handlers record that were registered before `init`, and so run after ours, is written at once."""
    ended = host.run(LATE + before + "atexit.register(usage.action, 'did')\n")

    assert (0, b"") == (ended.status, ended.err)
    assert 5 + bool(before) == host.counts[("usage.count.n", ())]
    assert ["action", "run"] == sorted(span.attributes["usage.kind"] for span in host.spans)
