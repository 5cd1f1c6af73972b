"""Numbers that survive the process which counts: cells in a file that is mapped into its memory.

Loaded with the first count of a process that has no run of its own: a service, or a worker of a program.

FORMAT  ``cells/<start, 16 hexadecimal digits>-<random>.cells``, `SIZE` bytes; numbers of 64 bits, in the machine's own order.
        0      ``otel-usage cells 1``, a newline
        32     4 numbers: nanoseconds since 1970 when it was begun; of the names, how many bytes are valid; the process's id;
               when that process began, in the system's ticks, 0 if that can't be known
        64     the resource's attributes, OTLP JSON, and a newline
        4096   `MOST` numbers, the cells
        8192   a name per line, and the line's place is its cell's: OTLP JSON of a metric, with its unit, and attributes
        A cell only grows. What is in it is the truth: nothing is handed over, and nothing is reset.

ALGORITHM
1. The file is written in full, so that no page of it can be missing on a full disk: a process that writes into a page which
   the disk has no room for is killed. It has another name until then. It is locked for as long as the process lives.
2. A name is written behind the others first, and then its end: a reader sees whole names alone.
3. A sender reads by how much each cell has grown since the last one looked, and removes the file of a dead process once it
   has taken all: see delivery/cell_intake.py.

RACES
1. Two threads add to one cell: under the interpreter's lock, or one of ours where it has none: see write_through.py.
2. A signal handler counts while its own thread is adding: between the reading and the writing of a cell nothing of Python's
   is called, so that no handler runs there. One that comes while a name is written waits in `pending`: see write_through.py.
3. A forked child has the mapping too. It is told from the owner by its process id, before anything is added.
4. The host closes our descriptor, and the lock goes with it: the mapping stays. A sender asks, besides, whether the process
   still runs. `keep_locked`, now and then, locks it anew.
5. The user says off, and the file is removed: what is added then goes nowhere.
"""

import os
from mmap import mmap

from .. import _fault, _load
from ..spool.layout import CELLS, COUNTED, HIDDEN
from .recorder import time_ns  # type: ignore[attr-defined]  # bound there: see there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .recorder import Recorder

MAGIC = b"otel-usage cells 1\n"
HEAD_AT = 32
RESOURCE_AT = 64
CELLS_AT = 4096
MOST = 512  # cells
NAMES_AT = CELLS_AT + 8 * MOST
SIZE = 65_536


class Cells:
    """The cells of one process. Raises OSError wherever no file of them can be made."""

    def __init__(self, recorder: "Recorder") -> None:
        name = f"{time_ns():016x}-{os.urandom(8).hex()}{COUNTED}"
        folder = f"{recorder.spool}/{CELLS}"
        self.path = f"{folder}/{name}"
        part = f"{folder}/{HIDDEN}{name}"
        resource = recorder.resource.encode("ascii", "replace") + b"\n"
        if len(resource) > CELLS_AT - RESOURCE_AT:
            raise OSError("a resource longer than a page")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        try:
            descriptor = os.open(part, flags, 0o600)
        except FileNotFoundError:  # the first that counts here; or the user has said off
            _fault(expected=True)
            if _load("recording.forget").withdrawn(recorder):
                raise
            _load("recording.folders").make_spool(recorder.decision.home, recorder.spool)
            try:
                os.mkdir(folder, 0o700)
            except FileExistsError:
                pass
            descriptor = os.open(part, flags, 0o600)
        try:
            status = os.fstat(descriptor)
            self.inode = status.st_dev, status.st_ino
            if os.pwrite(descriptor, bytes(SIZE), 0) != SIZE:
                raise OSError("disk full")
            if hasattr(os, "lockf"):
                os.lockf(descriptor, os.F_TLOCK, 0)
            self._map = mmap(descriptor, SIZE)
        except (OSError, ValueError):
            os.close(descriptor)
            os.unlink(part)
            raise
        self.descriptor = descriptor
        view = memoryview(self._map)
        view[: len(MAGIC)] = MAGIC
        view[RESOURCE_AT : RESOURCE_AT + len(resource)] = resource
        self._head = view[HEAD_AT : HEAD_AT + 32].cast("Q")
        self._head[0], self._head[2], self._head[3] = time_ns(), os.getpid(), began_ticks("self")
        self._numbers = view[CELLS_AT:NAMES_AT].cast("Q")
        self._n = 0
        os.rename(part, self.path)

    def new_cell(self, name: bytes) -> "memoryview[int] | None":
        """Return a new cell called *name*, a view of one number that may be added to; None if there is no room for one.

        One thread at a time, and its signal handlers.
        """
        text = name + b"\n"
        while True:
            begin = self._head[1]
            end = begin + len(text)
            if NAMES_AT + end > SIZE or self._n == MOST:
                return None
            if self._head[1] == begin:  # no signal handler has named one meanwhile; from here on nothing lets one run
                self._map[NAMES_AT + begin : NAMES_AT + end] = text
                self._head[1] = end
                place = self._n
                self._n = place + 1
                return self._numbers[place : place + 1]

    def is_there(self) -> bool:
        """True if nobody has removed the file."""
        try:
            status = os.stat(self.path)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self.inode

    def keep_locked(self) -> None:
        """Lock the file anew if the host has closed its descriptor. Raises OSError."""
        try:
            status = os.fstat(self.descriptor)
            if (status.st_dev, status.st_ino) == self.inode:
                return
        except OSError:
            _fault(expected=True)
        self.descriptor = os.open(self.path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        if hasattr(os, "lockf"):
            os.lockf(self.descriptor, os.F_TLOCK, 0)


def status_of(process: object) -> "tuple[bytes, int, int, int] | None":
    """Return a process's name, its parent, its group, and when it began, in ticks since the machine did; None if that can't be
    known. process: its id, or "self".
    """
    try:
        descriptor = os.open(f"/proc/{process}/stat", os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:  # it is gone, or this is no Linux
        return None
    try:
        name, _, rest = os.read(descriptor, 1024).partition(b"(")[2].rpartition(b")")
        words = rest.split()
        return name, int(words[1]), int(words[2]), int(words[19])
    except (OSError, IndexError, ValueError):
        return None
    finally:
        os.close(descriptor)


def began_ticks(process: object) -> int:
    """Return when a process began, as `status_of` does; 0 where that can't be known."""
    status = status_of(process)
    return 0 if status is None else status[3]
