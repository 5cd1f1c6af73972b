"""Move what hosts have written from ``new/`` into the queues: nothing is lost and nothing is doubled, whenever we are killed.

FORMAT  ``<spool>/batch``       text: the batch id, then the name of each file of ``new/`` that is in the batch, one per line
        ``<spool>/batch.done``  the same file, renamed
        ``<spool>/bad/``        files of ``new/`` that are none of ours, or can't be read: at most `MAX_BAD`, for whoever wants
                                to know why

ALGORITHM  of one batch
1. Read the oldest files of ``new/``, as many as a segment file may hold, and decide what may leave of them (batch.py).
2. Write ``batch``: which files these are, and the id of the batch.
3. Put a segment file of the batch into ``wait/`` of every queue, one for spans and one for metrics.
4. Rename ``batch`` to ``batch.done``: from now on the batch is in the queues.
5. Remove the files of ``new/``, then ``batch.done``.

ALGORITHM  of recovery, before the first batch
1. ``batch.done`` exists: an earlier sender was killed in step 5. The files that it names are removed.
2. ``batch`` exists: it was killed in step 3 or 4. Segment files of that batch are removed from every ``wait/``; none of them
   can have been sent, since a sender sends after step 5 only. The files are still in ``new/``, and make a new batch.
3. ``*.part``: a file that was never renamed into place. It is removed.

ALGORITHM  of stubs, the files in ``open/``
1. A host holds a lock on its file for as long as it lives: see recording/recorder.py. A lock that is free, on a file that is
   not quite new, means that the host has died. Its stub is renamed into ``new/``.
2. An empty stub says nothing, not even which command was run: it is removed, and counted as ``nameless``.
3. A file with a leading dot was to be renamed at once. One that is an hour old was torn by the death of its host: removed.

RACES
1. Two senders: only one holds the lock, see sender.py.
2. A host renames a file into ``new/`` while we list it: we see it or not. Whoever unlocks looks again (`Sender.run`).
3. A host may have made its file and not locked it yet: a file younger than `STARTING_S` is left alone. If a host needs longer
   nevertheless, its stub is sent as ``unfinished``; as it ends, it finds its file gone, and reports nothing more.
4. A host may end between our look at its lock and the renaming: then it has renamed the file itself, our renaming fails, and
   the file is in ``new/`` all the same.
5. The user says off, and everything is removed under our hands: every file may be missing, which is no error here.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..otlp import Record
from ..spool.files import write_whole
from ..spool.layout import BAD, BATCH, BATCH_DONE, HIDDEN, METRICS, NEW, OPEN, PART, TRACES
from .batch import MAX_SPANS, MAX_TEXT, Batch
from .queue import Queue, new_batch_id

MAX_FILE = 4_194_304  # bytes; a host writes at most 513 spans into one
MAX_BAD = 100  # files in bad/
STARTING_S = 1.0  # a file this young may not have been locked yet by the host that made it
TORN_S = 3600.0  # a file with a leading dot that is older than this will not be renamed any more


class ReadBatch(NamedTuple):
    """What `Intake.read_batch` read: what may leave, as lines too, and the names of the files that it came from."""

    batch: Batch
    trace_lines: list[bytes]
    names: list[str]
    bad_names: list[str]  # those among names that are none of ours, or can't be read


class Intake:
    """What the sender takes in, batch by batch.

    dropped: ``{reason: how many}`` of losses that no batch has reported yet, of the queues too.
    newest: (segment file, its records) of the newest batch, which most often is sent at once, and then not read again.
    newest_dropped: ``{reason: how many}`` that the newest batch left out.
    """

    def __init__(self, spool: str, settings: Mapping[str, Any], queues: Sequence[Queue], since_s: float) -> None:
        self.spool = spool
        self.settings = settings
        self.queues = queues
        self.since_s = since_s
        self.dropped: Counter[str] = Counter()
        self.newest: tuple[str, list[Record]] = ("", [])
        self.newest_dropped: Counter[str] = Counter()
        self._batches = 0

    # Recovery.

    def recover(self) -> None:
        """Finish or undo the batch that an earlier sender was killed in, and remove what it had half written."""
        for folder in (self.spool, *[q.folder for q in self.queues], *[q.wait_folder for q in self.queues]):
            for name in os.listdir(folder):
                if name.endswith(PART):
                    os.unlink(os.path.join(folder, name))
        done, begun = os.path.join(self.spool, BATCH_DONE), os.path.join(self.spool, BATCH)
        for path in (done, begun):
            try:
                with open(path, encoding="utf-8") as file:
                    batch_id, *names = file.read().split("\n")
            except FileNotFoundError:
                continue
            if path == done:
                self._remove(names)
            else:
                self._remove_from_queues(batch_id)
            os.unlink(path)

    def _remove_from_queues(self, batch_id: str) -> None:
        for queue in self.queues:
            for segment_file in queue.list_waiting():
                if segment_file.startswith(batch_id + "."):
                    os.unlink(os.path.join(queue.wait_folder, segment_file))

    def reap(self) -> Counter[str]:
        """Move the stubs of hosts that died into ``new/``. Returns what was lost with them, by reason."""
        lost: Counter[str] = Counter()
        folder = os.path.join(self.spool, OPEN)
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                status = os.fstat(descriptor)
                age_s = time.time() - status.st_mtime
                if -60 < age_s < STARTING_S:  # further in the future: the clock jumped, and it may be of any age
                    continue
                if name.startswith(HIDDEN):
                    if age_s > TORN_S:
                        os.unlink(path)
                        lost["corrupt"] += 1
                    continue
                os.lockf(descriptor, os.F_TLOCK, 0)
                if status.st_size:
                    os.rename(path, os.path.join(self.spool, NEW, name))
                else:
                    os.unlink(path)
                    lost["nameless"] += 1
            except OSError:  # locked: its process lives
                continue
            finally:
                os.close(descriptor)
        self.dropped += lost
        return lost

    # Batches.

    def list_new(self) -> list[str]:
        """Return the names of the files that wait to be taken in, oldest first."""
        return sorted(os.listdir(os.path.join(self.spool, NEW)))

    def read_batch(self, names: Sequence[str]) -> ReadBatch:
        """Read the first of *names*, as many as a segment file may hold. Moves and removes nothing."""
        read = ReadBatch(Batch(self.settings, self.since_s), [], [], [])
        size_bytes = 0
        for name in names:
            if len(read.batch.records) >= MAX_SPANS or size_bytes >= MAX_TEXT:
                break
            read.names.append(name)
            try:
                content = self._read(name)
            except ValueError:
                read.bad_names.append(name)
                continue
            size_bytes += len(content)
            for row in content.splitlines(keepends=True):
                if name.endswith(TRACES):
                    read.trace_lines.append(read.batch.add_traces(row))
                else:
                    read.batch.add_metrics(row)
        if read.bad_names:
            read.batch.dropped["corrupt"] += len(read.bad_names)
        return read

    def move_into_queues(self, names: Sequence[str]) -> int:
        """Move the first of *names* into every queue, as one batch, and return how many that were."""
        self._batches += 1
        batch_id = new_batch_id(self._batches)
        read = self.read_batch(names)
        batch = read.batch
        for name in read.bad_names:
            self._move_to_bad(name)
        self.newest_dropped = Counter(batch.dropped)
        batch.dropped += self.dropped
        metrics = batch.metrics()
        write_whole(os.path.join(self.spool, BATCH), "\n".join([batch_id, *read.names]).encode())
        for queue in self.queues:
            if batch.records:
                queue.put(batch_id + TRACES, read.trace_lines)
            if metrics is not None:
                queue.put(batch_id + METRICS, [json.dumps(metrics, separators=(",", ":")).encode() + b"\n"])
        os.rename(os.path.join(self.spool, BATCH), os.path.join(self.spool, BATCH_DONE))
        self.dropped.clear()
        self.newest = (batch_id + TRACES, batch.records)
        self._remove(read.names)
        os.unlink(os.path.join(self.spool, BATCH_DONE))
        return len(read.names)

    def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                os.unlink(os.path.join(self.spool, NEW, name))
            except FileNotFoundError:
                pass

    def _read(self, name: str) -> bytes:
        """Return the file's content, nothing if it is gone. Raises ValueError if it is none of ours, or can't be read.

        Anybody who may write into the folder could put a link, a pipe or a huge file there: none is followed, waited for
        or read.
        """
        path = os.path.join(self.spool, NEW, name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        except OSError as exc:  # a symbolic link, or unreadable
            raise ValueError(f"{path!r} can't be opened") from exc
        try:
            status = os.fstat(descriptor)
            plain = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_size <= MAX_FILE
            if plain and name.endswith((TRACES, METRICS)):
                content = os.read(descriptor, status.st_size)
                if content.endswith(b"\n"):
                    return content
        finally:
            os.close(descriptor)
        raise ValueError(f"{path!r} is no file of records")

    def _move_to_bad(self, name: str) -> None:
        bad = os.path.join(self.spool, BAD)
        os.makedirs(bad, 0o700, exist_ok=True)
        path = os.path.join(self.spool, NEW, name)
        try:
            if len(os.listdir(bad)) < MAX_BAD:
                os.rename(path, os.path.join(bad, name))
            elif not os.path.isdir(path):
                os.unlink(path)
        except OSError:
            pass
