"""What a relay remembers outlives it: whenever it is killed, and whatever becomes of the file."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest
from otel_usage_exporters import compact_memory
from otel_usage_exporters.compact_memory import CompactMemory
from otel_usage_exporters.memory_journal import SPARE_BYTES

from otel_usage.setting_error import SettingError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ga4.memory"


def reopened(path: Path, *names: str) -> list[object]:
    """Return what a memory of the file at *path* remembers under each of *names*."""
    memory = CompactMemory(str(path))
    values = [memory.read().get(name) for name in names]
    memory.close()
    return values


def test_what_was_learned_is_in_the_file_before_it_is_used(path: Path) -> None:
    """Nothing has to be closed: a process that is killed right after has forgotten nothing."""
    memory = CompactMemory(str(path))
    memory.update({"a": [1_764_170_000, 0, 500], "b": "digest"})
    memory.update({"a": [-5, 0, 2**70], "c": {"k": [1]}})
    os.rename(path, path.with_suffix(".killed"))
    memory.close()

    assert [[-5, 0, 2**70], "digest", {"k": [1]}, None] == reopened(path.with_suffix(".killed"), "a", "b", "c", "d")
    assert 0o600 == path.with_suffix(".killed").stat().st_mode & 0o777


def test_a_file_that_was_cut_anywhere_or_changed_anywhere_is_read_as_far_as_it_is_whole(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is torn is said, forgotten, and never taken for something else; then the file is whole again."""
    memory = CompactMemory(str(path))
    for n in range(6):
        memory.update({f"i{n}": [n, n, n]})
    memory.close()
    whole = path.read_bytes()
    expected = [[n, n, n] for n in range(6)]

    for at in range(len(whole)):
        for text in (whole[:at], whole[:at] + bytes((whole[at] ^ 0xFF,)) + whole[at + 1 :]):
            caplog.clear()
            path.write_bytes(text)
            values = reopened(path, *[f"i{n}" for n in range(6)])
            known = values.count(None)
            assert [*expected[: 6 - known], *[None] * known] == values
            first = caplog.text
            caplog.clear()
            assert values == reopened(path, *[f"i{n}" for n in range(6)])
            assert caplog.text == ""
            if text != whole[:at]:
                assert "forgotten" in first or "begun anew" in first


@pytest.mark.parametrize("text", [b"nonsense", b"\0" * 40, b"{}" * 4_000])
def test_a_file_of_others_is_begun_anew(path: Path, text: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """And that is said."""
    path.write_bytes(text)

    assert [None] == reopened(path, "a")
    assert "begun anew" in caplog.text or "forgotten" in caplog.text


def test_the_file_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written anew before it is much larger than what it must hold."""
    monkeypatch.setattr("otel_usage_exporters.memory_journal.SPARE_BYTES", 2_000)
    memory = CompactMemory(str(path))
    sizes = []
    for n in range(2_000):
        memory.update({f"i{n % 50}": [n, n, n]})
        sizes.append(path.stat().st_size)
    memory.close()

    assert max(sizes) < 2_000 + 3 * 50 * 40
    assert [[1_999] * 3, [1_950] * 3] == reopened(path, "i49", "i0")
    assert SPARE_BYTES == 1 << 20


def test_one_relay_to_a_file(path: Path) -> None:
    """A second one does not start, and says why; after the first has ended it does."""
    first = CompactMemory(str(path))

    with pytest.raises(SettingError, match="held by another relay"):
        CompactMemory(str(path))
    first.close()
    assert [None] == reopened(path, "a")


def test_where_nothing_can_be_written_things_are_remembered_in_memory(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk costs what a restart would forget, and it is said once."""
    memory = CompactMemory(str(path))
    full = os.open("/dev/full", os.O_WRONLY)
    assert memory._journal is not None
    os.dup2(full, memory._journal._file)
    os.close(full)

    memory.update({"a": [1, 0, 0]})
    memory.update({"a": [2, 0, 0]})

    assert [2, 0, 0] == memory.read()["a"]
    assert ["remembered in memory only" in record.getMessage() for record in caplog.records] == [True]
    assert logging.ERROR == caplog.records[0].levelno
    memory.close()


def test_threads_learn_one_after_the_other(path: Path) -> None:
    """Where each adds to what it looks up, nothing is lost, in memory and in the file."""
    memory = CompactMemory(str(path))

    def work() -> None:
        for _ in range(200):
            with memory.exclusive():
                memory.update({"n": [memory.read().get("n", [0])[0] + 1]})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    memory.close()

    assert [[800]] == reopened(path, "n")
    assert compact_memory.MAGIC in path.read_bytes()
