"""`otel-usage serve` as an operator meets it: starting, stopping, wrong options, errands."""

from __future__ import annotations

import os
import resource as limits
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from otel_usage.serve.command import main
from otel_usage.serve.store.store import Store
from tests.collector.harness import post, traces

from .stores import ONE, ServeProcess, ask, count, environment, row


def run(*words: str, **environ: str) -> tuple[int, str, str]:
    """Run ``otel-usage serve`` to its end; return (exit code, output, errors)."""
    command = [sys.executable, "-m", "otel_usage", "serve", *words]
    ended = subprocess.run(command, env=dict(environment(**environ)), capture_output=True, text=True, timeout=60)
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--listen", "nowhere"], "--listen 'nowhere' is not HOST:PORT"),
        (["--keep-days", "0"], "--keep-days 0 is not a number above 0"),
        (["--keep-days", "99", "--keep-rollup-days", "9"], "rollups outlive the events"),
        (["--tls-cert", "x"], "--tls-cert and --tls-key go together"),
        (["--to", "nobody"], "nobody"),
        (["--to", "ga4"], "OTEL_EXPORTER_GA4"),
        (["--to", "ga4", "--demo"], "--demo and --to exclude each other"),
        (["--token-file", "absent"], "--token-file 'absent' can't be read"),
        (["--token-file", "empty"], "is empty"),
        (["--token-file", "tokens", "--viewer-token-file", "tokens"], "clients' ship with programs"),
        (
            ["--viewer-token-file", "short"],
            "--viewer-token-file 'short': a viewer's token has fewer than 16 characters",
        ),
        (["--viewer-token-file", "empty"], "--viewer-token-file 'empty' is empty"),
        (["erase", "mycli", ONE, "--store", "absent"], "--store 'absent' is not there"),
        (["erase", "mycli", "no-uuid", "--store", "empty"], "is no store"),
        (["backup", "--server", "nowhere"], "--server 'nowhere' is no address"),
    ],
)
def test_wrong_options_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one line that says what is wrong, and no store that was made for it in use."""
    monkeypatch.chdir(tmp_path)
    for variable in ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"):
        monkeypatch.setenv(variable, "none")
        monkeypatch.delenv(variable)
    Path("empty").write_text("\n")
    Path("tokens").write_text("the-same-for-both\n")
    Path("short").write_text("0123456789-token\n0123456789-toke\n")

    code = main(words)

    assert 2 == code
    assert expected in capsys.readouterr().err


def test_a_server_that_is_not_there_or_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1 where it can't be reached, or is another one's; 2 where what was asked is wrong, with what the server says."""
    with ServeProcess(tmp_path / "s") as server:
        codes = [
            main(["backup", "--server", "http://127.0.0.1:9"]),
            main(["backup", "--server", f"{server.url}/healthz"]),
            main(["erase", "mycli", "no-uuid", "--server", server.url]),
        ]
    codes.append(main(["erase", "mycli", "no-uuid", "--store", str(tmp_path / "s")]))
    lines = capsys.readouterr().err.splitlines()

    assert [1, 2, 2, 2] == codes
    for expected, line in zip(("can't be reached", "answers 404", "is no UUID", "is no UUID"), lines, strict=True):
        assert expected in line


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    """DuckDB may be missing, or Starlette: the word is the same."""
    (tmp_path / "duckdb.py").write_text("raise ModuleNotFoundError(\"No module named 'duckdb'\", name='duckdb')\n")

    code, _, errors = run("--store", str(tmp_path / "s"), PYTHONPATH=str(tmp_path))

    assert (2, "otel-usage serve: duckdb is missing: pip install 'otel-usage[server]'\n") == (code, errors)


