"""``otel-usage ask``: in a terminal, as JSON and CSV; of a store, and of a server."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from otel_usage.serve.questions.command import main
from otel_usage.serve.store.store import Store
from tests.serve.store.stores import ServeProcess

from .databases import event, insert, installation

PERIOD = ["--start", "2026-11-09", "--end", "2026-11-15"]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A store with two runs of an installation, of a name that a terminal would obey."""
    file = str(tmp_path / "usage.duckdb")
    rows = [event(f"2026-11-1{n}", event=n, installation=installation(1), name="sc\x1b[31man") for n in (0, 1)]
    with Store(file) as store, store.reader() as cursor:
        insert(cursor, "events", rows)
    return file


def test_as_a_maintainer_asks(path: str) -> None:
    """Title, headlines with the period before, the table, and what the number is; nothing that moves a terminal."""
    command = [sys.executable, "-m", "otel_usage", "ask", "commands", "--store", path, *PERIOD]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
    assert "installations: 1  (before: 0)" in done.stdout
    assert ["command", "sc?[31man", "1", "100.0", "%", "2", "2026-11-11"] in [
        line.split() for line in done.stdout.splitlines()
    ]
    assert "Not counted here, runs in the period: ci 0, agents 0, services 0." in done.stdout
    assert "\x1b" not in done.stdout


def test_for_machines(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON and CSV hold the same rows; the rollups are brought up to date first."""
    assert 0 == main(["active", "--store", path, *PERIOD, "--json"])
    result = json.loads(capsys.readouterr().out)
    assert 0 == main(["active", "--store", path, *PERIOD, "--csv"])
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))

    assert [column["name"] for column in result["columns"]] == rows[0]
    assert [[str(value) for value in row] for row in result["rows"]] == rows[1:]
    assert {"title": "active", "unit": "count", "value": 1, "previous": 0} == result["headlines"][0]


def test_of_a_server(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks for the question's own address, with the filters and the token; and says what the server said."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["authorization"]))
            self.send_response(200 if self.headers["authorization"] else 401)
            self.end_headers()
            self.wfile.write(b"what,n\r\n" if self.headers["authorization"] else b"a token is needed\n")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    words = ["active", "--server", f"http://127.0.0.1:{server.server_port}/", "--app", "a&b", "--csv"]
    try:
        assert 2 == main(words)
        monkeypatch.setenv("OTEL_USAGE_SERVE_VIEWER_TOKEN", "secret")
        assert 0 == main(words)
    finally:
        server.shutdown()
        server.server_close()

    answered = capsys.readouterr()
    assert [("/questions/active.csv?app=a%26b", None), ("/questions/active.csv?app=a%26b", "Bearer secret")] == asked
    assert "answers 401: a token is needed" in answered.err
    assert "what,n\n" == answered.out.replace("\r", "")


DECLARED = """{"report.upload": {"why": "is uploading worth keeping?", "fields": {"format": ["pdf", "html"]}}}"""


def declare(folder: Path) -> list[str]:
    """Return the options that name a schema of the program."""
    (folder / "mycli.schema").write_text(DECLARED)
    return ["--schema", f"mycli={folder / 'mycli.schema'}"]


def test_a_declared_event(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a store by its schema's file, of a server by the schema that it has: the same answer."""
    upload = event(
        "2026-11-12",
        event=9,
        installation=installation(1),
        kind="action",
        name="report.upload",
        fields={"format": "pdf"},
    )
    with Store(path) as store, store.reader() as cursor:
        insert(cursor, "events", [upload])
    schema = declare(tmp_path)
    words = ["event.report.upload", *PERIOD, "--json"]

    assert 0 == main([*words, "--store", path, *schema])
    of_store = capsys.readouterr().out
    with ServeProcess(path, *schema) as server:
        assert 0 == main([*words, "--server", server.url, "--app", "mycli"])

    assert of_store == capsys.readouterr().out
    answer = json.loads(of_store)
    assert "is uploading worth keeping?" == answer["title"]
    assert ["format", "pdf", 1, 1.0, 1, "2026-11-12"] in answer["rows"]


def test_a_declared_event_without_its_declaration(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what is missing: the schema, or a row of it."""
    assert [2, 2] == [
        main(["event.report.upload", "--store", path]),
        main(["event.nothing", "--store", path, *declare(tmp_path)]),
    ]
    lines = capsys.readouterr().err.splitlines()
    assert "name the file with --schema mycli=FILE" in lines[0]
    assert "is none of what mycli declares: event.report.upload" in lines[1]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nothing"], "question 'nothing' is not one of active, versions"),
        (["active", "--start", "yesterday"], "start 'yesterday' is not a day"),
        (["active", "--start", "2026-11-16", "--end", "2026-11-15"], "has 0 days"),
        (["active", "--server", "nowhere"], "is no address"),
    ],
)
def test_wrong_usage(path: str, capsys: pytest.CaptureFixture[str], words: list[str], expected: str) -> None:
    """What is wrong, and what is expected."""
    assert 2 == main([*words, *([] if "--server" in words else ["--store", path])])
    assert expected in capsys.readouterr().err


def test_a_server_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """It can't be done, and nothing is wrong with the words."""
    assert 1 == main(["active", "--server", "http://127.0.0.1:9"])
    assert "can't be reached" in capsys.readouterr().err
