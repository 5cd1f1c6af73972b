"""Write what a process without a run of its own records where it survives the process: a service's, or a worker's.

Such a process may end at any time and in any way: its pool is terminated, it leaves by ``os._exit``, a signal kills it. So it
holds nothing back: a count is in its cells (cells.py) when `count` returns, an action on the disk when it has ended.

FORMAT  ``open/<start, 16 hexadecimal digits>-<random>.traces.jsonl``: an OTLP JSON line per action, error or heartbeat.

ALGORITHM
1. A file is made with a leading dot, locked, and renamed with its first line: who finds it without can trust its lock.
2. To hand over, the process renames its file into ``new/``, and makes another when it needs one.
3. A sender that finds the lock of a file free renames it into ``new/``: its process is dead. See delivery/intake.py.
4. Counts are never handed over: a sender reads the cells.

RACES
1. The process is killed while it writes: the kernel finishes a write within one page; half a line is counted as corrupt.
2. The host closes our descriptor, and may open something else under its number: device and inode are compared before each
   write. If they are not our file's, the file is left to the sender, and another is begun. The lock has gone with the
   descriptor, so a sender may take the file at once; no line is written into it any more.
3. A signal handler records while we write: its call is only put into a list, and the writing that it interrupted takes it
   from there, and looks once more when it has said that it writes no longer.
4. An action is written when it is made, since nobody knows whether a ``with`` follows. If one does, the line is taken back, and
   written at its end. Where another thread has written meanwhile the line stays, and so does its duration of zero.
"""

import os
import sys

from .. import _fault, _load
from ..spool.layout import HIDDEN, NEW, OPEN, TRACES
from .actions import Action, Events
from .otlp_events import attributes
from .otlp_text import line, quote
from .recorder import monotonic, time_ns  # type: ignore[attr-defined]  # bound there: see there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from .cells import Cells
    from .recorder import Recorder

    Call = tuple[str, int, Mapping[str, object]]

MAX_BYTES = 1_048_576  # a file this long is handed over; the sender reads files of up to four times that
MAX_HANDED_OVER = 4 * MAX_BYTES  # between two flushes; what is beyond is dropped, and counted
LOST: "tuple[object, ...]" = ("", "limit")  # the cell of what there is no room for


class LockedFile:
    """One file in ``open/``, locked for as long as the process lives. Raises OSError wherever it can't do its work."""

    def __init__(self, recorder: "Recorder", ending: str) -> None:
        spool = recorder.spool
        name = f"{time_ns():016x}-{os.urandom(8).hex()}{ending}"
        self.path = f"{spool}/{OPEN}/{HIDDEN}{name}"
        self.open_path = f"{spool}/{OPEN}/{name}"
        self.new_path = f"{spool}/{NEW}/{name}"
        self.size = 0
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        try:
            self.descriptor = os.open(self.path, flags, 0o600)
        except FileNotFoundError:  # the first that is recorded here, by a plugin; or the user has said off
            if _load("recording.forget").withdrawn(recorder):
                raise
            _load("recording.folders").make_spool(recorder.decision.home, spool)
            self.descriptor = os.open(self.path, flags, 0o600)
        try:
            status = os.fstat(self.descriptor)
            self.inode = status.st_dev, status.st_ino
            if hasattr(os, "lockf"):
                os.lockf(self.descriptor, os.F_TLOCK, 0)
        except OSError:
            os.close(self.descriptor)
            os.unlink(self.path)
            raise

    def is_ours(self) -> bool:
        """True if the descriptor still is our file's, and nobody has removed it."""
        try:
            status = os.fstat(self.descriptor)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self.inode and status.st_nlink > 0

    def append(self, text: bytes) -> int:
        """Add *text*, all of it or nothing, and return where it begins."""
        begin = self.size
        try:
            whole = os.pwrite(self.descriptor, text, begin) == len(text)
        except OSError:
            whole = False
        if not whole:
            os.ftruncate(self.descriptor, begin)
            raise OSError("disk full")
        self.size += len(text)
        if self.path != self.open_path:
            os.rename(self.path, self.open_path)
            self.path = self.open_path
        return begin

    def take_back(self, begin: int) -> None:
        """Remove what stands at *begin* and behind it."""
        os.ftruncate(self.descriptor, begin)
        self.size = begin

    def hand_over(self) -> None:
        """Move the file to where the sender takes it, or remove it if it is empty. It is not used again."""
        ours = self.is_ours()
        try:
            if self.size:
                os.rename(self.path, self.new_path)
            else:
                os.unlink(self.path)
        except FileNotFoundError:  # a sender was first, or the user said off
            _fault(expected=True)
        if ours:
            os.close(self.descriptor)


