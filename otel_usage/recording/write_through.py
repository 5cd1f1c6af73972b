"""Write what a worker process records where it survives the process.

A worker may end at any time and in any way: its pool is terminated, it leaves by ``os._exit``, a signal kills it. So it
holds nothing back: a count is on the disk when `count` returns, an action when it has ended.

FORMAT  ``open/<start, 16 hexadecimal digits>-<random>.metrics.jsonl``: an OTLP JSON line per counter and fields. In each,
        ``timeUnixNano`` and ``asInt`` are overwritten in place; spaces behind the number leave room for a longer one.
        ``open/<start>-<random>.traces.jsonl``: an OTLP JSON line per action, error or heartbeat.

ALGORITHM
1. A file is made with a leading dot, locked, and renamed with its first line: who finds it without can trust its lock.
2. To hand over, the process renames its files into ``new/``, and makes others when it needs them.
3. A sender that finds the lock of a file free renames it into ``new/``: its process is dead. See delivery/intake.py.

RACES
1. The process is killed while it writes: the kernel finishes a write within one page, so that no number is half written. A
   number never lies across two pages.
2. The host closes our descriptor, and may open something else under its number: device and inode are compared before each
   write. If they are not our file's, the file is left to the sender, and another is begun. The lock has gone with the
   descriptor, so a sender may take the file at once; no number is written into it any more.
3. A signal handler counts while we write: its call is only put into the list, and the writing that it interrupted takes it
   from there.
4. An action is written when it is made, since nobody knows whether a ``with`` follows. If one does, the line is taken back, and
   written at its end. Where another thread has written meanwhile the line stays, and so does its duration of zero.
"""

import os

from .. import _fault, _load
from ..spool.layout import HIDDEN, METRICS, NEW, OPEN, TRACES
from .actions import MAX_COUNTERS, Action, Events
from .otlp_events import metrics_body
from .otlp_text import line
from .recorder import monotonic, time_ns  # type: ignore[attr-defined]  # bound there: see there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .recorder import Recorder

