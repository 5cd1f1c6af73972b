"""What processes count in their cells is taken once, to the unit, whenever they and the senders are killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_usage.delivery import cell_intake
from otel_usage.delivery.cell_intake import CellIntake, read_cells
from otel_usage.recording.cells import MOST, NAMES_AT, SIZE, Cells
from otel_usage.spool import files

from ..hosts import INTERPRETERS, ROOT, Host, points_in, version_of

SCHEMA = {
    "n": {"kind": "count", "why": "x", "fields": {"where": ["here", "there"], "of": ("integer", 1000)}},
    "did": {"why": "x"},
}
HEAD = f"""
import os, signal, sys, time
import otel_usage
usage = otel_usage.init("prog", version="1.4", consent="opt-in", schema={SCHEMA!r}, service=True)
"""


class FakeRecorder:
    """What `Cells` needs of a recorder."""

    def __init__(self, spool: Path) -> None:
        self.spool = str(spool)
        self.resource = '{"key":"service.name","value":{"stringValue":"prog"}}'


class KilledError(BaseException):
    """Stands for a SIGKILL."""


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    for name in ("cells", "new"):
        (tmp_path / name).mkdir()
    return tmp_path


def cells_of(spool: Path) -> Cells:
    recorder: Any = FakeRecorder(spool)
    cells = Cells(recorder)
    cells.counted = cells.new_cell(b'{"name":"usage.count.n","unit":"{item}","attributes":[]}')
    return cells


def died(spool: Path, n: int) -> None:
    """Leave what a process leaves that counted *n*, and was killed."""
    source = f"""
import os, sys
from tests.delivery.test_cells import FakeRecorder, cells_of
cells_of({str(spool)!r}).counted[0] += {n}
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", source], cwd=ROOT, check=True)


def taken(spool: Path) -> int:
    return sum(n for path in (spool / "new").iterdir() for _, _, n in points_in(path))


def test_a_living_process_is_read_again_and_again(spool: Path) -> None:
    """Each look takes what was added since the last one; one that finds nothing new writes nothing."""
    cells, intake = cells_of(spool), CellIntake(str(spool))
    sums = []
    for n in (3, 0, 4):
        cells.counted[0] += n
        intake.take()
        sums.append((taken(spool), len(list((spool / "new").iterdir()))))

    assert [(3, 1), (3, 1), (7, 2)] == sums


def steps(monkeypatch: pytest.MonkeyPatch, kill_at: int) -> list[int]:
    """Have the sender killed before its call number *kill_at* that changes anything; -1: never. Return how many there were."""
    done = [0]
    for module, name in ((os, "rename"), (os, "unlink"), (os, "replace"), (os, "fsync")):
        real = getattr(module, name)

        def call(*args: Any, real: Any = real) -> Any:
            if done[0] == kill_at:
                raise KilledError
            done[0] += 1
            return real(*args)

        monkeypatch.setattr(module, name, call)
    return done


@pytest.mark.parametrize("dead", [True, False])
def test_a_sender_that_is_killed_anywhere_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dead: bool
) -> None:
    """Killed before each call that changes anything, and again in the recovery: the sum is what was counted."""
    trial = 0
    for first in range(10):
        for second in (0, 3, 6, -1):
            spool = tmp_path / f"{first}.{second}"
            for name in ("cells", "new"):
                (spool / name).mkdir(parents=True)
            cells = cells_of(spool)
            cells.counted[0] += 5
            if dead:
                os.close(cells.descriptor)  # and so let go of the lock
                monkeypatch.setattr(cell_intake, "began_ticks", lambda process: 0)
            for kill_at in (first, second):
                with monkeypatch.context() as patch:
                    steps(patch, kill_at)
                    try:
                        CellIntake(str(spool)).take()
                    except KilledError:
                        trial += 1
            if not dead:
                cells.counted[0] += 2
            CellIntake(str(spool)).take()

            assert (5 if dead else 7) == taken(spool), (first, second)
            left = sorted(path.name for path in (spool / "cells").iterdir())
            assert [] == (left if dead else [name for name in left if not name.endswith((".cells", ".taken"))])
            assert {"cells", "new"} == {path.name for path in spool.iterdir() if not path.name.endswith(".part")}
    assert trial > 2 * 7


