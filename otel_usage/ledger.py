"""What was sent, when and to whom: the user's own record of it.

Ring 1 (background).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

MAX_BYTES = 262_144  # then the file becomes ``ledger.jsonl.1``, and the one before it is forgotten


class Ledger:
    """One line per delivery, in ``<home>/ledger.jsonl``.

    Shape: JSON object per line: ``time`` (Unix seconds), ``destination``, ``signal``, ``records``, ``result``
    (``sent``, ``retry``, ``dropped`` or ``refused``), ``status`` (HTTP, or null), ``dropped`` ({reason: how many}).
    ``destination`` is "" for what was dropped before it came to any, and for wrong settings that concern all of them.
    Where settings were ``refused`` also ``why``. Never payloads or keys.
    Concurrency: written under the sender's lock.
    """

    def __init__(self, home: str) -> None:
        self.path = os.path.join(home, "ledger.jsonl")

    def note(
        self,
        destination: str,
        signal: str,
        records: int,
        result: str,
        status: int | None,
        dropped: Mapping[str, int],
        *,
        why: str = "",
    ) -> None:
        """Add one delivery."""
        entry = {
            "time": round(time.time(), 3),
            "destination": destination,
            "signal": signal,
            "records": records,
            "result": result,
            "status": status,
            "dropped": dict(dropped),
            **({"why": why} if why else {}),
        }
        if os.path.exists(self.path) and os.path.getsize(self.path) > MAX_BYTES:
            os.replace(self.path, self.path + ".1")
        with open(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield the deliveries, oldest first. Lines that can't be read are passed over."""
        for path in (self.path + ".1", self.path):
            try:
                with open(path, encoding="utf-8") as file:
                    lines = file.readlines()
            except (FileNotFoundError, NotADirectoryError):
                continue
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    continue
