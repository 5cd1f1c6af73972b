"""Move what hosts have written from ``new/`` into the queues: nothing is lost and nothing is doubled, whenever we are killed.

FORMAT  ``<spool>/batch``       text: the batch id, then the name of each file of ``new/`` that is in the batch, one per line
        ``<spool>/batch.done``  the same file, renamed
        ``<spool>/bad/``        files of ``new/`` that are none of ours, or can't be read, for whoever wants to know why: see
                                spool/set_aside.py

ALGORITHM  of one batch
1. Read the oldest files of ``new/``, as many as a segment file may hold, and decide what may leave of them (batch.py).
2. Write ``batch``: which files these are, and the id of the batch.
3. Put a segment file of the batch into ``wait/`` of every queue, one for spans and one for metrics.
4. Rename ``batch`` to ``batch.done``: from now on the batch is in the queues.
5. Remove the files of ``new/``, then ``batch.done``. It stays if a file can't be removed, and names those that are left: they
   are not taken in again.
Folders in ``new/`` are passed over, whoever put them there. What else is no plain file, or has a name that no host writes, or
can't be read, is set aside. What another version of the program recorded is left to its own senders, for a day: see queue.py,
ALGORITHM 3. A file of more than `MAX_JUNK` lines that are no OTLP is none of ours: the rest is not looked at.

ALGORITHM  of recovery, before the first batch
1. ``batch.done`` exists: an earlier sender was killed in step 5. The files that it names are removed.
2. ``batch`` exists: it was killed in step 3 or 4. Segment files of that batch are removed from every ``wait/``; none of them
   can have been sent, since a sender sends after step 5 only. The files are still in ``new/``, and make a new batch.
3. ``*.part``: a file that was never renamed into place. It is removed.

ALGORITHM  of stubs, the files in ``open/``
1. A host holds a lock on its file for as long as it lives: see recording/recorder.py. A lock that is free, on a file with
   content or one that is not quite new, means that the host has died. Its stub is renamed into ``new/``.
2. An empty stub says nothing, not even which command was run: it is removed, and counted as ``nameless``.
3. A file with a leading dot was to be renamed at once. One that is an hour old was torn by the death of its host: removed.

RACES
1. Two senders: only one holds the lock, see sender.py.
2. A host renames a file into ``new/`` while we list it: we see it or not. Whoever unlocks looks again (`Sender.run`).
3. A host may have made its file and not locked it yet: an empty file younger than `STARTING_S` is left alone. If a host needs
   longer nevertheless, its stub is sent as ``unfinished``; as it ends, it finds its file gone, and reports nothing more.
4. A host may end between our look at its lock and the renaming: then it has renamed the file itself, our renaming fails, and
   the file is in ``new/`` all the same.
5. The user says off, and everything is removed under our hands: every file may be missing, which is no error here.
"""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..otlp import Record
from ..spool.files import list_files, write_whole
from ..spool.layout import BATCH, BATCH_DONE, HIDDEN, METRICS, NEW, OPEN, PART, TRACES
from ..spool.set_aside import set_aside
from .batch import MAX_SPANS, MAX_TEXT, Batch
from .losses import Losses
from .queue import Queue, is_left_over, new_batch_id
from .segment_file import count_in, count_records

MAX_FILE = 4_194_304  # bytes; a host writes at most 513 spans into one
MAX_JUNK = 100  # lines of one file that are no OTLP
STARTING_S = 1.0  # a file this young may not have been locked yet by the host that made it
TORN_S = 3600.0  # a file with a leading dot that is older than this will not be renamed any more


_HOSTS_NAME = re.compile(r"[0-9A-Za-z.-]+\.(traces|metrics)\.jsonl")


_VERSION = re.compile(rb'"service\.version","value":\{"stringValue":("(?:[^"\\]|\\.)*")\}')


class ReadBatch(NamedTuple):
    """What `Intake.read_batch` read: what may leave, as lines too, and the names of the files that it came from."""

    batch: Batch
    trace_lines: list[bytes]
    names: list[str]
    bad_names: list[str]  # of files that are none of ours, or can't be read
    left: list[str]  # of files that are another version's


