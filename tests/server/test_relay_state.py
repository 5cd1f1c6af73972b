"""A relay with ``--state``: a restart, and a kill, forget neither GA4's sessions nor which traits Segment was sent."""

from __future__ import annotations

import signal
import time
from collections import Counter, defaultdict
from pathlib import Path

from otel_usage.server.workers import load_destination
from tests.collector.harness import DEADLINE_S, post, traces
from tests.server.serving import Process
from tests.server.vendors import Vendors

MINUTE_NS = 60 * 10**9
NAMES = ("ga4", "segment")


def installation(n: int) -> str:
    """Return the id of an installation."""
    return f"4f8b12f2-92a8-4d67-8a8a-{n:012x}"


def send(process: Process, number: int, who: int, began_ns: int) -> None:
    """Post one run of an installation."""
    body = traces([number], installation=installation(who), began_ns=began_ns - number * 1_000)
    assert 200 == post(process.port, "/v1/traces", body.SerializeToString())[0]


def test_sessions_and_traits_outlive_the_relay(tmp_path: Path) -> None:
    """Killed without a word, or stopped: each of its installations has one session, and its traits are sent once."""
    now_ns = time.time_ns()
    with Vendors() as vendors:
        vendors.keep = True
        for turn, how in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGKILL)):
            with Process(NAMES, "--state", str(tmp_path), **vendors.environ()) as process:
                for who in range(3):
                    send(process, 10 * turn + who, who, now_ns - (7 - turn) * MINUTE_NS)
                process.end(how)
        sessions: dict[str, set[int]] = defaultdict(set)
        identified: Counter[str] = Counter()
        for vendor, body in vendors.bodies:
            if vendor == "ga4":
                sessions[body["client_id"]] |= {event["params"]["session_id"] for event in body["events"]}
            else:
                identified.update(one["anonymousId"] for one in body["batch"] if one["type"] == "identify")

    assert (9, [1, 1, 1]) == (vendors.ga4.total(), [len(numbers) for numbers in sessions.values()])
    assert (3, {1}) == (len(identified), set(identified.values()))


def test_an_older_batch_after_a_newer_one_through_a_relay(tmp_path: Path) -> None:
    """Two runs of now, then twenty of two hours ago, a minute apart: two sessions, whatever is killed between."""
    now_ns = time.time_ns()
    with Vendors() as vendors:
        vendors.keep = True
        for first in (0, 12):
            with Process(["ga4"], "--state", str(tmp_path), **vendors.environ()) as process:
                for n in range(first, first + 11):
                    began_ns = now_ns - MINUTE_NS - n if n < 2 else now_ns - (120 - n) * MINUTE_NS
                    send(process, n, 1, began_ns)
                process.end(signal.SIGKILL)
        numbers = {event["params"]["session_id"] for _, body in vendors.bodies for event in body["events"]}

    assert (22, 2) == (vendors.ga4.total(), len(numbers))


def test_a_damaged_memory_is_said_and_begun_anew(tmp_path: Path) -> None:
    """It costs a session, not a start."""
    (tmp_path / "ga4.memory").write_bytes(b"\0garbage" * 100)
    with Vendors() as vendors, Process(["ga4"], "--state", str(tmp_path), **vendors.environ()) as process:
        send(process, 1, 1, time.time_ns() - MINUTE_NS)
        vendors.wait(lambda: vendors.ga4.total() == 1, DEADLINE_S)

        assert any("forgotten" in line or "begun anew" in line for line in process.log)


def test_a_relay_in_a_program_lets_go_of_its_memory(tmp_path: Path, monkeypatch) -> None:
    """So another one of the same process can use the folder."""
    monkeypatch.setenv("OTEL_EXPORTER_GA4_MEASUREMENT_ID", "G-AB12CD34EF")
    monkeypatch.setenv("OTEL_EXPORTER_GA4_API_SECRET", "s3cret")
    for _ in range(2):
        load_destination("ga4", window=100, workers=1, state=str(tmp_path)).close()

    assert {"ga4.memory", "ga4.memory.lock", "ga4.window", "ga4.window.lock"} == {p.name for p in tmp_path.iterdir()}
