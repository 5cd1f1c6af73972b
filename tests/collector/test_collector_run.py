"""run.sh and build.sh: what an operator gets wrong is said at once, and never means more than was asked for."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.collector.gateway import CONFIG, Gateway, binary
from tests.collector.harness import Backend, post, traces

BACKEND = {"BACKEND_OTLP_ENDPOINT": "http://127.0.0.1:9"}


def ran(script: str, *arguments: str, **environ: str) -> tuple[int, str]:
    """Return (exit code, what it said) of a script of collector-config."""
    command = ["sh", CONFIG / script, *arguments]
    done = subprocess.run(command, env={"PATH": os.environ["PATH"], **environ}, capture_output=True, text=True)
    return done.returncode, done.stderr


def listening(pid: int) -> set[str]:
    """Return the addresses that a process listens at, as the kernel writes them."""
    links = [fd.readlink() for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()]
    sockets = {str(link)[8:-1] for link in links if str(link).startswith("socket:[")}
    rows = [line.split() for kind in ("tcp", "tcp6") for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and row[9] in sockets}


def test_set_to_nothing_is_not_set(otelcol: str, tmp_path: Path) -> None:
    """With variables empty, as Docker Compose makes them, the gateway still listens on this machine only."""
    with Backend() as backend:
        environ = {"OTELCOL": otelcol, "BACKEND_OTLP_ENDPOINT": f"http://127.0.0.1:{backend.port}"}
        empty = dict.fromkeys(("GATEWAY_FLUSH", "GATEWAY_METRICS_HOST", "GATEWAY_TOKEN", "BACKEND_OTLP_HEADERS"), "")
        gateway = Gateway(otelcol, tmp_path, **environ, **empty)
        gateway.command = ["sh", str(CONFIG / "run.sh"), "gateway.yaml"]
        with gateway:
            assert gateway.process is not None
            addresses = listening(gateway.process.pid)
            assert 200 == post(gateway.http, "/v1/traces", traces([1]).SerializeToString())[0]
            backend.wait(lambda: 1 in backend.numbers)

    assert {"0100007F"} == addresses


def test_any_variable_may_be_set_to_nothing(otelcol: str) -> None:
    """Each that README.md names, and has a default, counts as not set, and run.sh says so."""
    told = (CONFIG / "README.md").read_text().partition("## Variables")[2].partition("\n## ")[0]
    names = set(re.findall(r"`([A-Z_]+)`", "".join(row.split("|")[1] for row in told.splitlines() if row[:3] == "| `")))
    empty = dict.fromkeys(names - set(BACKEND), "")

    status, said = ran("run.sh", "--validate", "gateway.yaml", "fan-out.yaml", OTELCOL=otelcol, **BACKEND, **empty)

    assert 0 == status
    assert {f"run.sh: {name} is set to nothing, taken as not set" for name in empty} == set(said.splitlines())


@pytest.mark.parametrize(
    ("files", "environ", "expected"),
    [
        ("", {}, "name gateway.yaml"),
        ("gateway.yml", {}, "no file 'gateway.yml'"),
        ("gateway.yaml", {"BACKEND_OTLP_ENDPOINT": ""}, "BACKEND_OTLP_ENDPOINT is not set"),
        ("gateway.yaml", {"BACKEND_OTLP_ENDPOINT": " "}, "holds a space"),
        ("gateway.yaml", {"BACKEND_OTLP_ENDPOINT": "foo"}, "'foo' is not a URL"),
        ("gateway.yaml", {"BACKEND_OTLP_ENDPOINT": "http://u:p$$w@h"}, "holds $$"),
        ("gateway.yaml", {"BACKEND_OTLP_HEADERS": "{a: '${HOME}'}"}, "BACKEND_OTLP_HEADERS holds $$ or ${"),
        ("gateway.yaml fan-out.yaml", {"RELAY_ENDPOINT": "127.0.0.1:4319"}, "RELAY_ENDPOINT='127.0.0.1:4319'"),
        ("gateway.yaml", {"GATEWAY_HTTP": ":4318"}, "GATEWAY_HTTP=':4318' is not HOST:PORT"),
        ("gateway.yaml", {"GATEWAY_GRPC": "4317"}, "GATEWAY_GRPC='4317' is not HOST:PORT"),
        ("gateway.yaml", {"GATEWAY_STORAGE": "queue"}, "'queue' is not an absolute path"),
        ("gateway.yaml token.yaml", {}, "token.yaml needs GATEWAY_TOKEN"),
        ("gateway.yaml token.yaml", {"GATEWAY_TOKEN": "s3 cret"}, "GATEWAY_TOKEN holds a character"),
        ("gateway.yaml tls.yaml", {"GATEWAY_TLS_CERT": "/no/where"}, "tls.yaml needs GATEWAY_TLS_CERT"),
        ("gateway.yaml", {"OTELCOL": "/tmp"}, "no Collector at '/tmp'"),
    ],
)
def test_what_is_wrong_is_said(otelcol: str, files: str, environ: Mapping[str, str], expected: str) -> None:
    """A variable that the Collector would take in silence, or answer in riddles, ends run.sh with its name."""
    status, said = ran("run.sh", "--validate", *files.split(), **{"OTELCOL": otelcol, **BACKEND, **environ})

    assert 2 == status
    assert said.startswith("run.sh: ")
    assert expected in said
    assert "s3 cret" not in said


@pytest.mark.parametrize("path", ["/tmp", "/nonexistent", "/etc/passwd"])
def test_a_collector_that_is_none_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTELCOL is a program, or everything that was told to use it fails: build.sh, and these tests."""
    monkeypatch.setenv("OTELCOL", path)

    assert (2, f"build.sh: OTELCOL={path} is not a program\n") == ran("build.sh", OTELCOL=path)
    with pytest.raises(ValueError, match=f"OTELCOL='{path}' is not a program"):
        binary()
