"""The example of a service: what a maintainer's receiver gets of its start, its work and its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..hosts import ROOT, until
from ..spools import Sink

# The first heartbeat is due after five minutes of life, and so is the first sender; here as soon as there is a snapshot.
AT_ONCE = """
import runpy, sys, time
from otel_usage.recording import heartbeat, service
heartbeat.FIRST_S = service.FIRST_S = 0.0
beat = heartbeat.Heartbeat.beat
def beat_with_snapshot(self, events):
    if self.snapshot is None:
        self.due_s = time.monotonic() + 0.01
    else:
        beat(self, events)
heartbeat.Heartbeat.beat = beat_with_snapshot
sys.argv[:] = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Bot:
    """The bot as a process of its own, and who talks to it."""

    def __init__(self, tmp_path: Path, **env: str) -> None:
        environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
        environ |= {
            "OTEL_USAGE_HOME": str(tmp_path / "state"),
            "OTEL_USAGE_SEND_DELAY_S": "0",
            "OTEL_METRICS_EXPORTER": "otlp",
        }
        environ |= {"OTEL_TRACES_EXPORTER": "otlp", "BOT_INSTALLATION_ID": "test", "BOT_PLUGINS": "dice,echo,s3cret"}
        command = [sys.executable, "-c", AT_ONCE, str(ROOT / "examples" / "bot.py"), "0"]
        self.process = subprocess.Popen(
            command, env={**environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        assert self.process.stdout is not None
        self.port = int(re.findall(rb"\d+", self.process.stdout.readline())[0])

    def say(self, message: str, who: str = "ann") -> str:
        """Return what it answers."""
        url = f"http://127.0.0.1:{self.port}"
        asked = urllib.request.Request(url, message.encode(), {"From": who})
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return str(answer.read().decode())

    def stop(self) -> tuple[int, bytes]:
        """End it as Kubernetes does; return its exit code and its log."""
        self.process.send_signal(signal.SIGTERM)
        _, err = self.process.communicate(timeout=20)
        return self.process.returncode, err


@pytest.fixture
def receiver() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.close()


def kinds(sink: Sink) -> list[str]:
    return [one["attributes"]["usage.kind"] for one in sink.spans()]


def test_what_a_receiver_gets_of_it(tmp_path: Path, receiver: Sink) -> None:
    """A start, a heartbeat with the plugins, counts of verbs alone, an error, and a stop; nothing that anybody said."""
    bot = Bot(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.address, BOT_TELEMETRY="on")
    replies = [bot.say("!say s3cret", "s3cret"), bot.say("!shout s3cret"), bot.say("!roll s3cret"), bot.say("s3cret")]
    status, log = bot.stop()
    until(lambda: "stop" in kinds(receiver) and counted(receiver))

    assert ["s3cret", "S3CRET", "I can't roll that.", "I know roll, say, shout"] == replies
    assert (0, 1) == (status, log.count(b"\n")), log
    spans: dict[str, dict[str, Any]] = {one["attributes"]["usage.kind"]: one["attributes"] for one in receiver.spans()}
    assert {"start", "heartbeat", "error", "stop"} == set(spans)
    assert ["dice", "echo", "other"] == sorted(spans["heartbeat"]["usage.field.plugins"])
    assert {"say": 1, "shout": 1, "roll": 1, "other": 1} == counted(receiver)
    assert not any(b"s3cret" in body.lower() for _, _, body in receiver.told)


def test_off_is_off(tmp_path: Path, receiver: Sink) -> None:
    """The bot works as ever; nothing is sent, and no folder is made."""
    bot = Bot(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.address, BOT_TELEMETRY="off")

    assert "s3cret" == bot.say("!say s3cret")
    assert (0, b"") == bot.stop()
    assert [] == receiver.told
    assert not (tmp_path / "state").exists()


def counted(sink: Sink) -> dict[str, int]:
    """Return how often each verb was counted."""
    return {verb: n for (name, verb), n in sink.points().items() if name == "usage.count.commands.handled"}
