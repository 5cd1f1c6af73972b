"""Pass on to vendors what was stored, through the sender's own queues: one implementation of at most once and at least once.

FORMAT  In the store ``outbox`` (number, signal, installation, line): OTLP JSON, written by the commit that stores the rows, so
        that what is stored is passed on, and what is known already is not. ``meta`` has for each vendor the number up to which
        it was handed over. Beside the store, in ``<store>.queues/``, a spool as the sender has it: its queues, ledger and losses.

ALGORITHM  of one vendor, in a thread of its own, so that one which is down or slow holds up nobody
  1. Remove the segment files of numbers that were not handed over: their process died between 3 and 4.
  2. `Dispatch.recover`: what was in flight is sent again where that does no harm, else counted as lost.
  3. Put the next records of the outbox into the vendor's queue, as segment files named by their last number, on disk.
  4. Commit that they were handed over, and remove from the outbox what all vendors have been handed. Only then
  5. `Dispatch.send`: split, take to flight, deliver, settle; a vendor that fails is paused. Then wait for more, or for the pause.
So each record gets into each queue once, wherever the process dies, and from there on delivery/ promises what it does for
programs. While a vendor is down its queue has `AHEAD` segment files at most, and the rest waits in the outbox.

RACES
  1. Erasure removes records from the outbox while they are handed over: both hold `Store.maintenance`. What is in a queue by
     then is sent: the vendor has to be asked, as for all that it had before.
  2. A vendor is added later: it is handed what is stored from then on. One that is left out no longer holds the outbox; what
     is in its queue stays there, and is sent if it is named again.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from otel_usage.delivery.destination import Destination, build_destination
from otel_usage.delivery.dispatch import Dispatch
from otel_usage.delivery.ledger import Ledger
from otel_usage.delivery.losses import Losses
from otel_usage.delivery.queue import Queue
from otel_usage.delivery.stop import Stop
from otel_usage.otlp import merge
from otel_usage.recording.fingerprint import fingerprint
from otel_usage.server.workers import share_memory
from otel_usage.setting_error import SettingError
from otel_usage.spool.layout import MEMORY_SUFFIX, METRICS, QUEUES_SUFFIX, TRACES

from .store.migrations import read_meta, write_meta
from .store.outbox import HANDED_OVER, handed_over_key, next_number
from .store.store import Store
from .store.transaction import transaction
from .store.writer import Stored, explain_fault

log = logging.getLogger("otel_usage.serve")

SEGMENT = 500  # records of one segment file
AHEAD = 8  # segment files that a queue holds before more are put into it
WAIT_S = 5.0  # until a vendor's thread looks again, if nothing wakes it


@dataclass(frozen=True, slots=True)
class VendorState:
    """How one vendor is doing. waiting: records in the outbox that were not handed over to it."""

    waiting: int
    paused: bool


def select_vendors(names: Sequence[str]) -> None:
    """Have this process's exporters read their own variables: *names* are what the standard variables would name.

    A signal whose variable says ``none`` is not passed on.
    """
    for variable in ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"):
        if os.environ.get(variable) != "none":
            os.environ[variable] = ",".join(names)


class Forwarding:
    """The threads that pass on to vendors, until `close`. names: of installed exporters, set up by their variables: see
    `select_vendors`. schema: may name events for a vendor.

    Raises SettingError if one of them can't be built.
    """

    def __init__(self, store: Store, names: Sequence[str], *, schema: Mapping[str, Any] | None = None) -> None:
        self._store = store
        self._names = tuple(names)
        folder = store.path + QUEUES_SUFFIX
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
        except OSError as exc:
            raise SettingError(f"{folder!r} can't be made: {exc.strerror}") from exc
        self._vendors = [_Vendor(store, name, self._names, folder, schema or {}) for name in names]
        with store.maintenance, store.reader() as cursor:
            _begin(cursor, self._names)
        store.listeners.append(self._wake)
        for vendor in self._vendors:
            vendor.start()

    def _wake(self, _: Stored) -> None:
        for vendor in self._vendors:
            vendor.changed.set()

    def states(self) -> dict[str, VendorState]:
        """Return how each vendor is doing."""
        with self._store.reader() as cursor:
            return {
                vendor.queue.name: VendorState(
                    _count_after(cursor, _read_mark(cursor, vendor.queue.name)),
                    bool(vendor.queue.paused_until_s(time.time())),
                )
                for vendor in self._vendors
            }

    def close(self) -> None:
        """Let each vendor's thread end; a request that is under way may come to its end."""
        for vendor in self._vendors:
            vendor.stop.asked = True
            vendor.changed.set()
        for vendor in self._vendors:
            vendor.join()


