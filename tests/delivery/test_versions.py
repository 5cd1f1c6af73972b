"""Two versions, or two builds, of one program in use side by side: each one's records go where it says."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_usage.delivery.ledger import Ledger
from otel_usage.otlp import json_from_protobuf
from otel_usage.recording import otlp_events, otlp_text

from ..spools import SCHEMA, Spool, run_line
from .backends import Backend, backends, takes
from .test_partial_delivery import revive

DAY_NS = 86_400 * 10**9


@pytest.fixture
def two() -> Iterator[list[Backend]]:
    """A receiver for each of two versions."""
    with backends(takes, takes) as both:
        yield both


@pytest.fixture
def spool(tmp_path: Path, plain_environ: None, two: list[Backend]) -> Spool:
    """A spool of the older version."""
    return Spool(tmp_path / "state", {"otlp": two[0].url})


def record(spool: Spool, command: str, version: str, *, ago_ns: int = 0, **more: Any) -> None:
    """Have *version* of the program record a run, so long ago."""
    now_ns = time.time_ns() - ago_ns
    _trace, own, text = run_line(command=command, start_ns=now_ns, **more)
    before = b'"service.version","value":{"stringValue":"%s"}'
    text = text.replace(before % b"1.0", before % version.encode())
    assert version.encode() in text
    spool.put(text, f"{now_ns:016x}-{own}.traces.jsonl")


def send(spool: Spool, version: str, backend: Backend, **changes: Any) -> None:
    """Let a sender of *version* live."""
    before = dict(spool.settings)
    spool.settings.update(version=version, destinations={"otlp": backend.url}, **changes)
    spool.drain()
    spool.settings.clear()
    spool.settings.update(before)


def test_each_version_sends_its_own(spool: Spool, two: list[Backend]) -> None:
    """Whoever's sender comes first takes its own records, and leaves the other's."""
    release, development = two
    for n in range(3):
        record(spool, f"r{n}", "1.0")
        record(spool, f"d{n}", "1.1.dev0")

    send(spool, "1.0", release)
    assert 3 == len(spool.files())
    send(spool, "1.1.dev0", development)

    assert {"r0": 1, "r1": 1, "r2": 1} == release.acknowledged
    assert {"d0": 1, "d1": 1, "d2": 1} == development.acknowledged
    assert [] == spool.files()


def test_what_waits_in_a_queue_is_left_too(spool: Spool, two: list[Backend]) -> None:
    """The older version's destination is down: the newer one sends its own at once, and nothing else; no pause is shared."""
    release, development = two
    release.answer = lambda n, commands: (503, {"Retry-After": "3600"}, b"")
    record(spool, "r0", "1.0")
    send(spool, "1.0", release)
    record(spool, "d0", "1.1")
    send(spool, "1.1", development)
    assert {"d0": 1} == development.acknowledged

    release.answer = takes
    send(spool, "1.0", release)

    assert {"r0": 1} == release.acknowledged
    assert [] == spool.files()


def test_an_older_sender_drops_nothing_that_it_does_not_know(spool: Spool, two: list[Backend]) -> None:
    """The newer version declares more: its own sender knows that, and the older one has not dropped it as undeclared."""
    release, development = two
    ids, now_ns = os.urandom(24).hex(), time.time_ns()
    pairs: list[tuple[str, object]] = [("usage.kind", "action"), ("usage.action", "report.archive")]
    span = otlp_events.span(ids[:32], ids[32:48], "", "report.archive", now_ns, now_ns + 1, pairs, False)
    resource = otlp_events.attributes([("service.name", "prog"), ("service.version", "1.1")])
    spool.put(otlp_text.line("Spans", "spans", resource, span))
    send(spool, "1.0", release)

    schema = {**SCHEMA, "report.archive": {"why": "x"}}
    send(spool, "1.1", development, schema=schema)

    assert [ids[32:48]] == [span["spanId"] for span in spans_of(development)]
    assert not release.asked
    assert not any(entry["dropped"] for entry in Ledger(str(spool.home)).entries())


def spans_of(backend: Backend) -> list[Any]:
    """Return the spans that arrived."""
    bodies = [json_from_protobuf("traces", body) for path, _, body in backend.requests if path == "/v1/traces"]
    return [
        span
        for body in bodies
        for group in body["resourceSpans"]
        for scoped in group["scopeSpans"]
        for span in scoped["spans"]
    ]


def test_what_a_replaced_version_left_goes_with_the_next(spool: Spool, two: list[Backend]) -> None:
    """After a day its own senders will not come any more: whoever comes takes it, from ``new/`` and from the queue."""
    record(spool, "old", "1.0", ago_ns=DAY_NS + 10**9)
    record(spool, "recent", "1.0")
    queue = spool.folder / "queue" / "otlp" / "wait"
    queue.mkdir(parents=True)
    for command, ago_ns in (("waited", 2 * DAY_NS), ("waits", 0)):
        text = run_line(command=command)[2]
        (queue / f"{time.time_ns() - ago_ns:016x}-0001-0badcafe.traces.jsonl").write_bytes(text)
    (queue / f"{time.time_ns():016x}-0001.traces.jsonl").write_bytes(run_line(command="unmarked")[2])

    send(spool, "2.0", two[1])

    assert {"old": 1, "waited": 1, "unmarked": 1} == two[1].acknowledged
    assert 2 == len(spool.files())


def test_pauses_hold_for_versions_with_the_same_destination(spool: Spool, two: list[Backend]) -> None:
    """A destination that is down is not asked once more for each version that is in use."""
    two[0].answer = lambda n, commands: (503, {"Retry-After": "3600"}, b"")
    record(spool, "a", "1.0")
    send(spool, "1.0", two[0])
    asked = len(two[0].asked)
    record(spool, "b", "1.1")

    send(spool, "1.1", two[0])

    assert asked == len(two[0].asked)


@pytest.mark.parametrize("status", [401, 0])
def test_a_release_that_mends_the_settings_takes_all_at_once(spool: Spool, two: list[Backend], status: int) -> None:
    """The older version had a wrong token, or settings that are none: the newer one delivers what it recorded."""
    two[0].answer = lambda n, commands: (status, {}, b"no")
    record(spool, "a", "1.0")
    if status:
        send(spool, "1.0", two[0])
    else:
        send(spool, "1.0", two[0], policy=0)
    record(spool, "b", "1.1")

    send(spool, "1.1", two[1])

    assert {"a": 1, "b": 1} == two[1].acknowledged
    record(spool, "c", "1.0")
    send(spool, "1.1", two[1])  # all is well again: each its own
    assert "c" not in two[1].acknowledged


def test_wrong_settings_that_stay_take_nothing_of_another_version(spool: Spool, two: list[Backend]) -> None:
    """A version whose token is wrong tries again after a pause: with its own records alone."""
    two[0].answer = lambda n, commands: (401, {}, b"no")
    record(spool, "a", "1.0")
    send(spool, "1.0", two[0])
    record(spool, "b", "1.1")
    revive(spool)

    send(spool, "1.0", two[0])

    assert 4 == len(two[0].asked)
    assert "b" not in two[0].refused
