"""Record that an installation is new: once, when its id is generated.

FORMAT     ``new/<when, in hexadecimal>-first-run.traces.jsonl``: one span ``first_run``, as a host's file. From there on it is a
           record as all others are, and as safe from a sender's death.

ALGORITHM  1. Where there is no id, and something to take in, the file is written; its time is the beginning of the oldest record.
           2. The id is generated.
           3. The batches are taken in.

RACES      1. The sender is killed between 1 and 2: the next one finds the file, and writes no other.
           2. It is killed after 2: there is an id, so that no file is written any more; and the file is in ``new/``, or in the
              queues.
           3. Somebody resets the id after 2: that begins a new installation, which has a first run of its own.
           4. An exporter in a program of its own generated the id of that folder: it is of another folder, see identity.py.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Sequence
from hashlib import sha256

from ..recording import otlp_events
from ..recording.otlp_text import line, resource_attributes
from ..spool.files import write_whole
from ..spool.layout import NEW, TRACES

ENDING = "-first-run" + TRACES


def record_first_run(spool: str, names: Sequence[str], *, app: str, version: str, since_s: float) -> None:
    """Write the file, unless it is there. names: of all files in ``new/``, oldest first. since_s: as of `Batch`."""
    if any(name.endswith(ENDING) for name in names):
        return
    at_ns = time.time_ns()
    try:
        at_ns = min(at_ns, int(names[0].partition("-")[0], 16))
    except (IndexError, ValueError):
        pass
    at_ns = max(at_ns, int(since_s * 1e9) + 1_000)
    ids = sha256(f"first run {names[:1]}".encode()).hexdigest()  # a name is random; and a rehearsal has the same ids
    span = otlp_events.span(
        ids[:32], ids[32:48], "", "first_run", at_ns, at_ns, [("usage.kind", "first_run")], failed=False
    )
    resource = resource_attributes(app, version, sys.implementation.name, platform.python_version())
    write_whole(os.path.join(spool, NEW, f"{at_ns:016x}{ENDING}"), line("Spans", "spans", resource, span))
