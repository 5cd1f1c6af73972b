"""Take what living and dead processes have counted in their cells, each unit once, whenever we are killed.

FORMAT  ``cells/<name>.cells``          what a process counts: see recording/cells.py
        ``cells/<name>.cells.taken``    JSON: ``{"totals": […], "until_ns": …, "into": …}``: what was taken so far, of each cell;
                                        until when; and the name of the file of ``new/`` into which the newest of it went
        ``cells/<name>.cells.taking``   the same, as it will be once that file is in ``new/``

ALGORITHM  for each file of cells, under the sender's lock and before anything is taken in from ``new/``
1. What was added to each cell since ``taken`` was written is a data point, from then until now.
2. Write ``taking``. Put the points into ``new/``, as a host's file, by one rename. Rename ``taking`` to ``taken``. From there on
   they are records as all others are.
3. A file whose process is dead is removed once all was taken, and ``taken`` after it.
A file that can't be read is set aside, and counted.

ALGORITHM  of recovery, with the first look
1. ``taking`` exists: a sender was killed in step 2. If its file is in ``new/``, the points are there: step 2 is completed. Else
   they are not, and ``taking`` is removed. No sender takes in from ``new/`` in between.
2. ``taken`` exists without its cells: killed in step 3. It is removed.

RACES
1. A process counts while its file is read: what comes too late for this look is there at the next one.
2. A process dies while we look. Its lock is asked for before the cells are read: if it was free, what is read is final.
3. A host has closed our descriptor, and so let go of the lock, though its process lives: the file says which process that
   is. Where that one still runs, its file stays.
"""

from __future__ import annotations

import json
import os
import struct
import time
from collections import Counter
from typing import Any, NamedTuple

from ..recording.cells import CELLS_AT, HEAD_AT, MAGIC, MOST, NAMES_AT, RESOURCE_AT, SIZE, began_ticks
from ..recording.otlp_events import DELTA
from ..recording.otlp_text import line
from ..spool.files import list_files, write_whole
from ..spool.layout import CELLS, COUNTED, HIDDEN, METRICS, NEW, TAKEN, TAKING
from ..spool.set_aside import set_aside

LONGEST_NS = 86_400 * 10**9  # of a data point: a process may have counted nothing for weeks, and then something
TORN_S = 3600.0  # a file with a leading dot that is older than this will not be renamed any more


class CellFile(NamedTuple):
    """What one file of cells says. names: OTLP JSON; totals: as many, or more."""

    began_ns: int
    process: int
    process_began: int
    resource: str
    names: list[dict[str, Any]]  # Any: JSON, of a process's own
    totals: list[int]


def read_cells(content: bytes) -> CellFile:
    """Return what *content*, of a whole file of cells, says. Raises ValueError."""
    if len(content) != SIZE or not content.startswith(MAGIC):
        raise ValueError("no file of cells")
    began_ns, names_end, process, process_began = struct.unpack_from("=4Q", content, HEAD_AT)
    if names_end > SIZE - NAMES_AT or not began_ns:
        raise ValueError("a torn file of cells")
    resource = content[RESOURCE_AT:CELLS_AT].partition(b"\n")[0].decode("ascii")
    names = [json.loads(name) for name in content[NAMES_AT : NAMES_AT + names_end].splitlines()[:MOST]]
    for name in names:
        if not (
            isinstance(name["name"], str) and isinstance(name["unit"], str) and isinstance(name["attributes"], list)
        ):
            raise ValueError("a name of another shape")
    totals = struct.unpack_from(f"={len(names)}Q", content, CELLS_AT)
    return CellFile(began_ns, process, process_began, resource, names, list(totals))