class _Vendor(threading.Thread):
    """One vendor's queue and thread. It is what `Dispatch` calls a sender."""

    def __init__(self, store: Store, name: str, names: Sequence[str], folder: str, schema: Mapping[str, Any]) -> None:
        super().__init__(name=f"forward-{name}", daemon=True)
        self.spool = os.path.join(folder, name)
        os.makedirs(self.spool, 0o700, exist_ok=True)
        self.changed = threading.Event()
        self.queue = Queue(self.spool, name)
        self.queue.takes_all = True
        self.stop = Stop()
        self.version = ""
        self.ledger = Ledger(self.spool)
        self._store = store
        self._names = names
        self._destination = build_destination(name, None, schema=schema)
        # As the relay's: of many installations, and of both signals.
        share_memory(self._destination.exporters, os.path.join(self.spool, name + MEMORY_SUFFIX))

    # What Dispatch asks.

    def may_send(self) -> bool:
        """Return True: the operator named the vendor."""
        return True

    def destination(self, queue: Queue) -> Destination | None:  # noqa: ARG002  there is one
        """Return the vendor."""
        return self._destination

    def destination_fingerprint(self, name: str) -> str:
        """Return what changes with the vendor's variables."""
        return str(fingerprint(name, os.environ))

    def added_attributes(self) -> Mapping[str, str | bool]:
        """Return nothing: what clients sent says all."""
        return {}

    # The thread.

    def run(self) -> None:
        """Hand over and send, until asked to stop."""
        self.queue.make_folders()
        dispatch = Dispatch(self, [self.queue], Losses(self.spool))
        begun = False
        try:
            while not self.stop.asked:
                self.changed.clear()
                more = False
                try:
                    if not begun:
                        self._remove_unfinished()
                        dispatch.recover()
                        begun = True
                    more = self._hand_over()
                    dispatch.send()
                except (OSError, duckdb.Error, MemoryError) as exc:  # a full disk, most likely
                    log.error("%s: passing on failed: %s", self.queue.name, explain_fault(exc))
                    more = False
                if not more:
                    self.changed.wait(self._pause_s())
        finally:
            self._destination.close()
            for exporter in self._destination.exporters.values():
                if hasattr(exporter, "close_memory"):
                    exporter.close_memory()

    def _pause_s(self) -> float:
        """Return how long to wait for more: no longer than until the vendor's pause ends."""
        until_s = self.queue.paused_until_s(time.time())
        if not until_s:
            return WAIT_S
        self.changed.clear()  # new records are no reason to ask a vendor that is to be left alone
        return min(max(until_s - time.time(), 0.05), WAIT_S)

    def _remove_unfinished(self) -> None:
        with self._store.reader() as cursor:
            mark = _read_mark(cursor, self.queue.name)
        for segment_file in self.queue.list_waiting():
            if _number_of(segment_file) > mark:
                self.queue.remove_waiting(segment_file)

    def _hand_over(self) -> bool:
        """Move the next records of the outbox into the queue; True if there are more that may be moved now."""
        if len(self.queue.list_waiting()) >= AHEAD:
            return False
        with self._store.maintenance, self._store.reader() as cursor:
            mark = _read_mark(cursor, self.queue.name)
            rows = cursor.execute(
                "SELECT number, signal, line FROM outbox WHERE number > ? ORDER BY number LIMIT ?", [mark, SEGMENT]
            ).fetchall()
            if not rows:
                return False
            last = int(rows[-1][0])
            # Named by the time as well, as any segment file: too old ones are dropped by it.
            batch_id = f"{time.time_ns():016x}-{last:016x}"
            traces = [line.encode() + b"\n" for _, signal, line in rows if signal == "traces"]
            if traces:
                self.queue.put(batch_id + TRACES, traces)
            metrics = [json.loads(line) for _, signal, line in rows if signal == "metrics"]
            if metrics:
                content = json.dumps(merge(metrics, lambda end_ns: end_ns), separators=(",", ":"))
                self.queue.put(batch_id + METRICS, [content.encode() + b"\n"])
            _move_mark(cursor, self.queue.name, last, self._names)
        return len(rows) == SEGMENT


def _number_of(segment_file: str) -> int:
    """Return the number of the last record of the outbox in a segment file; 0 if its name has none."""
    words = segment_file.partition(".")[0].split("-")
    try:
        return int(words[1], 16)
    except (IndexError, ValueError):
        return 0


def _read_mark(cursor: duckdb.DuckDBPyConnection, name: str) -> int:
    return int(read_meta(cursor, handed_over_key(name)) or 0)


def _count_after(cursor: duckdb.DuckDBPyConnection, mark: int) -> int:
    row = cursor.execute("SELECT count(*) FROM outbox WHERE number > ?", [mark]).fetchone()
    return int(row[0]) if row else 0


def _begin(cursor: duckdb.DuckDBPyConnection, names: Sequence[str]) -> None:
    """Give each new vendor a mark behind all records that there were; forget the marks of those that are none any more."""
    with transaction(cursor):
        # While all marks are there: a record that left the outbox is in queues under its number, and no other may get that.
        last = next_number(cursor) - 1
        marks = cursor.execute("SELECT key FROM meta WHERE starts_with(key, ?)", [HANDED_OVER]).fetchall()
        known = {key.removeprefix(HANDED_OVER) for (key,) in marks}
        for name in known - set(names):
            cursor.execute("DELETE FROM meta WHERE key = ?", [handed_over_key(name)])
        for name in set(names) - known:
            write_meta(cursor, handed_over_key(name), str(last))


def _move_mark(cursor: duckdb.DuckDBPyConnection, name: str, last: int, names: Sequence[str]) -> None:
    """Commit that *name* was handed all up to *last*, and remove what every vendor has been handed."""
    with transaction(cursor):
        write_meta(cursor, handed_over_key(name), str(last))
        least = min(_read_mark(cursor, one) for one in names)
        cursor.execute("DELETE FROM outbox WHERE number <= ?", [least])
