"""Whatever somebody else puts into a folder of the spool: what was recorded arrives, by this sender and by the next."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_usage.control.app import App
from otel_usage.control.status import status_of
from otel_usage.delivery.ledger import Ledger

from ..spools import Spool, run_line
from .backends import Backend


def folder(path: Path) -> None:
    """A folder with something in it, as a NAS makes them."""
    (path / "x").mkdir(parents=True)
    (path / "x" / "thumb.jpg").write_bytes(b"x")


def dangling(path: Path) -> None:
    """A link to nothing."""
    path.symlink_to("/nowhere/at/all")


def link(path: Path) -> None:
    """A link to a file of the user's, which must stay as it is."""
    path.symlink_to("/etc/passwd")


def pipe(path: Path) -> None:
    """A pipe that nobody writes to: whoever opens it waits for ever."""
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    """The socket of a program that has ended."""
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's address is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def unreadable(path: Path) -> None:
    """A file that may not be read; root may, so that it is another user's too."""
    path.write_bytes(b"?")
    path.chmod(0)
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)


def random_bytes(path: Path) -> None:
    """A file of something else."""
    path.write_bytes(bytes(range(256)) * 10)


KINDS: list[Callable[[Path], None]] = [folder, dangling, link, pipe, unix_socket, unreadable, random_bytes]
NAMES = [
    "@eaDir",
    "00.traces.jsonl",
    "zz.metrics.jsonl",
    "00.part",
    ".DS_Store",
    b"caf\xe9.traces.jsonl",
    "a\nb.traces.jsonl",
]
PLACES = ["new", "open", "bad", "queue", "queue/otlp", "queue/otlp/wait", "queue/otlp/flight", ".", ".."]
OURS = ["lock", "wake", "batch", "batch.done", "dropped", "bad", "queue/otlp/pause", "../ledger.jsonl", "../ledger.jsonl.1",
        "../settings.json", "../id", "../ga4-sessions.json", "queue/otlp/wait", "queue/otlp/flight"]  # fmt: skip


@pytest.fixture
def spool(tmp_path: Path, plain_environ: None, otlp: Backend) -> Spool:
    """A spool that has been in use."""
    spool = Spool(tmp_path / "state", {"otlp": otlp.url})
    spool.run(command="before")
    spool.drain()
    (spool.folder / "bad").mkdir(exist_ok=True)
    return spool


def three_runs_arrive(spool: Spool, otlp: Backend) -> None:
    """Three runs, a sender after each: all arrive, once."""
    for n in range(3):
        spool.run(command=f"c{n}")
        spool.drain()
    runs = {command: n for command, n in otlp.acknowledged.items() if command}  # where the id was lost: a first run
    assert {"before": 1, "c0": 1, "c1": 1, "c2": 1} == runs


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("place", PLACES)
def test_strangers_in_any_folder(spool: Spool, otlp: Backend, place: str, kind: Callable[[Path], None]) -> None:
    """Under all names at once."""
    for name in NAMES:
        kind(spool.folder / place / os.fsdecode(name))

    three_runs_arrive(spool, otlp)

    fault = [entry for entry in Ledger(str(spool.home)).entries() if entry.get("reason") == "fault"]
    assert [] == fault


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", OURS)
def test_strangers_in_our_places(spool: Spool, otlp: Backend, name: str, kind: Callable[[Path], None]) -> None:
    """Where a file or a folder of ours has its place."""
    path = spool.folder / name
    if path.is_dir():
        for inner in path.iterdir():
            inner.unlink()
        path.rmdir()
    path.unlink(missing_ok=True)
    kind(path)

    three_runs_arrive(spool, otlp)


