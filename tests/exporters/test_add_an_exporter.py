"""docs/contributing/add-an-exporter.md, followed to the letter: a vendor of its own distribution reaches its server."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from otel_usage.receiver.arrival import Arrival
from otel_usage.receiver.server import Listener
from tests.collector.harness import free_port, traces

from ..hosts import ROOT
from .servers import Receiver, wait_until

PAGE = ROOT / "docs" / "contributing" / "add-an-exporter.md"
MAX_LINES = 60
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
SDK_PROGRAM = """
from opentelemetry import trace

with trace.get_tracer("host").start_as_current_span("mycli scan") as span:
    span.set_attributes({"usage.kind": "run", "usage.command": "scan", "usage.outcome": "success"})
"""
HOST = """
import argparse
import otel_usage

destinations = {"toy": {"write_key": "k", "endpoint": "%s"}}
otel_usage.init("mycli", version="1", consent="opt-in", destinations=destinations)
argparse.ArgumentParser(prog="mycli").parse_args()
"""


def block(language: str, number: int = 0) -> str:
    """Return a code block of the checklist."""
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    return blocks[number]


def done(*command: str, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a command, which must succeed, and return what it printed."""
    ended = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do what the checklist says, build the project and the vendor, and return the folder they are installed in."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "exporters").symlink_to(ROOT / "exporters")
    done("sh", "-euc", block("sh"), cwd=folder)
    (folder / "exporters").unlink()
    (folder / "pyproject.toml").write_text(block("toml"))
    (folder / "otel_usage_toy" / "translate.py").write_text(block("python"))
    build = (*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir")
    done(*build, str(folder / "wheels"), str(ROOT), cwd=folder)
    done(*build, str(folder / "wheels"), ".", cwd=folder)
    wheels = [str(path) for path in sorted((folder / "wheels").iterdir())]
    done(*PIP, "install", "--no-deps", "--no-index", "--target", str(folder / "site"), *wheels, cwd=folder)
    return folder / "site"


@pytest.fixture
def environ(installed: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has installed both, and nothing else of ours."""
    path = os.pathsep.join([str(installed / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    home = {"HOME": str(tmp_path), "OTEL_USAGE_HOME": str(tmp_path / "home")}
    return {"PATH": path, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1", **home}


@pytest.fixture
def toy(serve: Callable[..., Receiver]) -> Receiver:
    """The vendor's server."""
    return serve((200, {}, b"{}"))


@pytest.fixture
def relay(environ: dict[str, str], tmp_path: Path, toy: Receiver) -> Iterator[int]:
    """Start a relay to the vendor as the checklist says, and give its port."""
    [command] = re.findall(r"`(otel-usage relay [^`]*)`", PAGE.read_text())
    port = free_port()
    settings = {"OTEL_EXPORTER_TOY_WRITE_KEY": "k", "OTEL_EXPORTER_TOY_ENDPOINT": toy.url}
    with subprocess.Popen(
        [*command.split(), "--listen", f"127.0.0.1:{port}"],
        executable=str(Path(environ["PYTHONPATH"]) / "bin" / "otel-usage"),
        env={**environ, **settings},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        log = []
        for line in process.stderr:
            log.append(line)
            if "listening on" in line:
                break
        else:
            raise AssertionError("".join(log))
        yield port
        process.terminate()
        process.stderr.read()


def events(server: Receiver) -> list[dict[str, Any]]:
    """Return the vendor's events that arrived, as its own translation writes them."""
    return [event for _, _, body in server.requests for event in json.loads(gzip.decompress(body))["toys"]]


def test_the_wheels_are_what_runs(installed: Path, environ: dict[str, str], tmp_path: Path) -> None:
    """The project and the vendor come from the folder they were installed in, not from the checkout."""
    code = "import otel_usage, otel_usage_exporters, otel_usage_toy as toy; "
    code += "print(*[m.__file__ for m in (otel_usage, otel_usage_exporters, toy)], toy.ToySpanExporter.__module__)"

    *files, module = done(sys.executable, "-c", code, cwd=tmp_path, env=environ).split()

    assert [installed] * 3 == [Path(file).parent.parent for file in files]
    assert "otel_usage_toy.exporter" == module


def test_through_the_sender(environ: dict[str, str], toy: Receiver, tmp_path: Path) -> None:
    """A host names the vendor in ``destinations``: its run arrives, under the id of the installation."""
    (tmp_path / "mycli.py").write_text(HOST % toy.url)
    settings = {"MYCLI_TELEMETRY": "on", "OTEL_USAGE_SENDER": "detached", "OTEL_USAGE_SEND_DELAY_S": "0"}

    done(sys.executable, "mycli.py", cwd=tmp_path, env={**environ, **settings})

    wait_until(lambda: bool(toy.requests), limit_s=60)
    event, new = events(toy)
    assert ("mycli", "first_run") == (event["did"], new["did"])
    assert (tmp_path / "home" / "mycli" / "id").read_text().split()[0] == event["user"]


def test_through_variables(environ: dict[str, str], toy: Receiver, tmp_path: Path) -> None:
    """A program with a plain SDK, started as the checklist says, but for the address."""
    (tmp_path / "mycli.py").write_text(SDK_PROGRAM)
    command = re.sub(r"http://127\.0\.0\.1:\d+", toy.url, block("sh", 1))
    others = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none", "OTEL_SERVICE_NAME": "mycli"}
    others["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] = "*,usage"

    done("sh", "-euc", command, cwd=tmp_path, env={**environ, **others})

    assert toy.url in command
    assert ["mycli scan"] == [event["did"] for event in events(toy)]


def test_the_copy_can_be_seen(environ: dict[str, str], tmp_path: Path) -> None:
    """Before anything is changed in the copy, `otel-usage listen` shows its requests, and they break no rule."""
    (tmp_path / "exporters").symlink_to(ROOT / "exporters")
    done("sh", "-euc", block("sh"), cwd=tmp_path)
    (tmp_path / "mycli.py").write_text(SDK_PROGRAM)
    arrived: list[Arrival] = []
    others = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none", "OTEL_SERVICE_NAME": "mycli"}
    others |= {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*,usage"}
    others |= {"PYTHONPATH": os.pathsep.join([str(tmp_path), environ["PYTHONPATH"]])}

    with Listener(0, arrived.append) as listener:
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        command = block("sh", 1).replace("http://127.0.0.1:4318", listener.address)
        done("sh", "-euc", command, cwd=tmp_path, env={**environ, **others})
        listener.shutdown()
        thread.join()

    assert [("segment", [])] == [(arrival.kind, arrival.problems) for arrival in arrived]


def test_through_the_relay(relay: int, toy: Receiver) -> None:
    """A run that a Collector passes to the relay arrives."""
    body = traces([1], installation="4f8b12f2-92a8-4d67-8a8a-000000000001").SerializeToString()
    headers = {"Content-Type": "application/x-protobuf"}
    request = urllib.request.Request(f"http://127.0.0.1:{relay}/toy/v1/traces", body, headers)

    with urllib.request.urlopen(request, timeout=30) as response:
        status = response.status

    assert 200 == status
    assert ["4f8b12f2-92a8-4d67-8a8a-000000000001"] == [event["user"] for event in events(toy)]


def test_its_variables_are_listed(environ: dict[str, str], tmp_path: Path) -> None:
    """``opentelemetry-instrument --help`` knows the vendor's variables."""
    shown = done("opentelemetry-instrument", "--help", cwd=tmp_path, env=environ)

    assert "--exporter_toy_write_key" in shown


def test_the_checklist_is_short_and_its_paths_exist() -> None:
    """At most 60 lines, and every file that it names as an example is there."""
    text = PAGE.read_text()
    paths = [path for path in re.findall(r"`([\w./-]+/[\w./-]+)`", text) if "toy" not in path]

    assert len(text.splitlines()) <= MAX_LINES
    assert len(paths) > 5
    assert [] == [path for path in paths if not (ROOT / path).exists()]
