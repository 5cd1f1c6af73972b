"""What a store needs from time to time: rollups every few seconds, retention every hour.

A rollup costs as much as the rows that it changes, and more in a larger store: the pause after one is twenty times as long as it
took, so it never takes more than a twentieth of a core.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime, timezone

import duckdb

from .store.store import Store
from .store.writer import explain_fault

log = logging.getLogger("otel_usage.serve")

ROLL_UP_S = 5.0
EXPIRE_S = 3_600.0
SHARE = 20


class Upkeep:
    """A thread that looks after *store* until `close`. raw_days, rollup_days: how long rows stay."""

    def __init__(self, store: Store, *, raw_days: int, rollup_days: int) -> None:
        self._store = store
        self._raw_days = raw_days
        self._rollup_days = rollup_days
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="store-upkeep", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Roll up what is left, and end."""
        self._stopping.set()
        self._thread.join()

    def _work(self) -> None:
        expire_at_s = 0.0
        while True:
            began_s = time.monotonic()
            stopping = self._stopping.is_set()
            try:
                self._store.roll_up()
                if began_s >= expire_at_s and not stopping:
                    self._expire()
                    expire_at_s = began_s + EXPIRE_S
            except (duckdb.Error, MemoryError) as exc:  # a full disk, most likely: it is tried again
                log.error("the store's upkeep failed: %s", explain_fault(exc))
            if stopping:
                return
            self._stopping.wait(max(ROLL_UP_S, SHARE * (time.monotonic() - began_s)))

    def _expire(self) -> None:
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        removed = self._store.expire(now, raw_days=self._raw_days, rollup_days=self._rollup_days)
        if removed:
            log.info("removed what is too old: %s", ", ".join(f"{n} of {table}" for table, n in removed.items()))
