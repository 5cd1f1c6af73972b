"""run.sh: a variable whose name or value is wrong, which the Collector ignores or answers in riddles, is named at once."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.collector.gateway import CONFIG
from tests.collector.test_collector_run import BACKEND, ran

NAMES = sorted({name for file in CONFIG.glob("*.yaml") for name in re.findall(r"\$\{env:(\w+)", file.read_text())})
BOTH = ("--validate", "gateway.yaml", "fan-out.yaml")


@pytest.fixture
def collector(tmp_path: Path) -> str:
    """Return the path of a program that stands for the Collector: run.sh is what is tested, and needs no built one."""
    program = tmp_path / "collector"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return str(program)


def refused(collector: str, environ: Mapping[str, str]) -> str:
    """Return what run.sh says to *environ*, "" if it goes on to the Collector."""
    status, said = ran("run.sh", *BOTH, **{"OTELCOL": collector, **BACKEND, **environ})
    assert status == (2 if said else 0)
    return said


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("GATEWAY_HTPT", "GATEWAY_HTTP"),
        ("GATEWAY_http", "GATEWAY_HTTP"),
        ("GATEWAY_TLS_CERTIFICATE", "GATEWAY_TLS_CERT"),
        ("GATEWAY_FSYNC2", "GATEWAY_FSYNC"),
        ("GATWAY_STORAGE", "GATEWAY_STORAGE"),
        ("FAN_OUT_DESTINATIONS", "FAN_OUT_TO"),
        ("FANOUT_TO", "FAN_OUT_TO"),
        ("RELAY_ENDPIONT", "RELAY_ENDPOINT"),
        ("BACKEND_OLTP_HEADERS", "BACKEND_OTLP_HEADERS"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(collector: str, name: str, nearest: str) -> None:
    """What begins as the gateway's variables do, or is two letters from one, is a mistake that would go unnoticed."""
    said = refused(collector, {name: "1"})

    assert f"run.sh: {name} is no variable of these files; the nearest is {nearest}, and README.md has all\n" == said


def test_each_name_of_the_files_is_known(collector: str) -> None:
    """No variable that a file names, of whichever file, is refused for its name."""
    values = {"FAN_OUT_TO": "[otlp_http/segment]", "BACKEND_OTLP_ENDPOINT": "http://h", "RELAY_ENDPOINT": "http://h"}
    values |= {"BACKEND_OTLP_HEADERS": "{a: b}", "RELAY_HEADERS": "{}", "GATEWAY_STORAGE": "/s", "GATEWAY_TOKEN": "t"}
    values |= dict.fromkeys(("GATEWAY_HTTP", "GATEWAY_GRPC", "GATEWAY_HEALTH"), "127.0.0.1:1")

    assert "" == refused(collector, {name: values.get(name, "1") for name in NAMES})


def test_names_of_others_are_left_alone(collector: str) -> None:
    """Kubernetes sets variables for each Service of a namespace; RELAY_ and BACKEND_ begin the names of others too."""
    service = {
        "GATEWAY_SERVICE_HOST": "10.0.0.1",
        "GATEWAY_SERVICE_PORT": "4318",
        "GATEWAY_SERVICE_PORT_OTLP_HTTP": "4318",
        "GATEWAY_PORT": "tcp://10.0.0.1:4318",
        "GATEWAY_PORT_4318_TCP": "tcp://10.0.0.1:4318",
        "GATEWAY_PORT_4318_TCP_ADDR": "10.0.0.1",
        "GATEWAY_USAGE_SERVICE_HOST": "10.0.0.2",
        "RELAY_PORT": "tcp://10.0.0.3:4319",
        "RELAY_MODE": "managed",
        "BACKEND_URL": "x",
    }

    assert "" == refused(collector, service)
    assert "GATEWAY_METRICS_PORT='tcp://10.0.0.1:8888' is not a number" in refused(
        collector, {"GATEWAY_METRICS_PORT": "tcp://10.0.0.1:8888"}
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("segment", "is not a YAML list"),
        ("otlp_http/segment", "is not a YAML list"),
        (
            "[segment]",
            "names 'segment'; there are otlp_http/backend, otlp_http/ga4, otlp_http/segment, otlp_http/posthog",
        ),
        ("[otlp_http/backend, otlp_http/sgement]", "names 'otlp_http/sgement'"),
        ("[otlp_http/.*]", "names 'otlp_http/.*'"),
        ("[]", "names 'nothing'"),
        ("['otlp_http/segment', \"otlp_http/backend\"]", ""),
        ("- otlp_http/ga4", ""),
    ],
)
def test_where_it_fans_out_to(collector: str, otelcol: str, value: str, expected: str) -> None:
    """A list of exporters that there are; run.sh and the Collector agree on which values are one."""
    said = refused(collector, {"FAN_OUT_TO": value})

    assert (expected in said) if expected else said == ""
    assert (0 == by_the_collector(otelcol, FAN_OUT_TO=value)) == (not expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('{x-api-key: "12345"}', ""),
        ('{authorization: "Bearer a,b:1,"}', ""),
        ("{a: 12ab, b: 1.2.3, c: yes, d: null}", ""),
        ("x-api-key: secret", ""),
        ("{}", ""),
        ("{x-api-key: 12345}", "not text"),
        ("{a: s3cret, b: 1e3}", "not text"),
        ("{a: 0x1f}", "not text"),
        ("{a: -5}", "not text"),
        ("{a: true}", "not text"),
        ("x-api-key: 5", "not text"),
        ("s3cret", "not a YAML map"),
        ("[s3cret]", "is a YAML list"),
    ],
)
def test_headers(collector: str, otelcol: str, value: str, expected: str) -> None:
    """A map of text to text; run.sh and the Collector agree on which values are one. What they hold is not shown."""
    for name in ("BACKEND_OTLP_HEADERS", "RELAY_HEADERS"):
        said = refused(collector, {name: value})

        assert (said.startswith(f"run.sh: {name} ") and expected in said) if expected else said == ""
        assert "s3cret" not in said
        assert (0 == by_the_collector(otelcol, **{name: value})) == (not expected)


def by_the_collector(otelcol: str, **environ: str) -> int:
    """Return the exit code of the Collector's own look at the files."""
    files = [str(CONFIG / file) for file in ("gateway.yaml", "fan-out.yaml")]
    return subprocess.run(
        [otelcol, "validate", *(f"--config={file}" for file in files)],
        env={**BACKEND, **environ},
        capture_output=True,
        check=False,
    ).returncode