def test_a_full_folder_of_bad_files(spool: Spool, otlp: Backend) -> None:
    """With a hundred there, further ones are removed, and folders stay where they are."""
    for n in range(100):
        (spool.folder / "bad" / f"{n}").write_bytes(b"x")
    for kind in KINDS:
        kind(spool.folder / "new" / f"{kind.__name__}.traces.jsonl")

    three_runs_arrive(spool, otlp)

    assert ["folder.traces.jsonl"] == os.listdir(spool.folder / "new")
    assert 100 == len(os.listdir(spool.folder / "bad"))


def test_a_folder_in_new_stays(spool: Spool, otlp: Backend) -> None:
    """It is somebody else's: nothing in it is touched, and it is not counted as lost."""
    folder(spool.folder / "new" / "@eaDir")

    three_runs_arrive(spool, otlp)

    assert (spool.folder / "new" / "@eaDir" / "x" / "thumb.jpg").exists()
    assert not (spool.folder / "dropped").exists()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_commands_pass_over_strangers(spool: Spool, kind: Callable[[Path], None]) -> None:
    """``status`` and ``preview`` end, and count what is there to be sent."""
    spool.run(command="c0")
    for place in ("new", "open", "queue/otlp/wait", "queue/otlp/flight"):
        for name in NAMES:
            kind(spool.folder / place / os.fsdecode(name))

    status = status_of(App("prog", spool.settings))
    preview = App("prog", spool.settings).preview()

    assert status["waiting"]["records"] >= 1
    assert "prog c0" in json.dumps(preview.json())


def test_a_file_that_can_not_be_removed_is_sent_once(
    spool: Spool, otlp: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever keeps it there, it has been taken in."""
    stuck = spool.put(run_line(command="stuck")[2], "0000000000000001-00.traces.jsonl")
    real = os.unlink

    def unlink(path: str, **more: int) -> None:
        if str(path) == str(stuck):
            raise PermissionError(1, "Operation not permitted")
        real(path, **more)

    monkeypatch.setattr(os, "unlink", unlink)
    for n in range(3):
        spool.run(command=f"c{n}")
        spool.drain()

    assert {"before": 1, "stuck": 1, "c0": 1, "c1": 1, "c2": 1} == otlp.acknowledged
    assert stuck.exists()


def test_junk_costs_little_and_is_counted_as_what_it_held(spool: Spool, otlp: Backend) -> None:
    """Millions of empty lines are one loss, not millions; a torn line counts the spans that it held."""
    spool.put(b"\n" * 4_000_000, "0001.traces.jsonl")
    line = run_line()[2]
    spool.put(line[:-30] + b"\n", "0002.traces.jsonl")
    spool.run(command="c0")

    spool.drain()

    assert 1 == otlp.acknowledged["c0"]
    dropped = sum(entry["dropped"].get("corrupt", 0) for entry in Ledger(str(spool.home)).entries())
    assert 100 < dropped < 110


@pytest.mark.parametrize("spans", [1, 7])
def test_losses_are_counted_in_records(spool: Spool, otlp: Backend, spans: int) -> None:
    """A line holds a run with all its actions: what is too old, too much or not readable counts each of them."""
    otlp.answer = lambda n, commands: (503, {"Retry-After": "3600"}, b"")
    group = json.loads(run_line()[2])
    scoped = group["resourceSpans"][0]["scopeSpans"][0]
    scoped["spans"] = scoped["spans"] * spans
    text = json.dumps(group, separators=(",", ":")).encode() + b"\n"
    wait = spool.folder / "queue" / "otlp" / "wait"
    old = wait / "1500000000000000-0001.traces.jsonl"
    old.write_bytes(text)
    os.utime(old, (1_600_000_000, 1_600_000_000))
    torn = wait / f"{2**61:016x}-0001.traces.jsonl"
    torn.write_bytes(text[:-2] + b"\n")

    spool.drain()

    sums: dict[str, int] = {}
    for entry in Ledger(str(spool.home)).entries():
        for reason, n in entry["dropped"].items():
            sums[reason] = sums.get(reason, 0) + n
    assert {"age": spans, "corrupt": spans} == sums
