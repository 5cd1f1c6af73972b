"""What the sender takes from the spool, and what it drops and counts: no consent, not ours, not allowed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ..spools import Sink, Spool, run_line


def test_consent_given_later_sends_nothing_older(spool: Spool, sink: Sink) -> None:
    """``since``: what was begun before the user agreed is dropped, and counted."""
    del os.environ["PROG_TELEMETRY"]
    spool.run(command="before", start_ns=time.time_ns() - 3600 * 10**9)
    (spool.home / "consent").write_text(f"on {int(time.time()) - 1800} 1\n")
    spool.run(command="after")

    spool.drain()

    assert ["prog after"] == [span["name"] for span in sink.spans()]
    assert 1 == sink.points()[("usage.dropped", "consent")]


def test_a_user_who_says_off_meanwhile_is_heard(spool: Spool, sink: Sink) -> None:
    """The sender asks again before it sends."""
    del os.environ["PROG_TELEMETRY"]
    spool.run()
    (spool.home / "consent").write_text(f"off {int(time.time())} 1\n")

    spool.drain()

    assert [] == sink.told


def test_a_dead_process_is_reported_once(spool: Spool, sink: Sink) -> None:
    """A stub whose lock is free becomes a span; one whose process lives stays."""
    _trace, dead, text = run_line()
    path = spool.put(text, f"{1:016x}-{dead}.traces.jsonl", "open")
    os.utime(path, (1, 1))
    _trace, alive, text = run_line()
    path = spool.put(text, f"{2:016x}-{alive}.traces.jsonl", "open")
    os.utime(path, (1, 1))
    descriptor = os.open(path, os.O_RDWR)
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:  # the lock of another process
        os.lockf(descriptor, os.F_TLOCK, 0)
        os.write(ready[1], b"x")
        os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)

    spool.drain()
    spool.drain()

    os.write(done[1], b"x")
    os.waitpid(child, 0)
    assert [dead] == sink.ids()
    assert [f"open/{2:016x}-{alive}.traces.jsonl"] == spool.files()
    for number in (descriptor, *ready, *done):
        os.close(number)


def test_files_that_are_not_ours_are_set_aside_and_counted(spool: Spool, sink: Sink, tmp_path: Path) -> None:
    """Corrupt, truncated, foreign, linked, huge, binary: none stops the others, none leaves."""
    good = spool.run()
    whole = run_line()[2]
    spool.put(whole[:-20], "0001.traces.jsonl")
    spool.put(b"", "0002.traces.jsonl")
    spool.put(b"\x00\xff" * 100 + b"\n", "0003.traces.jsonl")
    spool.put(b"[" * 100_000 + b"\n", "0004.traces.jsonl")
    spool.put(b'{"resourceSpans": 3}\n', "0005.traces.jsonl")
    spool.put(b'{"resourceSpans":[{"resource":{"attributes":[]}}]}\n', "0006.traces.jsonl")
    spool.put(whole, "0007.something")
    spool.put(b"x" * 5_000_000, "0008.traces.jsonl")
    spool.put(b'{"resourceMetrics":[{}]}\n', "0009.metrics.jsonl")
    (spool.folder / "new" / "0010.traces.jsonl").mkdir()
    secret = tmp_path / "secret"
    secret.write_bytes(whole)
    (spool.folder / "new" / "0011.traces.jsonl").symlink_to(secret)
    os.mkfifo(spool.folder / "new" / "0012.traces.jsonl")
    os.chown(spool.put(whole, "0013.traces.jsonl"), 12345, -1) if os.geteuid() == 0 else None

    spool.drain()

    assert [good] == sink.ids()
    assert sink.points()[("usage.dropped", "corrupt")] >= 10
    assert not [name for name in spool.files() if not name.startswith("bad/")]
    assert secret.read_bytes() == whole


BAD = [
    ("attribute", {"more": [("host.name", "alice-laptop")]}),
    ("attribute", {"more": [("process.command_args", "--token s3cret")]}),
    ("attribute", {"name": "prog /home/alice"}),
    ("value", {"more": [("error.type", "Error: /home/alice")]}),
    ("attribute", {"resource": [("host.id", "4711")]}),
    ("attribute", {"app": "other"}),
    ("age", {"start_ns": time.time_ns() - 31 * 86400 * 10**9}),
]


@pytest.mark.parametrize(("reason", "changes"), BAD)
def test_the_allow_list_is_checked_again(spool: Spool, sink: Sink, reason: str, changes: dict[str, object]) -> None:
    """Whatever got into the spool, only what the table allows leaves, and the rest is counted by reason."""
    good = spool.run()
    spool.run(**changes)  # type: ignore[arg-type]

    spool.drain()

    assert [good] == sink.ids()
    assert 1 == sink.points()[("usage.dropped", reason)]


def test_a_run_is_kept_without_names_that_the_table_does_not_take(spool: Spool, sink: Sink) -> None:
    """Programs name commands ``list|ls``, and whatever got into the spool: the run counts, the name stays here."""
    odd = spool.run(command="cache list|ls")
    path = spool.run(command="../s3cret", more=[("usage.options", ["--to=s3cret", "--fine"])])

    spool.drain()

    assert {odd, path} == set(sink.ids())
    assert {"prog (unknown)"} == {span["name"] for span in sink.spans()}
    assert {"(unknown)"} == {span["attributes"]["usage.command"] for span in sink.spans()}
    assert ["--fine"] == sink.spans()[1]["attributes"]["usage.options"]
    assert not any(b"s3cret" in body or b"list|ls" in body for _, _, body in sink.told)
    assert not any(name == "usage.dropped" for name, _ in sink.points())
