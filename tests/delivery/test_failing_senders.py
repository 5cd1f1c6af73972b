"""What waits is bounded, however senders fail: they die, the disk is full, the clock was ahead."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from otel_usage.delivery.ledger import Ledger
from otel_usage.delivery.queue import Queue
from otel_usage.recording import sender_start
from otel_usage.recording.folders import MAX_WAITING
from otel_usage.spool.wake_token import senders_postponed_until

from ..hosts import Host
from ..spools import Spool, run_line
from .backends import Backend, takes


@pytest.fixture
def spool(tmp_path: Path, plain_environ: None, otlp: Backend) -> Spool:
    """An empty spool whose runs go there."""
    return Spool(tmp_path / "state", {"otlp": otlp.url})


def dropped(spool: Spool) -> Counter[str]:
    """Return what the ledger says was dropped, by reason."""
    sums: Counter[str] = Counter()
    for entry in Ledger(str(spool.home)).entries():
        sums.update(entry["dropped"])
    return sums


@pytest.mark.parametrize("missing", ["opentelemetry", "requests"])
def test_a_sender_that_can_not_work_says_so_and_keeps_the_bound(spool: Spool, missing: str) -> None:
    """Its libraries are broken: the ledger says what, the next sender is postponed, and what waits is trimmed and counted."""
    text = run_line()[2]
    for n in range(54):
        (spool.folder / "new" / f"{n:016x}-00.traces.jsonl").write_bytes(text)
    code = "import otel_usage.recording.folders as folders; folders.trim.__defaults__ = (50,)\n"
    code += f"import sys; sys.modules[{missing!r}] = None\n"
    code += f"from otel_usage.delivery.start import main; main({spool.settings!r})"

    subprocess.run([sys.executable, "-c", code], check=False, stderr=subprocess.DEVNULL)

    (fault,) = [entry for entry in Ledger(str(spool.home)).entries() if entry.get("reason") == "fault"]
    assert missing in fault["why"]
    assert 50 == len(os.listdir(spool.folder / "new"))
    until_s, why = senders_postponed_until(str(spool.folder), time.time())
    assert until_s > time.time() + 3_000
    assert missing in why
    spool.drain()
    assert {"limit": 4} == dropped(spool)


class SmallDisk:
    """A file system with room for *room* blocks, as far as files that are written whole or appended to are concerned."""

    def __init__(self, root: Path, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.room = room
        real_fsync = os.fsync

        def fsync(descriptor: int) -> None:
            if self.used() > self.room:
                raise OSError(errno.ENOSPC, "No space left on device")
            real_fsync(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)

    def used(self) -> int:
        """Return how many blocks of 4 KiB all files take."""
        return sum(-(-path.lstat().st_size // 4096) for path in self.root.rglob("*") if path.is_file())


@pytest.mark.parametrize("spare", [12, 4, 2, 0])
def test_a_disk_that_our_own_records_fill(
    spool: Spool, otlp: Backend, monkeypatch: pytest.MonkeyPatch, spare: int
) -> None:
    """Senders take in less at a time; where there is no room for a single file the oldest makes room, counted."""
    for n in range(60):
        spool.run(command=f"c{n}")
    SmallDisk(spool.home, 60 + spare, monkeypatch)

    spool.drain()

    lost = dropped(spool)["limit"]
    assert 60 - lost == len(otlp.acknowledged)
    assert lost <= 8
    assert spare < 6 or not lost
    assert {1} == set(otlp.acknowledged.values())
    assert [] == spool.files()


def test_a_clock_that_was_ahead(spool: Spool, otlp: Backend) -> None:
    """A pause that was written in the future is none: for the sender, nor for hosts."""
    otlp.answer = lambda n, commands: (503, {"Retry-After": "3600"}, b"")
    spool.run(command="c0")
    spool.drain()
    queue = Queue(str(spool.folder), "otlp")
    assert queue.paused_until_s(time.time()) > time.time() + 3_000

    pause = json.loads(Path(queue.pause_path).read_text())
    ahead = {key: value + 40_000 if key.endswith("_s") else value for key, value in pause.items()}
    Path(queue.pause_path).write_text(json.dumps(ahead))
    otlp.answer = takes
    spool.drain()

    assert {"c0": 1} == otlp.acknowledged
    assert queue.paused_until_s(time.time() + 40_001) == 0.0


def test_a_destination_that_is_none_any_more(spool: Spool, otlp: Backend) -> None:
    """What waits for it grows old like all else, and is counted then."""
    gone = Queue(str(spool.folder), "segment")
    gone.make_folders()
    gone.put("1500000000000000-0001.traces.jsonl", [run_line()[2]] * 3)
    path = Path(gone.wait_folder) / "1500000000000000-0001.traces.jsonl"
    os.utime(path, (1_600_000_000, 1_600_000_000))
    spool.run()

    spool.drain()

    assert {"age": 3} == dropped(spool)
    assert [] == gone.list_waiting()


PROGRAM = """
import otel_usage
usage = otel_usage.init("prog", version="1", consent="opt-out", destinations={"otlp": "http://127.0.0.1:9"})
with usage.command("scan"):
    pass
"""


def test_hosts_keep_the_bound_too(host: Host) -> None:
    """Where no sender ever works, whatever the cause, the host that starts one more drops the oldest records."""
    host.run(PROGRAM)
    text = run_line()[2]
    for n in range(55):
        (host.spool / "new" / f"{n:016x}-00.traces.jsonl").write_bytes(text)
    gone = str(host.tmp / "no-python")

    smaller = f"""
import sys
sys.executable = {gone!r}
from otel_usage.recording import folders, sender_start
folders.trim.__defaults__ = (50,)
sender_start.MAX_WAITING = 50
"""

    host.run(smaller + PROGRAM, env={"OTEL_USAGE_SENDER": "detached"})

    assert 50 == len(host.files("new"))
    assert "7" == (host.spool / "trimmed").read_text().strip()
    assert MAX_WAITING == sender_start.MAX_WAITING


def test_hosts_do_not_believe_a_wake_time_of_a_clock_that_was_ahead(host: Host) -> None:
    """The time is ahead, and so is the moment in which it was set: the next run starts a sender."""
    host.run(PROGRAM)
    token = host.spool / "wake"
    token.touch()
    os.utime(token, (time.time() + 40_000, time.time() + 40_000))
    # The kernel's own mark of when that was done can't be set back: the program's clock is put back instead.
    behind = "import time; real = time.time; time.time = lambda: real() - 20_000\n"

    host.run(behind + PROGRAM, env={"OTEL_USAGE_SENDER": "detached", "OTEL_USAGE_SEND_DELAY_S": "60"})

    assert abs(token.stat().st_mtime - (time.time() - 20_000 + 60)) < 30
