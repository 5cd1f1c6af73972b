"""``otel-usage publish``: what it writes, what it leaves as it is, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path

import pytest
import requests

from otel_usage.serve.publish.command import main
from otel_usage.serve.publish.files import write
from otel_usage.serve.publish.numbers import Group, months_until
from otel_usage.serve.store.store import Store
from tests.serve.store.stores import ServeProcess

from ..questions.databases import event, insert, installation

TODAY = date(2026, 11, 26)


def fill(path: Path, months: dict[str, int], app: str = "mycli", **columns: object) -> None:
    """Store events of so many installations, each on the tenth of a month."""
    rows = [
        event(f"{month}-10", app=app, installation=installation(n), event=n + 1000 * place, **columns)
        for place, (month, size) in enumerate(months.items())
        for n in range(size)
    ]
    with Store(path) as store, store.reader() as cursor:
        insert(cursor, "events", rows)


def read(out: Path, table: str) -> dict:
    """Return a published file's content."""
    return json.loads((out / f"{table}.json").read_text(encoding="utf-8"))


def test_the_command_writes_pages_and_json(tmp_path: Path) -> None:
    """As a maintainer runs it: whole months only, a page and JSON for each question, nothing from elsewhere, no scripts."""
    before, last = (f"{month:%Y-%m}" for month in months_until(date.today(), date(2000, 1, 1))[-2:])
    fill(tmp_path / "usage.duckdb", {before: 15, last: 24}, version="<b>1&2")
    out = tmp_path / "public"
    command = [sys.executable, "-m", "otel_usage", "publish", str(out), "--store", str(tmp_path / "usage.duckdb")]
    command += ["--schema-page", "https://example.org/privacy"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (0, f"{out}: {before}, {last}\n", "") == (done.returncode, done.stdout, done.stderr)
    assert {"index", "active", "versions", "commands", "platforms"} == {path.stem for path in out.glob("*.html")}
    active = read(out, "active")
    assert [{"what": "", "name": "seen", "installations": 20, "percent": 100}] == active["months"][last]
    page = (out / "versions.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;1&amp;2" in page
    assert "https://example.org/privacy" in page
    assert not any(word in page for word in ("<script", "<b>", "src=", "@import", "url("))


def test_months_that_stand_there_stay(tmp_path: Path) -> None:
    """A second time, with other rows in the store, adds months and changes none; a month that is not over is not shown."""
    store, out = tmp_path / "usage.duckdb", tmp_path / "public"
    fill(store, {"2026-09": 15, "2026-10": 24, "2026-11": 50})
    words = [str(out), "--store", str(store)]

    assert 0 == main(words, today=date(2026, 10, 20))
    first = read(out, "active")["months"]
    with Store(store) as opened, opened.reader() as cursor:
        cursor.execute('DELETE FROM events WHERE month("at") = 9')
        insert(cursor, "events", [event("2026-08-10", event=1, installation=installation(1))])
    assert 0 == main(words, today=TODAY)
    second = read(out, "active")["months"]

    assert ["2026-09"] == list(first)
    assert ["2026-08", "2026-09", "2026-10"] == list(second)
    assert first["2026-09"] == second["2026-09"]
    assert [] == second["2026-08"]


def test_what_it_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store that is not there or in use, an app that is not clear, a folder of another app's, an address that is none."""
    store, out = tmp_path / "usage.duckdb", tmp_path / "public"
    fill(store, {"2026-09": 15})
    words = [str(out), "--store", str(store)]
    assert 0 == main(words, today=TODAY)
    fill(store, {"2026-09": 15}, app="other")

    for more, expected in (
        (["--store", str(tmp_path / "none")], "is not there"),
        ([], "which program? Name it with --app; the store has: mycli, other"),
        (["--app", "third"], "is not in the store"),
        (["--app", "other"], "of another app or format"),
        (["--app", "mycli", "--schema-page", "javascript:alert(1)"], "no address"),
    ):
        assert 2 == main([*words, *more], today=TODAY)
        assert expected in capsys.readouterr().err


def test_of_a_server_it_writes_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The files are those of the store itself, byte for byte; months that stand there are not asked for again."""
    path = tmp_path / "usage.duckdb"
    fill(path, {"2026-08": 15, "2026-09": 24, "2026-10": 31}, version="<1>")
    of_store, of_server = tmp_path / "store", tmp_path / "server"
    assert 0 == main([str(of_store), "--store", str(path)])
    with ServeProcess(path) as server:
        words = [str(of_server), "--server", server.url]
        assert 0 == main([*words, "--question", "active"])
        content = json.loads((of_server / "active.json").read_text())
        content["months"]["2026-09"] = []
        (of_server / "active.json").write_text(json.dumps(content))
        assert [0, 2, 1] == [
            main(words), main([*words, "--app", "other"]), main([str(of_server), "--server", "http://127.0.0.1:9"]),
        ]  # fmt: skip
        wrong = requests.get(f"{server.url}/published.json?month=2026-99", timeout=30)
    messages = capsys.readouterr().err

    for file in of_store.iterdir():
        if not file.name.startswith("active"):
            assert file.read_bytes() == (of_server / file.name).read_bytes(), file.name
    assert [] == read(of_server, "active")["months"]["2026-09"]
    assert read(of_store, "active")["months"]["2026-10"] == read(of_server, "active")["months"]["2026-10"]
    assert "--app 'other' is not in the store, which has: mycli" in messages
    assert "can't be reached" in messages
    assert (400, True) == (wrong.status_code, "is not one of 2026-08" in wrong.text)


def test_which_months_are_over() -> None:
    """A month may be shown from the eighth of the next one; in January, too."""
    assert [] == months_until(date(2026, 11, 7), date(2026, 10, 2))
    assert [date(2026, 10, 1)] == months_until(date(2026, 11, 8), date(2026, 10, 2))
    assert [date(2025, 12, 1)] == months_until(date(2026, 1, 8), date(2025, 12, 31))
    assert 13 == len(months_until(date(2026, 1, 8), date(1980, 1, 1)))


def test_a_month_of_which_the_events_expired_is_not_shown(tmp_path: Path) -> None:
    """Half a month would look like a fall: rows per day tell that there was more."""
    store, out = tmp_path / "usage.duckdb", tmp_path / "public"
    fill(store, {"2026-08": 15, "2026-09": 15, "2026-10": 15})
    with Store(store) as opened, opened.reader() as cursor:
        insert(cursor, "events", [event("2026-09-28", event=1)])
        opened.roll_up()
        opened.expire(datetime(2026, 11, 26), raw_days=60, rollup_days=400)

    assert 0 == main([str(out), "--store", str(store)], today=TODAY)

    assert ["2026-10"] == list(read(out, "active")["months"])


def test_a_page_escapes_what_it_names(tmp_path: Path) -> None:
    """Names of versions and commands come from programs that anybody may write."""
    group = Group("", "<script>alert('x')</script>", 20, 100)

    write(tmp_path, "a<b>", {date(2026, 10, 1): {"commands": [group]}}, ["commands"], 'https://example.org/?a=1&b="2')

    page = (tmp_path / "commands.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "a&lt;b&gt;" in page
    assert "b=&quot;2" in page