class CellIntake:
    """Takes from the cells in *spool* what was added since the last look. The caller holds the sender's lock."""

    def __init__(self, spool: str) -> None:
        self.spool = spool
        self.folder = os.path.join(spool, CELLS)

    def take(self) -> Counter[str]:
        """Put what was counted into ``new/``. Returns what was lost, by reason. Raises OSError, as where the disk is full."""
        lost: Counter[str] = Counter()
        names = list_files(self.folder)
        self._recover(names)
        for name in names:
            if name.endswith(COUNTED):
                lost["corrupt"] += self._take_from(name)
        return +lost

    def _recover(self, names: list[str]) -> None:
        for name in names:
            path = os.path.join(self.folder, name)
            if name.endswith(TAKING):
                into = str(_read_json(path).get("into", ""))
                outside = os.path.join(self.spool, os.path.basename(into) or TAKING)
                if into and os.path.exists(os.path.join(self.spool, NEW, os.path.basename(into))):
                    os.replace(path, path.removesuffix(TAKING) + TAKEN)
                    continue
                if into.endswith(METRICS) and os.path.isfile(outside):
                    os.unlink(outside)
                os.unlink(path)
            elif name.endswith(TAKEN) and name.removesuffix(TAKEN) not in names:
                os.unlink(path)

    def _take_from(self, name: str) -> int:
        """Take from one file; return how many of them could not be read: it, or none."""
        path = os.path.join(self.folder, name)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return 0
        try:
            status = os.fstat(descriptor)
            if status.st_uid != os.geteuid():
                return 0
            if name.startswith(HIDDEN):  # its process died before it had counted anything
                if time.time() - status.st_mtime > TORN_S:
                    os.unlink(path)
                return 0
            dead = _is_free(descriptor)
            until_ns = time.time_ns()
            try:
                cells = read_cells(os.pread(descriptor, SIZE + 1, 0))
            except (ValueError, TypeError, KeyError, RecursionError):
                return int(set_aside(self.spool, path))
            dead = dead and not (cells.process_began and began_ticks(cells.process) == cells.process_began)
            if dead:  # what it counted was counted while it lived
                until_ns = max(cells.began_ns, min(until_ns, status.st_mtime_ns))
            self._take_new(path, cells, until_ns)
            if dead:
                os.unlink(path)
                try:
                    os.unlink(path + TAKEN)
                except FileNotFoundError:  # it had counted nothing
                    pass
        finally:
            os.close(descriptor)
        return 0

    def _take_new(self, path: str, cells: CellFile, until_ns: int) -> None:
        """Put what was added to *cells* since the last look into ``new/``."""
        taken = _read_json(path + TAKEN)
        try:
            before = [int(n) for n in taken.get("totals", [])] + [0] * len(cells.names)
            taken_ns = int(taken.get("until_ns", cells.began_ns))
        except (TypeError, ValueError):
            taken = {}
        if not taken and os.path.lexists(path + TAKEN):  # can't be read: rather lost than counted twice
            before, taken_ns = cells.totals, until_ns
            write_whole(path + TAKEN, json.dumps({"totals": before, "until_ns": until_ns}).encode())
        until_ns = max(until_ns, taken_ns)
        begin_ns = max(taken_ns, until_ns - LONGEST_NS)
        points: list[str] = []
        for name, total, earlier in zip(cells.names, cells.totals, before, strict=False):
            if total > earlier:
                points.append(_metric(name, total - earlier, begin_ns, until_ns))
        if not points:
            return
        into = f"{until_ns:016x}-{os.urandom(8).hex()}{METRICS}"
        mark = {"totals": cells.totals, "until_ns": until_ns, "into": into}
        write_whole(path + TAKING, json.dumps(mark).encode())
        outside = os.path.join(self.spool, into)  # not in new/, where a part of it would be taken for a record
        write_whole(outside, line("Metrics", "metrics", cells.resource, ",".join(points)))
        os.rename(outside, os.path.join(self.spool, NEW, into))
        os.rename(path + TAKING, path + TAKEN)


def list_counting(spool: str) -> list[int]:
    """Return, for each process that has counted since the last sending, how many counters it added to. Takes nothing."""
    amounts = []
    folder = os.path.join(spool, CELLS)
    for name in list_files(folder):
        path = os.path.join(folder, name)
        if not name.endswith(COUNTED) or name.startswith(HIDDEN):
            continue
        try:
            with open(path, "rb") as file:
                cells = read_cells(file.read(SIZE + 1))
            before = [int(n) for n in _read_json(path + TAKEN).get("totals", [])] + [0] * len(cells.names)
        except (
            OSError,
            ValueError,
            TypeError,
            KeyError,
            RecursionError,
        ):  # taken meanwhile; or a sender will set it aside
            continue
        amounts.append(sum(total > earlier for total, earlier in zip(cells.totals, before, strict=False)))
    return [n for n in amounts if n]


def _metric(name: dict[str, Any], n: int, begin_ns: int, until_ns: int) -> str:
    """Return one delta sum, as hosts write it. Any: JSON, of a process's own; it is checked as all records are."""
    point = {
        "startTimeUnixNano": str(begin_ns),
        "timeUnixNano": str(until_ns),
        "asInt": str(n),
        "attributes": name["attributes"],
    }
    total = {"aggregationTemporality": DELTA, "isMonotonic": True, "dataPoints": [point]}
    return json.dumps({"name": name["name"], "unit": name["unit"], "sum": total}, separators=(",", ":"))


def _is_free(descriptor: int) -> bool:
    """True if nobody holds the lock of the file; then we do, until it is closed."""
    try:
        os.lockf(descriptor, os.F_TLOCK, 0)
    except OSError:
        return False
    return True


def _read_json(path: str) -> dict[str, Any]:
    """Return what lies at *path*; nothing if there is nothing, or no JSON. Any: JSON."""
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read(1_048_576))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
