"""The queue of one destination: the segment files that wait for it, and those in flight.

FORMAT  ``<spool>/queue/<destination>/``:
        ``wait/<batch id>.traces.jsonl``       a segment file of spans; see segment_file.py for its content
        ``wait/<batch id>.metrics.jsonl``      a segment file of metrics: counts, run counters and losses of the same batch
        ``wait/<batch id>.<part>.….jsonl``     a part of either: as much as one request of this destination holds
        ``flight/``                            the segment file that is being sent, under the same name
        ``pause``                              the circuit breaker, see breaker.py
        A batch id is ``<time in ns, hexadecimal>-<number>-<version>``, a part is a number, so that names sort by age. The
        version is a checksum of the program's whose records these are.

STATES  of a segment file: the folders in which its name is are its state. All moves are made by the one sender that holds the
        lock (sender.py). Each is one rename or one unlink, so that a sender may die between any two.

    | wait/ | parts in wait/ | flight/ | the state, and what a sender that finds it so does                             |
    | ----- | -------------- | ------- | ------------------------------------------------------------------------------ |
    | yes   | no             | no      | waiting: none of its records has left. Send it, or split it                     |
    | yes   | yes            | no      | being split: the parts are incomplete. Remove them (`recover`), split again     |
    | no    | yes            | no      | split: each part is a segment file of its own, in the first state               |
    | no    | -              | yes     | in flight: any of its records may have left. `recover`: back to ``wait/`` where |
    |       |                |         | a repetition is recognised, else lost, counted as ``unknown_delivery``          |
    | yes   | -              | yes     | settled: ``wait/`` has what is left of it. `recover`: remove it from ``flight/``|
    | no    | no             | no      | done with: sent, or dropped and counted. Before its batch: not there yet        |

    | from      | move                                | to        | when                                                     |
    | --------- | ----------------------------------- | --------- | -------------------------------------------------------- |
    | done with | `put`                               | waiting   | the intake makes a batch                                 |
    | waiting   | `split`                             | split     | it holds more than one request of this destination does  |
    | waiting   | `take_to_flight`                    | in flight | before the first byte is sent                            |
    | in flight | `remove_from_flight`                | done with | all of it was sent or dropped                            |
    | in flight | `return_to_wait`                    | waiting   | nothing of it was sent                                   |
    | in flight | `return_to_wait` with lines         | settled   | a part of it was sent; then `remove_from_flight`         |
    | waiting   | `find_excess`, and removal          | done with | too old, too much, not readable                          |

ALGORITHM
1. What is counted as sent or lost is written into the ledger before the move that makes it so. A sender that dies in between
   counts it twice rather than never; what it counts once too often is what the destination may have got and nobody knows.
2. Where a repetition would count twice, a segment file in flight holds no more than one request does: that much is lost if a
   sender is killed, and no record that never left.
3. A segment file of another version of the program is left to the senders of that one, for `LEFT_S`: two versions, or two
   builds, may be in use side by side, with destinations and schemas of their own. Where the settings of the one that could
   not send were to blame, one with other settings takes all at once. docs/decisions/0018 says why.
RACES
1. Killed between `take_to_flight` and the first byte: it is in flight, and was not sent. Treated as in the table.
2. A command (``status``, ``preview``) reads while a sender works: a file may be in neither folder as it looks, and is then
   missing from what is printed. Nothing is decided by that.
"""

from __future__ import annotations

import os
import time
from binascii import crc32
from collections.abc import Iterable, Sequence

from ..spool.files import list_files, write_whole
from ..spool.layout import FLIGHT, JSON_LINES, METRICS, PAUSE, QUEUE, TRACES, WAIT
from ..spool.wake_token import MAX_SKEW_S
from .breaker import Breaker

MAX_AGE_S = 30 * 86_400  # a segment file older than this is dropped
LEFT_S = 86_400.0  # what another version of the program recorded is its own for so long
EARLIEST_S = 1_577_836_800.0  # 2020-01-01: a clock that says less was never set
MAX_QUEUE_BYTES = 20_000_000  # of one destination's queue; beyond it the oldest segment files are dropped