class WrittenThrough(Events):
    """The `Events` of a process that has no run of its own: everything is written at once.

    cell_of: the cell by counter and fields, or by "" and a reason for which records were dropped.
    """

    def __init__(self, recorder: "Recorder") -> None:
        super().__init__(recorder)
        self.actions_file: LockedFile | None = None
        self.cells: Cells | None = None
        self.cell_of: dict[object, memoryview[int]] = {}
        self.drops: list[tuple[str, int]] = []  # (reason, how many) that no cell has yet
        self.written_bytes = 0  # since the last flush
        self.writing = False
        self.to_wake = False  # a file was begun: a sender shall come, and wait for what becomes of it
        self.last: tuple[Action, int] | None = None  # the action that was written last, and where
        self.note = self._adder()

    # Counts.

    def _adder(self) -> "Callable[[Call], None]":
        """Return what adds a count to its cell: the usual case there, the others in `settle`. What it needs is bound once."""
        find, lock, one_at_a_time = self.cell_of.get, self.lock, _runs_one_thread_at_a_time()

        def add(call: "Call") -> None:
            name, n, fields = call
            try:
                cell = find((name, *fields.items()) if fields else name)
                if cell is not None and n.__class__ is int and n >= 0:
                    if one_at_a_time:
                        cell[0] += n
                    else:
                        with lock:
                            cell[0] += n
                    return
            except Exception:  # a field that can't be hashed, or whose class fails to; a number beyond 64 bits
                _fault(expected=True)
            self.pending.append(call)
            self.tick()

        return add

    def settle(self) -> None:
        """Add what was not usual: what is counted for the first time, what is wrong, and what was dropped."""
        with self.lock:
            while (
                self.pending or self.drops
            ) and not self.settling:  # a signal handler's call waits for the one it is in
                try:
                    self.settling = True
                    while self.pending:
                        self._add_up(*self.pending.pop(0))
                    while self.drops:
                        reason, n = self.drops.pop(0)
                        self._count(("", reason), n)
                except OSError:  # full, read-only, gone: it is lost, and nobody hears of it
                    _fault(expected=True)
                finally:
                    self.settling = False

    def _add_up(self, name: str, n: int, fields: "Mapping[str, object]") -> None:
        try:
            pairs = self.accepted("count", name, fields)
            if pairs is not None and (n.__class__ is not int or n < 0):
                self.drop("value")
            elif pairs is not None:
                self._count((name, *pairs), n)
        except OSError:
            raise
        except Exception:
            _fault(expected=True)
            self.drop("value")

    def drop(self, reason: str, n: int = 1) -> None:
        """Count *n* records or fields that were not kept."""
        if n:
            self.drops.append((reason, n))
            self.settle()

    def _count(self, key: "tuple[Any, ...]", n: int) -> None:
        """Add *n* to the cell of *key*: a counter and its fields; or "" and a reason. Raises OSError. Any: of whatever host."""
        cells = self.cells
        if cells is None or not cells.is_there():  # somebody has said off, and on again
            cells = _load("recording.cells").Cells(self.recorder)
            lost = cells.new_cell(_name_of(LOST))
            self.cell_of.clear()  # a signal handler may begin cells too: whatever is in here can be added to
            self.cells, self.cell_of[LOST] = cells, lost
            self.to_wake = True
        plain = key[0] if len(key) == 1 else key
        cell = self.cell_of.get(plain)
        if cell is None:
            cell = cells.new_cell(_name_of(key))
            if cell is None:
                cell, n = self.cell_of[LOST], 1
            else:
                self.cell_of[plain] = cell
        cell[0] += n

    # Actions.

    def began(self, action: Action) -> None:
        """Take *action* back, which was written as if it had ended: its program has entered it."""
        if self.pid != os.getpid():  # in a forked child it is its parent's, and so is the lock
            return
        with self.lock:
            if self.writing:  # a signal handler's call, inside of ours
                return
            try:
                self.writing = True
                file, last = self.actions_file, self.last
                if file is not None and last is not None and last[0] is action and file.is_ours():
                    file.take_back(last[1])
                    self.last, action.written = None, False
            finally:
                self.writing = False
        self.write()  # what a signal handler did meanwhile

    def ended(self, action: Action) -> None:
        """Write *action*, which has ended, unless its line could not be taken back."""
        try:
            if self.pid == os.getpid():
                if not action.written and action not in self.actions:
                    self.actions.append(action)
                self.written()
        except Exception:
            _fault()

    def written(self) -> None:
        """Write the actions that have ended."""
        self.tick()

    def write(self) -> None:
        """Put everything that this process holds into its files."""
        self.settle()
        with self.lock:
            while not self.writing and any(not action.open for action in self.actions):
                try:
                    self.writing = True
                    for action in [
                        action for action in self.actions if not action.open
                    ]:  # `ended` comes for the others
                        self.actions.remove(action)
                        action.written = True
                        begin = self._append(self._span(action))
                        self.last = None if begin is None else (action, begin)
                except OSError:  # full, read-only, gone: what was not written is lost, and nobody hears of it
                    self.actions = [action for action in self.actions if action.open]
                    _fault(expected=True)
                finally:
                    self.writing = False

    def write_span(self, span: str) -> None:
        """Write *span*, OTLP JSON of ours. Raises OSError."""
        with self.lock:
            self._append(span)
            self.last = None

    def _append(self, span: str) -> "int | None":
        """Write *span*, and return where its line begins; None if there is no room for it. Raises OSError."""
        text = line("Spans", "spans", self.recorder.resource, span)
        if self.written_bytes + len(text) > MAX_HANDED_OVER:
            self.drop("limit")
            return None
        file = self.actions_file
        if file is not None and file.size > MAX_BYTES:
            self._hand_over()
            file = None
        if file is None or not file.is_ours():
            file = self.actions_file = LockedFile(self.recorder, TRACES)
            self.to_wake = True
        begin = file.append(text)
        self.written_bytes += len(text)
        return begin

    # Handing over.

    def tick(self) -> None:
        """Write what was counted or done, and hand it over when it is time."""
        self.write()
        service = self.recorder.service
        if service is not None:
            if monotonic() >= self.due:  # no thread does it
                service.work()
        elif monotonic() >= self.due:
            self.flush()
        elif self.to_wake:  # when all is written: it may fail
            self.to_wake = False
            self.wake()

    def wake(self) -> None:
        """Start a sender, if none is due soon."""
        try:
            if self.recorder.service is not None:
                self.recorder.service.wake()
            else:
                self.recorder.wake(orphan=True)
        except OSError:
            _fault(expected=True)

    def next_due(self) -> float:
        """Return when to hand over next, by the monotonic clock."""
        service = self.recorder.service
        return super().next_due() if service is None else service.next_flush()

    def _hand_over(self) -> bool:
        """Move the file of actions to where the sender takes it; True if there was one. Raises OSError."""
        with self.lock:
            file, self.actions_file, self.last = self.actions_file, None, None
        if file is not None:
            file.hand_over()
        return file is not None

    def flush(self) -> None:
        """Hand over what was written; nothing if off was said meanwhile."""
        try:
            self.write()
            with self.lock:
                if self.writing:  # a signal handler's call, inside of ours
                    return
            self.due = self.next_due()
            self.written_bytes, self.to_wake = 0, False
            if self.actions_file is None and self.cells is None:
                return
            if _load("recording.forget").withdrawn(self.recorder):
                if self.actions_file is not None:
                    self.actions_file.take_back(0)
                    self._hand_over()
                return
            if self.cells is not None and self.cells.is_there():
                self.cells.keep_locked()
            elif self.cells is not None:  # somebody has said off, and on again: the next count makes new ones
                self.cell_of.clear()
            self._hand_over()
            self.wake()
        except OSError:
            _fault(expected=True)
        except Exception:
            _fault()


def _runs_one_thread_at_a_time() -> bool:
    """True in CPython with its lock. From 3.10 on it lets another thread, or a handler, run only where a function is called or
    a loop begins anew: not between the reading and the writing of a cell, in one statement without either. A lock would
    make a count a quarter dearer.
    """
    enabled = getattr(sys, "_is_gil_enabled", None)
    return sys.implementation.name == "cpython" and (enabled is None or enabled())


def _name_of(key: "tuple[Any, ...]") -> bytes:
    """Return what is called *key*, as cells.py has it. Any: a declared name, and values as they are recorded."""
    if key[0]:
        name, unit = "usage.count." + key[0], "{item}"
        pairs = [("usage.field." + field, value) for field, value in key[1:]]
    else:
        name, unit, pairs = "usage.dropped", "{record}", [("reason", key[1])]
    return f'{{"name":{quote(name)},"unit":"{unit}","attributes":[{attributes(pairs)}]}}'.encode("ascii", "replace")
