"""Erasing an installation, and copying a store that is in use."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from otel_usage.serve.errand import main
from otel_usage.serve.store.rows import CountRow
from otel_usage.serve.store.store import Store
from otel_usage.serve.store.writer import Batch

from .stores import ONE, TWO, ask, count, row


def test_an_installation_is_erased(tmp_path: Path) -> None:
    """Every row of it in that app goes, rollups too; all others stay, and erasing twice does nothing more."""
    with Store(tmp_path / "s") as store:
        store.write([row(1), row(2, installation=TWO), row(3, app="other"), row(4, installation=None)])
        counters = [
            CountRow(1, "mycli", "n", one, False, "1", False, "", 1, {}, at) for at, one in enumerate((ONE, TWO), 1)
        ]
        store.writer.submit(Batch(counts=counters)).result()
        store.roll_up()
        counted = store.count_rows("mycli", ONE)
        removed = store.erase("mycli", ONE)
        again = store.erase("mycli", ONE)
        store.roll_up()

        assert ({"events": 1, "counts": 1, "installation_days": 1}, {}) == (removed, again)
        assert (removed, {}) == (counted, store.count_rows("mycli", ONE))
        assert [(2,), (3,), (4,)] == ask(store, "SELECT event FROM events ORDER BY event")
        assert [("mycli", TWO), ("other", ONE)] == ask(
            store, "SELECT app, installation::VARCHAR FROM installation_days ORDER BY 1"
        )


def test_what_was_not_rolled_up_is_erased_too(tmp_path: Path) -> None:
    """A rollup after it makes no row of what was erased before."""
    with Store(tmp_path / "s") as store:
        store.write([row(1), row(2, installation=TWO)])
        store.erase("mycli", ONE)
        store.roll_up()

        assert [(TWO,)] == ask(store, "SELECT installation::VARCHAR FROM installation_days")


@pytest.mark.parametrize("installation", ["", "no-uuid", "1' OR 1=1", "%"])
def test_only_an_id_is_erased(tmp_path: Path, installation: str) -> None:
    """What is no id erases nothing."""
    with Store(tmp_path / "s") as store:
        store.write([row(1)])
        with pytest.raises(ValueError, match=r"UUID|badly formed"):
            store.erase("mycli", installation)

        assert [(1,)] == ask(store, "SELECT count(*) FROM events")


def test_a_backup_is_a_store_of_its_own(tmp_path: Path) -> None:
    """It is made while rows come, holds a moment's rows, and opens; a second one takes the first one's place."""
    stop = threading.Event()
    with Store(tmp_path / "it's") as store:
        store.write([row(n) for n in range(1, 101)])

        def write() -> None:
            n = 1_000
            while not stop.is_set():
                store.write([row(n), row(n + 1)])
                n += 2

        writing = threading.Thread(target=write)
        writing.start()
        path = store.back_up()
        first = Path(path).stat()
        assert path == store.back_up()
        stop.set()
        writing.join()

    events, different = count(path)
    assert events == different >= 100
    assert events % 2 == 0
    assert first.st_ino != Path(path).stat().st_ino
    assert 0o600 == Path(path).stat().st_mode & 0o777
    assert not Path(path + ".part").exists()


def test_a_backup_that_can_not_be_written_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder lies in its place: one line says so, and no traceback."""
    Store(tmp_path / "s").close()
    (tmp_path / "s.backup").mkdir()
    (tmp_path / "s.backup" / "mine").touch()

    assert 1 == main(["backup", "--store", str(tmp_path / "s")])

    assert capsys.readouterr().err.startswith("otel-usage serve: the store can't be written: ")
    assert (tmp_path / "s.backup" / "mine").exists()
