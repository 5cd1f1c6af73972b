"""What was lost and not reported yet: counted by reason, kept on disk until a batch reports it.

FORMAT  ``<spool>/dropped``  ``{reason: how many}``, JSON: records, that is spans and data points
        ``<spool>/trimmed``  a number per line: what hosts dropped, or a sender that could not work (recording/folders.py)
ALGORITHM
1. Whoever drops records counts them here. The counts are written at once, and stand in the ledger too.
2. The next batch reports them as ``usage.dropped`` (`Intake.move_into_queues`), and `report` forgets them.
RACES
1. Killed between the batch and `report`: they are reported once more. The ledger has them once.
2. A host may write into ``trimmed`` just as `take_trimmed` reads it: then its number is lost. It has dropped thousands of
   files, and no sender worked for days.
3. The disk may be full: then counts are lost with the process. The ledger's lines may be lost likewise.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping

from ..schema.attributes import REASONS
from ..spool.files import open_plain, write_whole
from ..spool.layout import DROPPED, TRIMMED
from .verdict import VALIDATED


class Losses:
    """The losses of one spool. Concurrency: only the sender that holds the lock works on them."""

    def __init__(self, spool: str) -> None:
        self.path = os.path.join(spool, DROPPED)
        self.trimmed_path = os.path.join(spool, TRIMMED)
        self.counts: Counter[str] = Counter()
        try:
            with open(self.path, encoding="ascii", opener=open_plain) as file:
                counts = json.load(file)
            self.counts.update({reason: int(n) for reason, n in counts.items() if reason in REASONS and n > 0})
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            pass

    def take_trimmed(self) -> int:
        """Return how many records were dropped where no sender worked, and forget it: whoever asks counts them."""
        try:
            with open(self.trimmed_path, "rb", opener=open_plain) as file:
                n = sum(int(line) for line in file if line.strip().isdigit())
            os.unlink(self.trimmed_path)
        except OSError:
            return 0
        return n

    def add(self, dropped: Mapping[str, int]) -> None:
        """Count what was dropped. A reason of a vendor's own counts as ``rejected``: the table has no other.

        What was only to be validated is no loss.
        """
        for reason, n in dropped.items():
            if n > 0 and reason != VALIDATED:
                self.counts[reason if reason in REASONS else "rejected"] += n
        if dropped:
            self._save()

    def report(self) -> None:
        """Forget all counts: a batch that is in the queues has them."""
        if self.counts:
            self.counts.clear()
            self._save()

    def _save(self) -> None:
        try:
            if self.counts:
                write_whole(self.path, json.dumps(self.counts).encode())
            else:
                os.unlink(self.path)
        except OSError:  # RACE 3
            pass
