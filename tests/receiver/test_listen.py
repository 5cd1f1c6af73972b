"""The receiver shows what arrives, and answers as a careful server would."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from otel_usage.receiver.arrival import Arrival
from otel_usage.receiver.server import Listener

from ..spools import run_line


def test_otlp_json_and_gzip(listener: tuple[Listener, list[Arrival]]) -> None:
    """A line of the spool is a valid request; one readable line comes of it."""
    server, arrived = listener
    body = gzip.compress(run_line()[2])

    answer = requests.post(
        server.address + "/v1/traces",
        body,
        headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
        timeout=5,
    )

    assert (200, {}) == (answer.status_code, answer.json())
    (line,) = arrived[0].lines()
    assert "prog report upload" in line
    assert "usage.outcome=success" in line


@pytest.mark.parametrize(
    ("path", "kind", "body", "status"),
    [
        ("/v1/traces", "application/json", b"{", 400),
        ("/v1/traces", "application/json", b"[]", 400),
        ("/v1/traces", "application/x-protobuf", b"\xff\xff", 400),
        ("/v1/traces", "text/plain", b"x", 415),
        ("/v1/logs", "application/json", b"{}", 404),
        ("/", "application/json", b"{}", 404),
    ],
)
def test_what_is_not_otlp_is_refused(
    listener: tuple[Listener, list[Arrival]], path: str, kind: str, body: bytes, status: int
) -> None:
    """The status says why; nothing is shown."""
    server, arrived = listener

    answer = requests.post(server.address + path, body, headers={"Content-Type": kind}, timeout=5)

    assert status == answer.status_code
    assert [] == arrived


def test_ga4_is_played_and_its_rules_shown(listener: tuple[Listener, list[Arrival]]) -> None:
    """204 whatever comes, as the real thing, but a broken rule is shown."""
    server, arrived = listener
    body = {"client_id": "1.2", "events": [{"name": "_bad", "params": {"session_id": 1, "engagement_time_msec": 1}}]}

    answer = requests.post(server.address + "/mp/collect?measurement_id=G-ABC&api_secret=x", json=body, timeout=5)
    debug = requests.post(server.address + "/debug/mp/collect?measurement_id=G-ABC&api_secret=x", json=body, timeout=5)

    assert 204 == answer.status_code
    assert "NOT VALID" in "\n".join(arrived[0].lines())
    assert "NAME_INVALID" == debug.json()["validationMessages"][0]["validationCode"]


def test_segment_is_played(listener: tuple[Listener, list[Arrival]]) -> None:
    """200 for what Segment would take."""
    server, arrived = listener
    message = {
        "type": "track",
        "event": "Command Run",
        "anonymousId": "a",
        "messageId": "m",
        "timestamp": "2026-01-01T00:00:00Z",
    }

    answer = requests.post(server.address + "/v1/batch", json={"batch": [message], "writeKey": "k"}, timeout=5)

    assert {"success": True} == answer.json()
    assert "Command Run" in arrived[0].lines()[0]


def test_the_command_prints_and_keeps(tmp_path: Path) -> None:
    """``otel-usage listen --jsonl FILE``, as it is typed."""
    file = tmp_path / "out.jsonl"
    running = subprocess.Popen(
        [sys.executable, "-m", "otel_usage.cli", "listen", "--port", "0", "--jsonl", str(file)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    address = running.stdout.readline().split()[2]

    requests.post(address + "/v1/traces", run_line()[2], headers={"Content-Type": "application/json"}, timeout=5)
    line = running.stdout.readline()

    running.terminate()
    running.communicate(timeout=10)
    assert "prog report upload" in line
    assert "resourceSpans" in json.loads(file.read_text())


def test_a_port_that_is_taken(listener: tuple[Listener, list[Arrival]]) -> None:
    """It says what to do."""
    port = listener[0].server_address[1]

    ended = subprocess.run(
        [sys.executable, "-m", "otel_usage.cli", "listen", "--port", str(port)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 1 == ended.returncode
    assert "" == ended.stdout
    assert "pass another with --port" in ended.stderr
