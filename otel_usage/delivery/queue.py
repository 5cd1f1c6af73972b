"""The queue of one destination: the segment files that wait for it, and its circuit breaker.

FORMAT  ``<spool>/queue/<destination>/``:
        ``wait/<batch id>.traces.jsonl``   a segment file of spans; see segment_file.py for its content
        ``wait/<batch id>.metrics.jsonl``  a segment file of metrics: counts, run counters and losses of the same batch
        ``flight/``                        the segment file that is being sent, under the same name
        ``pause``  ``{"failures": n, "not_before_s": Unix seconds}``, the circuit breaker. Where the settings are to blame
                   also ``"settings"``, their fingerprint, and ``"why"``, what is wrong with them.
        A batch id is ``<time in ns, hexadecimal>-<number>``, so that names sort by age.

STATES  of a segment file, and what moves it. All moves are made by the one sender that holds the lock (sender.py).

            Intake.move_into_queues           take_to_flight
        (none) ------------------> waiting ------------------> in flight
                                    |  ^                        |     |
                       find_excess: |  |  return_to_wait:       |     | remove_from_flight:
                       too old, or  |  +--- unsent, all or -----+     | sent, dropped
                       too much     v       a part of it              v
                                 (none)                            (none)

ALGORITHM
1. A file is renamed into ``flight/`` before its first byte is sent. Whatever lies in ``flight/`` when no sender lives may
   or may not have arrived.
2. It goes back to ``wait/`` if the destination failed, and the queue is paused: twice as long with each failure in a row, or
   as long as the destination asks. A success ends that. Runs of the host remember it: the pause is a file.
3. A destination for which a repetition would count twice gets what was in flight never again (``unknown_delivery``).
RACES
1. Killed between renaming and sending: the file is in flight, and was not sent. It is treated as in ALGORITHM 1, so that GA4
   loses it, and others get it.
2. Killed in `return_to_wait` with new lines: the new file is in ``wait/`` and the old one still in ``flight/``, under one
   name. The next sender finds both, and removes the old one; for a destination of ALGORITHM 3 it counts the old one as
   lost, which counts too much rather than too little.
3. A command (``status``, ``preview``) reads while a sender works: a file may be in neither folder as it looks, and is then
   missing from what is printed. Nothing is decided by that.
4. The clock may jump back: a pause that ends more than `MAX_AHEAD_S` ahead is taken for none.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from typing import Any

from ..spool.files import list_folder, write_whole
from ..spool.layout import FLIGHT, JSON_LINES, PAUSE, QUEUE, WAIT
from ..spool.wake_token import MAX_AHEAD_S, WRONG_SETTINGS_PAUSE_S

MAX_AGE_S = 30 * 86_400  # a segment file older than this is dropped
MAX_QUEUE_BYTES = 20_000_000  # of one destination's queue; beyond it the oldest segment files are dropped
FIRST_PAUSE_S = 60.0  # after a first failure; doubled with each
LAST_PAUSE_S = 6 * 3600.0


class Queue:
    """The queue of the destination *name* in *spool*. Nothing is read or made before a method is called.

    A segment file is named by its name alone: the folder that it lies in is its state.
    """

    def __init__(self, spool: str, name: str) -> None:
        self.name = name
        self.folder = os.path.join(spool, QUEUE, name)
        self.wait_folder = os.path.join(self.folder, WAIT)
        self.flight_folder = os.path.join(self.folder, FLIGHT)

    def make_folders(self) -> None:
        """Make the folders that are missing."""
        for folder in (os.path.dirname(self.folder), self.folder, self.wait_folder, self.flight_folder):
            os.makedirs(folder, 0o700, exist_ok=True)

    # Segment files.

    def put(self, segment_file: str, lines: Sequence[bytes]) -> None:
        """Add a segment file, such as ``17f…-0001.traces.jsonl``."""
        write_whole(os.path.join(self.wait_folder, segment_file), b"".join(lines))

    def list_waiting(self) -> list[str]:
        """Return the names of the segment files that wait, oldest first."""
        return sorted(name for name in list_folder(self.wait_folder) if name.endswith(JSON_LINES))

    def list_in_flight(self) -> list[str]:
        """Return the names of the segment files in flight: with no sender at work, those that an earlier one left."""
        return sorted(list_folder(self.flight_folder))

    def take_to_flight(self, segment_file: str) -> str:
        """Move a waiting segment file into flight, and return its path: from now on it may have been sent."""
        path = os.path.join(self.flight_folder, segment_file)
        os.rename(os.path.join(self.wait_folder, segment_file), path)
        return path

    def remove_from_flight(self, segment_file: str) -> None:
        """Remove a segment file in flight: it was sent, or never will be."""
        os.unlink(os.path.join(self.flight_folder, segment_file))

    def return_to_wait(self, segment_file: str, lines: Sequence[bytes] | None = None) -> None:
        """Move a segment file in flight back to those that wait; *lines* replace its content. See RACE 2."""
        if lines is None:
            os.rename(os.path.join(self.flight_folder, segment_file), os.path.join(self.wait_folder, segment_file))
            return
        self.put(segment_file, lines)
        self.remove_from_flight(segment_file)

    def find_excess(self, now_s: float) -> Iterable[tuple[str, str]]:
        """Yield (path, reason) of segment files that must go: too old (``age``), or too much (``limit``)."""
        total_bytes = 0
        for segment_file in reversed(self.list_waiting()):
            path = os.path.join(self.wait_folder, segment_file)
            status = os.stat(path)
            total_bytes += status.st_size
            if now_s - status.st_mtime > MAX_AGE_S:
                yield path, "age"
            elif total_bytes > MAX_QUEUE_BYTES:
                yield path, "limit"

    # The circuit breaker.

    def paused_until_s(self, now_s: float) -> float:
        """Return when sending may be tried again; 0 if now."""
        until_s = float(self._read_pause().get("not_before_s", 0.0))
        return until_s if now_s < until_s <= now_s + MAX_AHEAD_S else 0.0

    def failures(self) -> int:
        """Return how often sending failed since it last succeeded."""
        return int(self._read_pause().get("failures", 0))

    def pause(self, now_s: float, retry_after_s: float | None, jitter: float) -> None:
        """Count a failure, and stop sending: as long as the destination asks, or twice as long as the last time.

        jitter: 0 to 1, spreads those who failed together.
        """
        failures = self.failures() + 1
        backoff_s = min(FIRST_PAUSE_S * 2 ** min(failures - 1, 20), LAST_PAUSE_S) * (0.5 + 0.5 * jitter)
        until_s = now_s + max(backoff_s if retry_after_s is None else retry_after_s, 1.0)
        self._write_pause({"failures": failures, "not_before_s": until_s})

    def pause_for_settings(self, now_s: float, fingerprint: str, problem: str) -> None:
        """Stop sending for as long as the settings have this *fingerprint*, and a while at most."""
        until_s = now_s + WRONG_SETTINGS_PAUSE_S
        self._write_pause({"failures": 1, "not_before_s": until_s, "settings": fingerprint, "why": problem})

    def blamed_settings(self) -> tuple[str, str]:
        """Return (fingerprint, problem) of the settings that are to blame for the pause; two empty texts if none are."""
        pause = self._read_pause()
        return str(pause.get("settings", "")), str(pause.get("why", ""))

    def resume(self) -> None:
        """End a pause, and forget earlier failures."""
        try:
            os.unlink(os.path.join(self.folder, PAUSE))
        except FileNotFoundError:
            pass

    def _write_pause(self, pause: dict[str, Any]) -> None:
        write_whole(os.path.join(self.folder, PAUSE), json.dumps(pause).encode())

    def _read_pause(self) -> dict[str, Any]:
        """Return what the file says; nothing if it can't be read. Any: JSON."""
        try:
            with open(os.path.join(self.folder, PAUSE), encoding="ascii") as file:
                pause = json.load(file)
            return pause if isinstance(pause, dict) else {}
        except (OSError, ValueError):
            return {}


def new_batch_id(sequence: int) -> str:
    """Return the id of a new batch, with which the names of its segment files begin. It sorts by time.

    sequence: which batch of this sender it is, should two be made in one tick of the clock.
    """
    return f"{time.time_ns():016x}-{sequence:04x}"
