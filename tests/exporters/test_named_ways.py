"""The vendors besides GA4 and Segment by variables, by a configuration file and in code, each with the real SDK; and wrong settings."""

from __future__ import annotations

import inspect
import json
import logging
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from otel_usage_exporters.exporting import Lenient
from otel_usage_exporters.visitor import visitor_id

from otel_usage import SettingError

from .named_vendors import KEY, OTHERS, VISITS
from .servers import counter, metrics, point, run
from .test_four_ways import PROGRAM, declarative
from .test_public_classes import COMMON

every_vendor = pytest.mark.parametrize("of", OTHERS.values(), ids=OTHERS)


def variables(urls):
    environ = {}
    for name, of in OTHERS.items():
        for key, value in {**of.settings, "endpoint": urls[name]}.items():
            environ[f"OTEL_EXPORTER_{name.upper()}_{key.upper()}"] = str(value)
    return environ


@pytest.fixture
def start(tmp_path):
    """Run the program under opentelemetry-instrument, with variables; return what it said on stderr."""

    def start(**environ):
        (tmp_path / "host.py").write_text(PROGRAM)
        variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "OTEL_USAGE_HOME": str(tmp_path / "home")}
        variables |= {"PYTHONDONTWRITEBYTECODE": "1", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*,usage"}
        command = [str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable, "host.py"]
        ended = subprocess.run(
            command, env={**variables, **environ}, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert "done\n" == ended.stdout, ended.stderr
        assert KEY not in ended.stderr
        return ended.stderr

    return start


@pytest.fixture
def servers(serve):
    return {name: serve((200, {}, b"{}")) for name in OTHERS}


def names_at(servers):
    return {
        name: sorted(OTHERS[name].name(e) for e in OTHERS[name].received(server)) for name, server in servers.items()
    }


def test_variables(start, servers):
    """``OTEL_TRACES_EXPORTER`` and ``OTEL_METRICS_EXPORTER`` name them, all at once; nothing is said."""
    urls = {name: server.url for name, server in servers.items()}

    stderr = start(
        OTEL_SERVICE_NAME="mycli",
        OTEL_TRACES_EXPORTER=",".join(OTHERS),
        OTEL_METRICS_EXPORTER=",".join(OTHERS),
        OTEL_LOGS_EXPORTER="none",
        **variables(urls),
    )

    assert "" == stderr
    assert {name: ["Command Run", "Hits"] for name in OTHERS} == names_at(servers)
    ids = {of.who(event) for name, of in OTHERS.items() for event in of.received(servers[name])}
    assert 1 + len(VISITS) == len(ids)


@declarative
def test_a_configuration_file(start, servers, tmp_path):
    """``OTEL_CONFIG_FILE``: each with its keywords; one that is wrong is one error, and the others work."""
    entries = {name: {**of.settings, "endpoint": servers[name].url} for name, of in OTHERS.items()}
    document = {
        "file_format": "1.1",
        "resource": {"attributes": [{"name": "service.name", "value": "mycli"}]},
        "tracer_provider": {"processors": [{"batch": {"exporter": {name: of}}} for name, of in entries.items()]},
        "meter_provider": {
            "readers": [{"periodic": {"exporter": {name: {**of, "drived": True}}}} for name, of in entries.items()]
        },
    }
    (tmp_path / "otel.yaml").write_text(json.dumps(document))

    stderr = start(OTEL_CONFIG_FILE=str(tmp_path / "otel.yaml"))

    assert {name: ["Command Run"] for name in OTHERS} == names_at(servers)
    assert len(OTHERS) == stderr.count("unknown setting drived")


def test_code(servers):
    """Behind a BatchSpanProcessor and a PeriodicExportingMetricReader."""
    about = Resource({"service.name": "mycli", "app.installation.id": "i-1-2-3"})
    tracers, readers = TracerProvider(resource=about), []
    for name, of in OTHERS.items():
        tracers.add_span_processor(BatchSpanProcessor(of.exporter(servers[name].url)))
        exporter = of.exporter(servers[name].url, counts=True)
        readers.append(PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000))
    meters = MeterProvider(readers, resource=about)

    with tracers.get_tracer("host").start_as_current_span("mycli scan") as span:
        span.set_attributes({"usage.kind": "run", "usage.command": "scan", "usage.outcome": "success"})
    meters.get_meter("host").create_counter("usage.count.hits").add(3)
    tracers.shutdown()
    meters.shutdown()

    assert {name: ["Command Run", "Hits"] for name in OTHERS} == names_at(servers)
    for name, of in OTHERS.items():
        expected = visitor_id(name, "i-1-2-3") if name in VISITS else "i-1-2-3"
        assert {expected} == {of.who(event) for event in of.received(servers[name])}


@every_vendor
def test_keywords_are_named_and_typed(of):
    """In code every setting is a keyword with a type, each has a variable, and those that are of all are there."""
    parameters = inspect.signature(of.span_exporter).parameters
    group = entry_points(group="opentelemetry_environment_variables", name=of.vendor)
    names = {name for name in dir(next(iter(group)).load()) if name.startswith("OTEL_")}

    assert list(COMMON) == list(parameters)[-len(COMMON) :]
    assert COMMON.items() <= {name: parameter.annotation for name, parameter in parameters.items()}.items()
    assert all(parameter.annotation.endswith("| None") for parameter in parameters.values())
    assert str(inspect.signature(of.span_exporter)) == str(inspect.signature(of.metric_exporter))
    assert {f"OTEL_EXPORTER_{of.vendor.upper()}_{name.upper()}" for name in parameters} == names


@every_vendor
def test_entry_points_name_lenient_classes(of):
    """What a configuration names takes any keyword, and is of the kind that code names."""
    for signal, kind in (("traces", of.span_exporter), ("metrics", of.metric_exporter)):
        [point_] = entry_points(group=f"opentelemetry_{signal}_exporter", name=of.vendor)
        assert issubclass(point_.load(), Lenient)
        assert issubclass(point_.load(), kind)


@every_vendor
def test_a_wrong_setting(of, caplog):
    """In code it is an error that names the variable and no value; without any keyword it is one line, and nothing is lost track of."""
    for wrong in ({"names": "a"}, {"endpoint": "http://example.org"}, {of.one: of.refused}, {"nonsense": 1}):
        with pytest.raises((SettingError, TypeError)) as raised:
            of.span_exporter(**{**of.settings, "endpoint": "https://example.org", **wrong})
        assert KEY not in str(raised.value)
    with pytest.raises(SettingError, match=f"OTEL_EXPORTER_{of.vendor.upper()}_"):
        of.span_exporter(folder="")

    inert = of.metric_exporter()
    verdict = inert.deliver(metrics(counter("usage.count.a", [point(1)])))

    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "is not set: expected" in record.getMessage()
    assert {"misconfigured": 1} == verdict.dropped


@every_vendor
def test_what_is_shown_has_no_key(of):
    """``requests_for`` shows the bytes that would be sent, but for the keys, and sends none."""
    exporter = of.exporter("https://example.org")

    [(method, address, headers, body)] = exporter.requests_for([run()])

    assert "POST" == method
    assert KEY not in repr((address, headers, body))
    assert (KEY in of.settings.values()) == ("REDACTED" in repr((address, headers, body)))
    assert "Command Run" == of.name(of.listed(json.loads(body))[0])
    assert KEY not in repr(exporter)
