"""The window of what was delivered already: repetitions, bounds, and what survives the relay's death."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_usage.server.window import Window
from otel_usage.setting_error import SettingError


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.lists(st.integers(0, 15), max_size=8), st.sets(st.integers(0, 15))), max_size=25))
def test_nothing_done_is_fresh_again_while_the_window_lasts(steps: list[tuple[list[int], set[int]]]) -> None:
    """Whatever is claimed and settled in any order: an id is fresh exactly if it was not done."""
    window = Window(1_000)
    done: set[int] = set()
    for ids, again in steps:
        claim = window.claim(ids)

        fresh = [ids[position] for position in claim.fresh]
        assert len(ids) == len(fresh) + claim.known + claim.busy
        assert (set(ids) - done, 0) == (set(fresh), claim.busy)
        window.settle((one for one in fresh if one not in again), (one for one in fresh if one in again))
        done |= set(fresh) - again


def test_the_window_forgets_the_oldest_and_no_more() -> None:
    """At least half of its size is remembered, and never more than its size."""
    window = Window(100)
    for n in range(1_000):
        window.settle([n], [])
        assert len(window) <= 100
        assert () == window.claim(range(max(0, n - 49), n + 1)).fresh

    assert 900 == len(window.claim(range(900)).fresh)


def test_what_is_claimed_is_busy_for_others() -> None:
    """Until it is settled, what one request delivers is nobody else's."""
    window = Window(100)

    first = window.claim([1, 2])
    second = window.claim([2, 3, 3])

    assert ((0, 1), 0, 0) == (first.fresh, first.busy, first.known)
    assert ((1,), 1, 1) == (second.fresh, second.busy, second.known)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 15), max_size=8), st.sets(st.integers(0, 15)), st.booleans()), max_size=15
    )
)
def test_a_kept_window_survives_death(steps: list[tuple[list[int], set[int], bool]]) -> None:
    """Killed at any point, a window that is kept knows what was done and what was under way; nothing is fresh twice."""
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/ga4.window"
        window = Window(1_000, path)
        gone: set[int] = set()
        for ids, again, dies in steps:
            claim = window.claim(ids)
            fresh = [ids[position] for position in claim.fresh]
            assert (set(ids) - gone, 0) == (set(fresh), claim.busy)
            if dies:
                window.close()  # all that death does to it: nothing is settled
                gone |= set(fresh)
                window = Window(1_000, path)
            else:
                window.settle((one for one in fresh if one not in again), (one for one in fresh if one in again))
                gone |= set(fresh) - again
        window.close()


def test_a_kept_window_is_bounded_and_private(tmp_path: Path) -> None:
    """Its file holds no more than some times its size, however long a destination is down; nobody else reads it."""
    path = tmp_path / "ga4.window"
    window = Window(100, str(path))
    for _ in range(200):  # claimed and struck out
        window.claim(range(20))
        window.settle([], range(20))
    for n in range(1_000):
        window.settle([n], [])
        assert path.stat().st_size <= 25 * 450
    window.close()
    path.write_bytes(path.read_bytes() + b"+torn")
    again = Window(100, str(path))

    assert () == again.claim(range(951, 1_000)).fresh
    assert 0o600 == path.stat().st_mode & 0o777
    with pytest.raises(SettingError, match="another relay"):
        Window(100, str(path))
    again.close()


def test_a_full_disk_does_not_stop_deliveries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the window can't be noted any more it goes on in memory, and says so once."""
    window = Window(100, str(tmp_path / "ga4.window"))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    for n in range(200):
        assert (0,) == window.claim([n]).fresh
        window.settle([n], [])

    assert 1 == caplog.text.count("No space left")
    assert () == window.claim([199]).fresh