PAGE = 4096  # bytes; what the kernel copies without looking at signals is at least so much
MAX_BYTES = 1_048_576  # a file this long is handed over; the sender reads files of up to four times that
NUMBER = 22  # characters that a number may need with its quotation marks: 64 bits, and a sign


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

    cells: [where its number stands in the file of counts, the sum there], by counter and fields, or by "" and a reason.
    """

    def __init__(self, recorder: "Recorder") -> None:
        super().__init__(recorder)
        self.hand_over_s = super().next_due()
        self.counts_file: LockedFile | None = None
        self.actions_file: LockedFile | None = None
        self.cells: dict[tuple[Any, ...], list[int]] = {}
        self.writing = False
        self.to_wake = False  # a file was begun: a sender shall come, and wait for what becomes of it
        self.last: tuple[Action, int] | None = None  # the action that was written last, and where

    def next_due(self) -> float:
        """Return a moment that is always past, so that every call comes to `tick`."""
        return 0.0

    def tick(self) -> None:
        """Write what was counted or done, and hand it over when it is time."""
        self.write()
        if monotonic() >= self.hand_over_s:
            self.flush()
        elif self.to_wake:  # when all is written: it may fail
            self.to_wake = False
            try:
                self.recorder.wake(orphan=True)
            except OSError:
                _fault(expected=True)

    def began(self, action: Action) -> None:
        """Take *action* back, which was written as if it had ended: its program has entered it."""
        if self.pid != os.getpid():  # in a forked child it is its parent's, and so is the lock
            return
        with self.lock:
            file, last = self.actions_file, self.last
            if file is not None and last is not None and last[0] is action and file.is_ours():
                file.take_back(last[1])
                self.last, action.written = None, False

    def ended(self, action: Action) -> None:
        """Write *action*, which has ended, unless its line could not be taken back."""
        try:
            if self.pid == os.getpid():
                if not action.written and action not in self.actions:
                    self.actions.append(action)
                self.tick()
        except Exception:
            _fault()

    def write(self) -> None:
        """Put everything that this process holds into its files."""
        with self.lock:
            if self.writing:  # a signal handler's call, inside of ours
                return
            try:
                self.writing = True
                while self.pending or self.counters or self.dropped:
                    self._add_up()
                self._write_actions()
            except OSError:  # full, read-only, gone: what was not written is lost, and nobody hears of it
                self.counters, self.dropped = {}, {}
                _fault(expected=True)
            finally:
                self.writing = False

    def _add_up(self) -> None:
        """Add each call to its number. What is new is checked, and gets a line."""
        while self.pending:
            name, n, fields = self.pending[0]
            try:
                cell = self.cells.get((name, *fields.items()))
            except Exception:  # a field that can't be hashed, or whose class fails to: `settle` counts it as dropped
                _fault(expected=True)
                cell = None
            if cell is None or n.__class__ is not int or n < 0:
                break
            file = self.counts_file
            if file is None or not file.is_ours():
                self.cells.clear()
                break
            del self.pending[0]
            cell[1] += n
            os.pwrite(file.descriptor, _number(time_ns(), cell[1]), cell[0])
        self.settle()
        counters, self.counters = self.counters, {}
        dropped, self.dropped = self.dropped, {}
        file = self.counts_file
        if (counters or dropped) and (file is None or not file.is_ours()):
            file = self.counts_file = LockedFile(self.recorder, METRICS)
            self.cells.clear()
            self.to_wake = True
        for key, cell in counters.items():
            self._add(file, key, cell[0])
        for reason, n in dropped.items():
            self._add(file, ("", reason), n)

    def _add(self, file: "LockedFile | None", key: "tuple[Any, ...]", n: int) -> None:
        """Add *n* to a number, or write a line for it. key: a counter and its fields; or "" and a reason for dropping."""
        cell = self.cells.get(key)
        if file is None:
            return
        if cell is not None:
            cell[1] += n
            os.pwrite(file.descriptor, _number(time_ns(), cell[1]), cell[0])
        elif len(self.cells) < MAX_COUNTERS or not key[0]:
            self._write_series(file, key, n)
        else:
            self.drop("limit")

    def _write_series(self, file: LockedFile, key: "tuple[Any, ...]", n: int) -> None:
        now_ns = time_ns()
        counters, dropped = ({key: n}, {}) if key[0] else ({}, {key[1]: n})
        body = metrics_body(counters, dropped, self.counted_ns, now_ns)
        plain, number = f'"timeUnixNano":"{now_ns}","asInt":"{n}"'.encode(), _number(now_ns, n)
        before, after = line("Metrics", "metrics", self.recorder.resource, body).split(plain)
        room = PAGE - (file.size + len(before)) % PAGE
        if room < len(number):
            before = b" " * room + before
        begin = file.append(before + number + after)
        self.cells[key] = [begin + len(before), n]

    def _write_actions(self) -> None:
        for action in [action for action in self.actions if not action.open]:  # `ended` will come for the others
            file = self.actions_file
            if file is None or not file.is_ours():
                file = self.actions_file = LockedFile(self.recorder, TRACES)
                self.to_wake = True
            begin = file.append(line("Spans", "spans", self.recorder.resource, self._span(action)))
            self.last, action.written = (action, begin), True
            self.actions.remove(action)
            if file.size > MAX_BYTES:
                self.hand_over_s = 0.0

    def flush(self) -> None:
        """Hand over what was written; nothing if off was said meanwhile."""
        try:
            self.write()
            self.hand_over_s = super().next_due()
            with self.lock:
                files = [file for file in (self.counts_file, self.actions_file) if file is not None]
                self.counts_file = self.actions_file = self.last = None
                self.cells.clear()
                self.to_wake = False
                self.counted_ns = time_ns()
            if files and _load("recording.forget").withdrawn(self.recorder):
                for file in files:
                    file.take_back(0)
            for file in files:
                file.hand_over()
            if files:
                self.recorder.wake(orphan=True)
        except OSError:
            _fault(expected=True)
        except Exception:
            _fault()


def _number(now_ns: int, n: int) -> bytes:
    """Return the part of a data point that is overwritten, always equally long."""
    number = f'"{n}"'
    return f'"timeUnixNano":"{now_ns}","asInt":{number:<{NUMBER}}'.encode()
