"""The example of a service: what a maintainer's receiver gets of its start, its work and its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..hosts import ROOT, until
from ..spools import Sink

# The first heartbeat is due after five minutes of life, and so is the first sender; here as soon as there is a snapshot.
AT_ONCE = """
import runpy, sys
from otel_usage.recording import handle
usual = handle.Methods.snapshot
def snapshot_and_beat(self, fields):
    usual(self, fields)
    if self._recorder is not None and self._recorder.service is not None:
        self._recorder.service.heartbeat.due_s = self._recorder.service.flush_at_s = 0.0
        self._recorder.service.work()
handle.Methods.snapshot = snapshot_and_beat
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
        self.environ = {**environ, **env}
        command = [sys.executable, "-c", AT_ONCE, str(ROOT / "examples" / "bot.py"), "0"]
        self.process = subprocess.Popen(
            command, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        assert self.process.stdout is not None
        self.port = int(re.findall(rb"\d+", self.process.stdout.readline())[0])

    def say(self, message: str, who: str = "ann") -> str:
        """Return what it answers."""
        url = f"http://127.0.0.1:{self.port}"
        asked = urllib.request.Request(url, message.encode(), {"From": who})
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return str(answer.read().decode())

    def exec(self, verb: str) -> str:
        """Return what an operator sees of ``kubectl exec … -- python -m otel_usage <verb> --app bot``."""
        command = [sys.executable, "-m", "otel_usage", verb, "--app", "bot"]
        ended = subprocess.run(
            command, env=self.environ, capture_output=True, check=False, timeout=60, stdin=subprocess.DEVNULL
        )
        assert 0 == ended.returncode, ended.stderr
        return ended.stdout.decode()

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


@pytest.fixture
def bot(tmp_path: Path, receiver: Sink) -> Iterator[Callable[..., Bot]]:
    """Start a bot, with the variables that are given; whatever a test does with it, it ends."""
    bots: list[Bot] = []

    def start(**env: str) -> Bot:
        bots.append(Bot(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.address, **env))
        return bots[-1]

    yield start
    for one in bots:
        one.process.kill()
        one.process.communicate()


def kinds(sink: Sink) -> list[str]:
    return [one["attributes"]["usage.kind"] for one in sink.spans()]


def test_what_a_receiver_gets_of_it(bot: Callable[..., Bot], receiver: Sink) -> None:
    """A start, a heartbeat with the plugins, counts of verbs alone, an error, and a stop; nothing that anybody said."""
    running = bot(BOT_TELEMETRY="on")
    replies = [
        running.say("!say s3cret", "s3cret"),
        running.say("!shout s3cret"),
        running.say("!roll s3cret"),
        running.say("s3cret"),
    ]
    status, log = running.stop()
    until(lambda: {"start", "heartbeat", "error", "stop"} <= set(kinds(receiver)) and counted(receiver))

    assert ["s3cret", "S3CRET", "I can't roll that.", "I know roll, say, shout"] == replies
    assert (0, 1) == (status, log.count(b"\n")), log
    spans: dict[str, dict[str, Any]] = {one["attributes"]["usage.kind"]: one["attributes"] for one in receiver.spans()}
    assert {"start", "heartbeat", "error", "stop"} == set(spans)
    assert ["dice", "echo", "other"] == sorted(spans["heartbeat"]["usage.field.plugins"])
    assert {"say": 1, "shout": 1, "roll": 1, "other": 1} == counted(receiver)
    assert not any(b"s3cret" in body.lower() for _, _, body in receiver.told)


def test_off_is_off(bot: Callable[..., Bot], tmp_path: Path, receiver: Sink) -> None:
    """The bot works as ever; nothing is sent, and no folder is made."""
    running = bot(BOT_TELEMETRY="off")

    assert "s3cret" == running.say("!say s3cret")
    assert (0, b"") == running.stop()
    assert [] == receiver.told
    assert not (tmp_path / "state").exists()


def test_an_operator_looks_into_the_pod(bot: Callable[..., Bot], receiver: Sink) -> None:
    """While it runs, once its first sender was there: who has decided, what is to be sent, and off it goes; nothing that
    anybody said is shown."""
    running = bot(BOT_TELEMETRY="on")
    until(lambda: "start" in kinds(receiver))
    running.say("!roll s3cret")
    state, preview = running.exec("status"), running.exec("preview")
    before = counted(receiver)
    running.exec("send")
    after = counted(receiver)
    running.stop()

    assert "BOT_TELEMETRY" in state
    assert "commands.handled" in preview
    assert "s3cret" not in state + preview
    assert ({}, {"roll": 1}) == (before, after)


def counted(sink: Sink) -> dict[str, int]:
    """Return how often each verb was counted."""
    return {verb: n for (name, verb), n in sink.points().items() if name == "usage.count.commands.handled"}