def test_it_starts_stops_and_is_found_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SIGTERM: it answers what it took, rolls up, exits with 0; started again it has what it had. A taken port is said."""
    with ServeProcess(tmp_path / "s") as server:
        taken = run("--store", str(tmp_path / "other"), "--listen", f"127.0.0.1:{server.port}")
        stored = post(server.port, "/v1/traces", traces([1, 2]).SerializeToString())[0]
        backed_up = main(["backup", "--server", server.url]), capsys.readouterr().out
        code = server.end(signal.SIGTERM)
        again = server.start()
        known = post(server.port, "/v1/traces", traces([1, 2, 3]).SerializeToString())[0]
        again.end(signal.SIGTERM)
    erase = ["erase", "mycli", "4f8b12f2-92a8-4d67-8a8a-0f3d3b6d7f01", "--store", str(tmp_path / "s")]
    erased = main(erase), capsys.readouterr().out

    assert (200, 200, 0) == (stored, known, code)
    assert (1, True) == (taken[0], "address already in use" in taken[2])
    assert (0, f"{tmp_path / 's'}.backup\n") == backed_up
    assert (2, 2) == count(f"{tmp_path / 's'}.backup")
    assert (0, "3 of events, 1 of installation_days\n") == erased
    assert (0, 0) == count(tmp_path / "s")
    assert {0o600} == {path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.is_file()}


def test_a_name_that_leads_here_is_not_let_in(tmp_path: Path) -> None:
    """Without viewers' tokens this machine alone looks: a page whose name was made to lead here reads nothing."""
    with ServeProcess(tmp_path / "s") as server:
        answers = [
            requests.get(f"{server.url}/metrics", headers={"host": host}, timeout=30).status_code
            for host in (
                f"localhost:{server.port}",
                f"127.0.0.1:{server.port}",
                "evil.example",
                "127.0.0.1.evil.example",
            )
        ]

    assert [200, 200, 403, 403] == answers


@pytest.mark.parametrize("path", ["/", "/metrics", "/api/erase", "/live"])
def test_nobody_looks_from_elsewhere_without_a_token(path: str) -> None:
    """A server that listens beyond its machine shows nothing until it has viewers' tokens."""
    from starlette.requests import HTTPConnection

    from otel_usage.serve.access import Access
    from otel_usage.server.answers import RefusedError

    request = HTTPConnection({"type": "http", "method": "GET", "path": path, "headers": [(b"host", b"localhost")]})
    with pytest.raises(RefusedError) as refused:
        Access(local=False).admit_stranger(request)

    assert 403 == refused.value.status


def test_kill_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Killed twice while clients send: what was acknowledged is stored, once; ten times in tests/bench/serve.py."""
    from tests.bench.serve import kill_under_load

    outcome = kill_under_load(tmp_path / "s", kills=2, seconds=0.7)

    assert outcome.acknowledged > 0
    assert (0, 0) == (outcome.missing, outcome.doubled)


def test_a_full_disk_refuses_and_says_so(tmp_path: Path) -> None:
    """503 and why, nothing acknowledged lost, and it goes on where there is room again."""
    server = ServeProcess(tmp_path / "s")
    hard = limits.getrlimit(limits.RLIMIT_FSIZE)[1]
    with server:
        limits.prlimit(server.pid, limits.RLIMIT_FSIZE, (60_000, hard))
        acknowledged, refused = 0, (200, {}, b"")
        for first in range(0, 100_000, 100):
            refused = post(server.port, "/v1/traces", traces(range(first, first + 100)).SerializeToString())
            if refused[0] != 200:
                break
            acknowledged += 100
        text = requests.get(f"{server.url}/metrics", timeout=30).text
        limits.prlimit(server.pid, limits.RLIMIT_FSIZE, (hard, hard))
        again = post(server.port, "/v1/traces", traces(range(acknowledged, acknowledged + 100)).SerializeToString())
        server.end(signal.SIGTERM)

    assert (503, True) == (refused[0], b"the store can't write: the disk is full" in refused[2])
    assert "retry-after" in {name.lower() for name in refused[1]}
    assert "otel_usage_serve_store_failing 1" in text
    assert 200 == again[0]
    assert (acknowledged + 100,) * 2 == count(tmp_path / "s")


def test_a_store_in_use_can_be_asked_by_its_server_alone(tmp_path: Path) -> None:
    """An errand on the file of a running server says who has it."""
    with Store(tmp_path / "s") as store:
        store.write([row(1)])
        code, _, errors = run("erase", "mycli", ONE, "--store", str(tmp_path / "s"))

        assert (2, True) == (code, f"is open in process {os.getpid()}" in errors)
        assert [(1,)] == ask(store, "SELECT count(*) FROM events")