class Queue(Breaker):
    """The queue of the destination *name* in *spool*. Nothing is read or made before a method is called.

    A segment file is named by its name alone: the folder that it lies in is its state.
    takes_all: those of other versions too, which could not send them.
    """

    def __init__(self, spool: str, name: str) -> None:
        self.name = name
        self.takes_all = False
        self.folder = os.path.join(spool, QUEUE, name)
        self.wait_folder = os.path.join(self.folder, WAIT)
        self.flight_folder = os.path.join(self.folder, FLIGHT)
        super().__init__(os.path.join(self.folder, PAUSE))

    def make_folders(self) -> None:
        """Make the folders that are missing."""
        for folder in (os.path.dirname(self.folder), self.folder, self.wait_folder, self.flight_folder):
            os.makedirs(folder, 0o700, exist_ok=True)

    # Segment files.

    def put(self, segment_file: str, lines: Sequence[bytes]) -> None:
        """Add a segment file, such as ``17f…-0001.traces.jsonl``. Raises OSError, and then has added nothing."""
        write_whole(os.path.join(self.wait_folder, segment_file), b"".join(lines))

    def list_waiting(self) -> list[str]:
        """Return the names of the segment files that wait, oldest first."""
        return sorted(name for name in list_files(self.wait_folder) if name.endswith(JSON_LINES))

    def list_due(self, version: str, now_s: float) -> list[str]:
        """Return those that wait and that a sender of *version* may send: its own, and what others have left for too long."""
        mark = mark_of(version)
        return [name for name in self.list_waiting() if self.takes_all or _is_due(name, mark, now_s)]

    def list_in_flight(self) -> list[str]:
        """Return the names of the segment files in flight: with no sender at work, those that an earlier one left."""
        return sorted(name for name in list_files(self.flight_folder) if name.endswith(JSON_LINES))

    def split(self, segment_file: str, parts: Iterable[Sequence[bytes]]) -> list[str]:
        """Replace a waiting segment file by its *parts*, and return their names. Raises OSError, and then has split nothing."""
        stem, ending = _split_name(segment_file)
        names: list[str] = []
        try:
            for number, lines in enumerate(parts):
                names.append(f"{stem}.{number:04x}{ending}")
                self.put(names[-1], lines)
        except OSError:
            for name in names:
                self.remove_waiting(name)
            raise
        self.remove_waiting(segment_file)
        return names

    def take_to_flight(self, segment_file: str) -> str:
        """Move a waiting segment file into flight, and return its path: from now on it may have been sent."""
        path = os.path.join(self.flight_folder, segment_file)
        os.rename(os.path.join(self.wait_folder, segment_file), path)
        return path

    def remove_waiting(self, segment_file: str) -> None:
        """Remove a waiting segment file, if it is there."""
        try:
            os.unlink(os.path.join(self.wait_folder, segment_file))
        except FileNotFoundError:
            pass

    def remove_from_flight(self, segment_file: str) -> None:
        """Remove a segment file in flight, if it is there: it was sent, or never will be."""
        try:
            os.unlink(os.path.join(self.flight_folder, segment_file))
        except FileNotFoundError:  # the user has just said off
            pass

    def return_to_wait(self, segment_file: str, lines: Sequence[bytes] | None = None) -> None:
        """Move a segment file in flight back to those that wait; *lines* replace its content. Raises OSError."""
        if lines is None:
            os.rename(os.path.join(self.flight_folder, segment_file), os.path.join(self.wait_folder, segment_file))
            return
        self.put(segment_file, lines)
        self.remove_from_flight(segment_file)

    def recover_waiting(self) -> None:
        """Make good what an earlier sender left half done in ``wait/``, and what it left in flight though it was settled."""
        waiting = set(self.list_waiting())
        for segment_file in waiting:
            stem, ending = _split_name(segment_file)
            if stem.rpartition(".")[0] + ending in waiting:
                self.remove_waiting(segment_file)
        for segment_file in self.list_in_flight():
            if segment_file in waiting:
                self.remove_from_flight(segment_file)

    def find_excess(self, now_s: float) -> Iterable[tuple[str, str]]:
        """Yield (segment file, reason) of those that must go: too old (``age``), or too much (``limit``)."""
        total_bytes = 0
        for segment_file in reversed(self.list_waiting()):
            try:
                status = os.stat(os.path.join(self.wait_folder, segment_file), follow_symlinks=False)
            except FileNotFoundError:
                continue
            total_bytes += status.st_size
            if now_s - min(status.st_mtime, _began_s(segment_file)) > MAX_AGE_S:
                yield segment_file, "age"
            elif total_bytes > MAX_QUEUE_BYTES:
                yield segment_file, "limit"


def _split_name(segment_file: str) -> tuple[str, str]:
    """Return the name of a segment file without its ending, and the ending."""
    ending = TRACES if segment_file.endswith(TRACES) else METRICS if segment_file.endswith(METRICS) else JSON_LINES
    return segment_file.removesuffix(ending), ending


def _began_s(segment_file: str) -> float:
    """Return when the batch was made, in Unix seconds: parts and rests of a segment file are as old as it is."""
    try:
        began_s = int(segment_file.partition("-")[0], 16) / 1e9
    except ValueError:
        return float("inf")
    return began_s if began_s > EARLIEST_S else float("inf")


def _is_due(segment_file: str, mark: str, now_s: float) -> bool:
    """True if a segment file is of the version of *mark*, of none in particular, or has waited for its own too long."""
    words = segment_file.partition(".")[0].split("-")
    return len(words) < 3 or words[2] == mark or is_left_over(_began_s(segment_file), now_s)


def is_left_over(began_s: float, now_s: float) -> bool:
    """True if what another version recorded then may be taken by any: its own has had the time. So has what is of no time."""
    return not now_s - LEFT_S < began_s <= now_s + MAX_SKEW_S


def mark_of(version: str) -> str:
    """Return the mark of a program's version in the names of segment files."""
    return f"{crc32(version.encode('utf-8', 'surrogatepass')):08x}"


def new_batch_id(sequence: int, version: str) -> str:
    """Return the id of a new batch, with which the names of its segment files begin. It sorts by time.

    sequence: which batch of this sender it is, should two be made in one tick of the clock. version: of the program.
    """
    return f"{time.time_ns():016x}-{sequence:04x}-{mark_of(version)}"