def test_the_dead_are_removed_when_all_is_taken(spool: Path) -> None:
    """Of three processes that were killed nothing stays but what they counted."""
    for n in (1, 0, 4):
        died(spool, n)

    assert 0 == sum(CellIntake(str(spool)).take().values())

    assert (5, []) == (taken(spool), list((spool / "cells").iterdir()))


def test_a_process_whose_lock_is_gone_but_that_lives_stays(spool: Path) -> None:
    """A host may close our descriptor: the mapping stays, and so does the file."""
    cells = cells_of(spool)
    os.close(cells.descriptor)
    cells.counted[0] += 1
    CellIntake(str(spool)).take()
    cells.counted[0] += 1
    cells.keep_locked()
    CellIntake(str(spool)).take()

    assert (2, True) == (taken(spool), cells.is_there())


def bad_files() -> Iterator[bytes]:
    yield b""
    yield b"otel-usage cells 1\n"
    yield os.urandom(SIZE)
    yield b"otel-usage cells 1\n" + os.urandom(SIZE - 19)
    whole = bytearray(SIZE)
    whole[:19] = b"otel-usage cells 1\n"
    whole[32:40] = (1).to_bytes(8, sys.byteorder)
    whole[40:48] = (5).to_bytes(8, sys.byteorder)
    yield bytes(whole)  # a name that is none
    whole[NAMES_AT : NAMES_AT + 5] = b'"no"\n'
    whole[4096] = 1
    yield bytes(whole)  # a name of another shape
    whole[40:48] = (1 << 63).to_bytes(8, sys.byteorder)
    yield bytes(whole)


@pytest.mark.parametrize("content", list(bad_files()))
def test_a_file_of_another_kind_is_set_aside(spool: Path, content: bytes) -> None:
    """What can't be read is counted once, and is in nobody's way."""
    cells = cells_of(spool)
    cells.counted[0] += 1
    (spool / "cells" / "0.cells").write_bytes(content)

    lost = [dict(CellIntake(str(spool)).take()) for _ in range(2)]

    assert ([{"corrupt": 1}, {}], 1) == (lost, taken(spool))


def test_links_and_folders_are_not_followed(spool: Path) -> None:
    """Whatever lies among the cells, the others are taken."""
    (spool / "cells" / "a.cells").symlink_to("/etc/passwd")
    (spool / "cells" / "b.cells").mkdir()
    os.mkfifo(spool / "cells" / "c.cells")
    (spool / "cells" / "d.cells.taken").write_text("x")
    cells = cells_of(spool)
    cells.counted[0] += 1
    CellIntake(str(spool)).take()

    assert 1 == taken(spool)


@pytest.mark.parametrize("mark", [b"", b"{", b"[]", b'{"totals": 3}'])
def test_a_mark_that_cannot_be_read(spool: Path, mark: bytes) -> None:
    """What was counted before it is rather lost than counted twice; what comes after it is counted."""
    cells, intake = cells_of(spool), CellIntake(str(spool))
    cells.counted[0] += 3
    intake.take()
    [path] = (spool / "cells").glob("*.taken")
    path.write_bytes(mark)
    cells.counted[0] += 4
    intake.take()
    cells.counted[0] += 5
    intake.take()

    assert taken(spool) in (3 + 5, 3 + 4 + 5)


# -- the program's side ---------------------------------------------------------------------------------------------


def sum_of(host: Host) -> int:
    return sum(n for (name, _), n in host.counts.items() if name == "usage.count.n")


def dropped(host: Host) -> dict[str, int]:
    return {dict(key)["reason"]: n for (name, key), n in host.counts.items() if name == "usage.dropped"}


ENDS = {
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM)",
    "os._exit": "os._exit(0)",
    "exec": "os.execv('/bin/true', ['true'])",
    "exception": "1 / 0",
    "exit": "sys.exit(3)",
}


