"""A little about each of very many installations is remembered, in bounded memory."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from otel_usage_exporters import compact_memory
from otel_usage_exporters.compact_memory import CompactMemory
from otel_usage_exporters.ga4 import translate as ga4
from otel_usage_exporters.segment import translate as segment
from otel_usage_exporters.usage_event import events_from_spans

from .servers import resource, run

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**12), 10**12), st.text(max_size=20)),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=12), JSON), max_size=40))
def test_it_remembers_as_a_dict_does(steps: list[tuple[str, Any]]) -> None:
    """Whatever is written in any order: the last value of each name."""
    memory, expected = CompactMemory(), {}
    for name, value in steps:
        memory.update({name: value})
        expected[name] = value

        assert {name: memory.read().get(name, "absent") for name in expected} == {
            name: value if len(compact_memory.json.dumps(value, separators=(",", ":"))) <= 255 else "absent"
            for name, value in expected.items()
        }
    assert "never" * 4 not in memory.read()


def test_a_full_bucket_forgets_what_was_not_written_for_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is never larger than it may be."""
    monkeypatch.setattr(compact_memory, "BUCKETS", 1)
    memory = CompactMemory()
    for n in range(1_000):
        memory.update({f"i{n}": [n, n], "often": [n]})
        assert len(memory._buckets[0]) <= compact_memory.BUCKET_BYTES

    left = [n for n in range(1_000) if f"i{n}" in memory.read()]
    assert left == list(range(left[0], 1_000))
    assert len(left) > 30
    assert [999] == memory.read()["often"]


def test_what_a_copy_learns_nobody_else_does() -> None:
    """A rehearsal changes nothing."""
    memory = CompactMemory()
    memory.update({"a": 1})
    copy = memory.copy_without_file()
    copy.update({"a": 2, "b": 3})

    assert (1, None, 2, 3) == (memory.read()["a"], memory.read().get("b"), copy.read()["a"], copy.read()["b"])


def test_threads_may_write_at_once() -> None:
    """Nothing is torn, and of what one thread alone writes nothing is lost where buckets differ."""
    memory = CompactMemory()

    def work(who: int) -> None:
        for n in range(2_000):
            memory.update({f"{who}-{n}": [who, n]})

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    entries = memory.read()
    values = [(entries.get(f"{who}-{n}"), [who, n]) for who in range(4) for n in range(2_000)]
    assert all(value in (None, expected) for value, expected in values)
    assert sum(value is None for value, _ in values) < 80


@pytest.mark.skipif(not os.environ.get("OTEL_USAGE_SLOW"), reason="OTEL_USAGE_SLOW is not set")
def test_a_million_installations() -> None:
    """All but a handful are remembered, at less than 64 bytes each; twice as many take no more than is allowed."""

    def rss_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    memory = CompactMemory()
    before = rss_bytes()
    for n in range(1_000_000):
        memory.update({f"{n}.{n}": [1_764_170_000, 0, 500]})
    grown = rss_bytes() - before
    entries = memory.read()
    began = time.process_time()
    forgotten = sum(f"{n}.{n}" not in entries for n in range(0, 1_000_000, 10))
    took_s = (time.process_time() - began) / 100_000

    assert forgotten < 50
    assert grown < 64_000_000
    assert took_s < 50e-6
    for n in range(1_000_000, 2_000_000):
        memory.update({f"{n}.{n}": [1_764_170_000, 0, 500]})
    assert rss_bytes() - before < 130_000_000


class CountingBuckets(list[bytes]):
    """Buckets that count how often one is looked into."""

    looks = 0

    def __getitem__(self, at: Any) -> Any:
        self.looks += 1
        return super().__getitem__(at)

    def __iter__(self) -> Any:
        self.looks += len(self)
        return super().__iter__()


@pytest.mark.parametrize("clients", [1, 25])
def test_a_delivery_looks_only_for_its_own_installations(clients: int) -> None:
    """Whatever a translation asks of the memory, it never goes through all that is remembered: GA4's took 30 ms for that."""
    memory = CompactMemory()
    memory._buckets = CountingBuckets(memory._buckets)
    events, _ = events_from_spans([run(n + 1, of=resource(installation=f"i{n % clients}")) for n in range(100)])

    ga4.translate(events, ga4.GA4Options(), now_ns=time.time_ns(), sessions=memory.read())
    segment.translate(events, segment.SegmentOptions(), now_ns=time.time_ns(), traits=memory.read())

    assert clients <= memory._buckets.looks <= 4 * clients
    assert memory.read()
