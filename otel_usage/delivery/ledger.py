"""What was sent, when and to whom: the user's own record of it.

FORMAT  ``<home>/ledger.jsonl``: a JSON object per line,
        ``time``         Unix seconds
        ``destination``  its name; "" for what was dropped before it came to any, and for wrong settings that concern all
        ``signal``       ``traces`` or ``metrics``; "" where it is neither
        ``records``      how many it is about
        ``result``       a value of `Result`
        ``status``       of HTTP, or null
        ``dropped``      ``{reason: how many}``
        ``reason``       why not everything was sent, as `Verdict.reason`; left out where nothing failed
        ``why``          where settings were refused, what is wrong with them; where a destination only checked the records,
                         what it objects to
        Never payloads or keys.
ALGORITHM  Lines are appended, until the file is larger than `MAX_LEDGER_BYTES`: then it becomes ``ledger.jsonl.1``, and the
        one that had this name is lost.
RACES
1. Two senders: there is only one, see sender.py; who writes holds its lock.
2. A command may read while a sender writes, or as the file is renamed. It may miss the newest lines, or see half of the
   last one, which is no JSON and is passed over.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from ..spool.files import open_plain
from ..spool.layout import LEDGER, OLDER_LEDGER

MAX_LEDGER_BYTES = 262_144


class Result(str, Enum):
    """What became of a delivery, as the ledger has it."""

    SENT = "sent"  # at least one record
    RETRY = "retry"  # none was sent, and some wait for another attempt
    DROPPED = "dropped"  # none was sent, and none ever will be
    VALIDATED = "validated"  # the destination only checked them, as it was asked to
    REFUSED = "refused"  # nothing was tried: the settings are wrong


class Ledger:
    """The ledger of one app.

    >>> for entry in Ledger(home).entries():  # doctest: +SKIP
    ...     print(entry["destination"], entry["result"], entry["records"])
    """

    def __init__(self, home: str) -> None:
        self.path = os.path.join(home, LEDGER)
        self.older_path = os.path.join(home, OLDER_LEDGER)

    def append(
        self,
        destination: str,
        signal: str,
        records: int,
        result: Result,
        status: int | None,
        dropped: Mapping[str, int],
        *,
        reason: str = "",
        why: str = "",
    ) -> None:
        """Add one delivery. Where the disk is full, or the file is another user's, nothing is written down."""
        entry = {
            "time": round(time.time(), 3),
            "destination": destination,
            "signal": signal,
            "records": records,
            "result": result.value,
            "status": status,
            "dropped": dict(dropped),
            **({"reason": reason} if reason else {}),
            **({"why": why} if why else {}),
        }
        try:
            if os.path.exists(self.path) and os.path.getsize(self.path) > MAX_LEDGER_BYTES:
                os.replace(self.path, self.older_path)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            os.write(descriptor, json.dumps(entry).encode() + b"\n")
        except OSError:
            pass
        finally:
            os.close(descriptor)

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield the deliveries, oldest first. Lines that can't be read are passed over."""
        for path in (self.older_path, self.path):
            try:
                with open(path, encoding="utf-8", errors="replace", opener=open_plain) as file:
                    lines = file.readlines()
            except OSError:
                continue
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    continue