class Intake:
    """What the sender takes in, batch by batch.

    installation_id: as `Batch` takes it.
    takes_all: take what other versions recorded too: their settings were wrong.
    left: what another version of the program recorded, and its own senders will take.
    newest_dropped: ``{reason: how many}`` that the newest batch left out.
    newest: the segment file of spans that was put into every queue last, and what it holds.
    """

    def __init__(
        self,
        spool: str,
        settings: Mapping[str, Any],
        queues: Sequence[Queue],
        since_s: float,
        losses: Losses,
        *,
        takes_all: bool = False,
        installation_id: Callable[[], str] | None = None,
    ) -> None:
        self.installation_id = installation_id
        self.takes_all = takes_all
        self.spool = spool
        self.settings = settings
        self.version = str(settings["version"])[:64]  # as hosts write it
        self.queues = queues
        self.since_s = since_s
        self.losses = losses
        self.newest_dropped: Counter[str] = Counter()
        self.newest: tuple[str, Sequence[Record]] = "", ()
        self.left: set[str] = set()  # names in new/ of what another version recorded
        self._batches = 0
        self._stuck: set[str] = set()  # names in new/ that can be neither taken in nor removed
        self._taken: set[str] = set()  # those that were taken in, and can't be removed

    # Recovery.

    def recover(self) -> None:
        """Finish or undo the batch that an earlier sender was killed in, and remove what it had half written."""
        for folder in (self.spool, *[q.folder for q in self.queues], *[q.wait_folder for q in self.queues]):
            for name in list_files(folder):
                if name.endswith(PART):
                    os.unlink(os.path.join(folder, name))
        done, begun = os.path.join(self.spool, BATCH_DONE), os.path.join(self.spool, BATCH)
        for path in (done, begun):
            try:
                with open(path, encoding="utf-8", errors="surrogateescape") as file:
                    batch_id, *names = file.read().split("\n")
            except FileNotFoundError:
                continue
            if path == done:
                self._finish(batch_id, names)
            else:
                self._remove_from_queues(batch_id)
                os.unlink(path)

    def _remove_from_queues(self, batch_id: str) -> None:
        for queue in self.queues:
            for segment_file in queue.list_waiting():
                if batch_id and segment_file.startswith(batch_id + "."):
                    queue.remove_waiting(segment_file)

    def reap(self) -> Counter[str]:
        """Move the stubs of hosts that died into ``new/``. Returns what was lost with them, by reason."""
        lost: Counter[str] = Counter()
        folder = os.path.join(self.spool, OPEN)
        for name in list_files(folder):
            path = os.path.join(folder, name)
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                status = os.fstat(descriptor)
                if status.st_uid != os.geteuid():
                    continue
                age_s = time.time() - status.st_mtime
                # What has content was locked before. Further in the future: the clock jumped, and it may be of any age.
                if not status.st_size and -60 < age_s < STARTING_S:
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
        return lost

    # Batches.

    def list_new(self) -> list[str]:
        """Return the names of what waits to be taken in, oldest first: all but folders, and what can't be removed."""
        folder, names = os.path.join(self.spool, NEW), []
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    names.append(entry.name)
        return sorted(set(names) - self._stuck - self._taken - self.left)

    def read_batch(self, names: Sequence[str]) -> ReadBatch:
        """Read the first of *names*, as many as a segment file may hold. Moves and removes nothing."""
        read = ReadBatch(Batch(self.settings, self.since_s, self.installation_id), [], [], [], [])
        size_bytes = 0
        for name in names:
            if len(read.batch.records) >= MAX_SPANS or size_bytes >= MAX_TEXT:
                break
            try:
                content = self._read(name)
            except ValueError:
                read.bad_names.append(name)
                continue
            if self._is_anothers(name, content):
                read.left.append(name)
                continue
            read.names.append(name)
            size_bytes += len(content)
            self._add(read, content, name.endswith(TRACES))
        return read

    def _is_anothers(self, name: str, content: bytes) -> bool:
        """True if a file is left to the senders of the version of the program that recorded it."""
        match = None if self.takes_all else _VERSION.search(content)
        if match is None:
            return False
        version = json.loads(match[1])
        if version == self.version:
            return False
        try:
            began_s = int(name.partition("-")[0], 16) / 1e9
        except ValueError:
            return False
        return not is_left_over(began_s, time.time())

    def _add(self, read: ReadBatch, content: bytes, spans: bool) -> None:
        """Add the lines of one file to *read*, until more than `MAX_JUNK` of them were none."""
        junk, first, end = 0, 0, len(content)
        while first < end and junk <= MAX_JUNK:
            last = content.index(b"\n", first) + 1
            row, first = content[first:last], last
            before = read.batch.dropped["corrupt"]
            if spans:
                read.trace_lines.append(read.batch.add_traces(row))
            else:
                read.batch.add_metrics(row)
            junk += read.batch.dropped["corrupt"] != before
        if first < end:
            read.batch.dropped["corrupt"] += count_in(content[first:], spans)

    def move_into_queues(self, names: Sequence[str]) -> int:
        """Move the first of *names* into every queue, as one batch, and return how many that were.

        Raises OSError, as where the disk is full: then `recover` undoes what was begun.
        """
        self._batches += 1
        self.newest = "", ()  # one batch in memory is enough
        batch_id = new_batch_id(self._batches, self.version)
        read = self.read_batch(names)
        batch = read.batch
        for name in read.bad_names:
            path = os.path.join(self.spool, NEW, name)
            n = count_records(path)
            if set_aside(self.spool, path):
                batch.dropped["corrupt"] += n
            else:
                self._stuck.add(name)
        taken = len(read.names) + len(read.bad_names) + len(read.left)
        self.left.update(read.left)
        self.newest_dropped = +batch.dropped
        batch.dropped += self.losses.counts
        metrics = batch.metrics()
        if not read.names and metrics is None:
            return taken
        names = sorted({*read.names, *self._taken})
        write_whole(os.path.join(self.spool, BATCH), "\n".join([batch_id, *names]).encode())
        for queue in self.queues:
            if batch.records:
                queue.put(batch_id + TRACES, read.trace_lines)
            if metrics is not None:
                queue.put(batch_id + METRICS, [json.dumps(metrics, separators=(",", ":")).encode() + b"\n"])
        os.rename(os.path.join(self.spool, BATCH), os.path.join(self.spool, BATCH_DONE))
        self.losses.report()
        self.newest = batch_id + TRACES, batch.records
        self._finish(batch_id, names)
        return taken

    def _finish(self, batch_id: str, names: Sequence[str]) -> None:
        """Remove the files of a batch that is in the queues, then ``batch.done``, unless it has to name those that stay."""
        self._taken = set()
        for name in filter(_HOSTS_NAME.fullmatch, names):
            try:
                os.unlink(os.path.join(self.spool, NEW, name))
            except FileNotFoundError:
                pass
            except OSError:  # whoever owns it: it must not be taken in again
                self._taken.add(name)
        done = os.path.join(self.spool, BATCH_DONE)
        if self._taken:
            write_whole(done, "\n".join([batch_id, *sorted(self._taken)]).encode())
        else:
            os.unlink(done)

    def drop(self, name: str) -> int:
        """Remove a file of ``new/``, to make room, and return how many records it held."""
        path = os.path.join(self.spool, NEW, name)
        n = count_records(path)
        try:
            os.unlink(path)
        except OSError:
            self._stuck.add(name)
            return 0
        return n

    def _read(self, name: str) -> bytes:
        """Return the file's content, nothing if it is gone. Raises ValueError if it is none of ours, or can't be read.

        Anybody who may write into the folder could put a link, a pipe or a huge file there: none is followed, waited for
        or read.
        """
        path = os.path.join(self.spool, NEW, name)
        if not _HOSTS_NAME.fullmatch(name):
            raise ValueError(f"{path!r} has a name that no host writes")
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        except OSError as exc:  # a symbolic link, or unreadable
            raise ValueError(f"{path!r} can't be opened") from exc
        try:
            status = os.fstat(descriptor)
            plain = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_size <= MAX_FILE
            if plain:
                content = os.read(descriptor, status.st_size)
                if content.endswith(b"\n"):
                    return content
        finally:
            os.close(descriptor)
        raise ValueError(f"{path!r} is no file of records")