@pytest.mark.parametrize("how", ENDS)
def test_a_service_loses_nothing_however_it_ends(host: Host, how: str) -> None:
    """Counts and actions are on the disk when the calls return."""
    host.run(HEAD + f"for i in range(41):\n    usage.count('n', where='here')\nusage.action('did')\n{ENDS[how]}\n")
    host.adopt()

    assert (41, {}) == (sum_of(host), dropped(host))
    assert ["did"] == [span.name for span in host.spans if span.attributes["usage.kind"] == "action"]
    assert [] == host.runs


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
def test_threads_and_handlers_count_exactly(host: Host, python: str) -> None:
    """Eight threads and a timer's handler count into the same cells."""
    source = """
import threading
at = [0]
def handler(*args):
    at[0] += 1
    usage.count("n", where="there", of=at[0] % 40)
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
sys.setswitchinterval(1e-5)
def work():
    for i in range(2000):
        usage.count("n", where="here", of=i % 30)
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
signal.setitimer(signal.ITIMER_REAL, 0)
print(8 * 2000 + at[0], flush=True)
os._exit(0)
"""
    ended = host.run(HEAD + source, python=python)

    assert (int(ended.out), {}) == (sum_of(host), dropped(host))


def test_what_there_is_no_room_for_is_counted(host: Host) -> None:
    """The file never grows, whatever is counted."""
    host.run(HEAD + "for i in range(1000):\n    usage.count('n', 2, of=i)\nos._exit(0)\n")

    n = sum_of(host)
    assert n % 2 == 0
    assert 1000 == n // 2 + dropped(host)["limit"]
    assert n // 2 >= min(MOST - 1, 300)
    assert [SIZE] == [path.stat().st_size for path in host.files("cells")]


def test_wrong_calls_are_counted_as_dropped(host: Host) -> None:
    """No call raises, and none counts what it should not."""
    source = """
usage.count("n"); usage.count("n", -1); usage.count("n", True); usage.count("n", 1.5); usage.count("n", "s3cret")
usage.count("other"); usage.count([]); usage.count("n", where="s3cret"); usage.count("n", where=[]); usage.count("n", s3cret=1)
usage.count("n", 2**64); usage.count("n", 2**64)
os._exit(0)
"""
    assert 0 == host.run(HEAD + source).status
    assert 4 == sum_of(host)
    assert {"value": 8, "undeclared": 2, "undeclared_field": 1} == dropped(host)
    assert not any(b"s3cret" in path.read_bytes() for path in host.home.rglob("*") if path.is_file())


def test_a_full_disk_costs_the_service_nothing(host: Host) -> None:
    """Where there is no room for the whole file none is mapped: writing into it would kill the process."""
    source = """
import resource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
for i in range(50):
    usage.count("n")
sys.exit(7)
"""
    assert 7 == host.run(HEAD + source).status
    assert [] == host.files("cells")


SLOW = pytest.mark.skipif(not os.environ.get("OTEL_USAGE_SLOW"), reason="slow: OTEL_USAGE_SLOW=1")


@pytest.mark.parametrize("trial", [0, *[pytest.param(n, marks=SLOW) for n in range(1, 20)]])
def test_killed_at_a_random_moment(host: Host, trial: int) -> None:
    """What a process says it has counted when it is killed is in its cells, or one more."""
    source = "for i in range(1, 10**9):\n    usage.count('n', where='here')\n    if i % 50 == 0:\n        os.write(1, b'%d\\n' % i)\n"
    process = host.start(HEAD + source)
    assert process.stdout is not None
    read = [process.stdout.readline() for _ in range(random.Random(trial).randrange(1, 400))]
    process.kill()
    read += process.communicate()[0].splitlines()
    last = int(read[-1])

    assert last <= sum_of(host) <= last + 51


def test_cells_are_read_as_they_are_written(spool: Path) -> None:
    """A name that is not whole yet is not there."""
    cells = cells_of(spool)
    cells.counted[0] += 9
    [path] = (spool / "cells").iterdir()

    read = read_cells(path.read_bytes())

    assert (["usage.count.n"], [9], os.getpid()) == ([name["name"] for name in read.names], read.totals, read.process)
    assert files.list_files(str(spool / "cells")) == [path.name]
