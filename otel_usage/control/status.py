"""Everything that can be known of one program on this machine, as ``status --json`` prints it.

FORMAT  One JSON object. ``settings`` are the statements of all voices, strongest first. An amount is
        ``{"files": n, "records": n, "bytes": n, "oldest": time or null}``; times are ISO 8601, in UTC.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..consent.gate import stored
from ..delivery.cell_intake import list_counting
from ..delivery.queue import Queue
from ..recording.sender_absent import NO_INTERPRETER
from ..spool.files import list_abandoned, list_files, list_folder
from ..spool.layout import LOCAL, NEW, OPEN, QUEUE, TRACES
from ..spool.wake_token import read_blamed, senders_postponed_until
from .app import App
from .known_as import ids_at, list_destinations
from .wording import iso_time


def status_of(app: App) -> dict[str, Any]:
    """Return what is in effect and who decided, what waits, and what became of what was sent. Any: JSON."""
    decision = app.decision()
    choice, since_s, policy = stored(app.choice_file) if app.home else ("", 0, 0)
    last_deliveries: dict[str, dict[str, Any]] = {}
    dropped: Counter[str] = Counter()
    readable = not app.unreadable()
    for entry in app.history() if readable else ():
        if entry["destination"]:
            last_deliveries[entry["destination"]] = entry
        dropped.update(entry["dropped"])
    now_s = time.time()
    no_sender = why_no_sender(app)
    until_s, blamed = senders_postponed_until(app.spool, now_s)
    if blamed and read_blamed(app.spool)[0] == NO_INTERPRETER:
        no_sender = f"none could be started by the last run: {blamed}; records wait"
        until_s, blamed = 0.0, ""  # no pause: what is wrong does not end with it
    names = sorted(list_folder(f"{app.spool}/{QUEUE}")) if readable else []
    queues = {name: Queue(app.spool, name) for name in names}
    configured = list_destinations(app.settings)
    destinations = dict.fromkeys([*configured, *queues, *last_deliveries])
    installation_id = app.installation_id() if readable else None
    known_as = ids_at(destinations, installation_id, app.settings) if installation_id else {}
    return {
        "app": app.name,
        "known": app.settings is not None,
        "mode": decision.mode,
        "layer": decision.layer,
        "source": decision.source,
        "value": app.environ.get(decision.source, "") if decision.layer == "environment" else "",
        "reason": app.reason(decision) or None,
        "notice_due": decision.notice,
        "default": app.consent,
        "settings": [vars(statement) for statement in app.statements()],
        "choice": {"mode": choice, "since": iso_time(since_s), "policy": policy} if choice else None,
        "policy": app.policy,
        "folder": app.home,
        "installation_id": bool(app.home) and os.path.exists(app.id_file),
        "readable": readable,
        "no_sender": no_sender or None,
        "waiting": _waiting_in(app.spool) if readable else amount_of([]),
        "counting": _counting_in(app.spool) if readable else {"processes": 0, "records": 0},
        "not_before": {"time": iso_time(until_s), "why": blamed},
        "local": _waiting_in(f"{app.spool}/{LOCAL}") if readable else amount_of([]),
        "destinations": {
            name: {
                "configured": name in configured,
                **_queue_status(queues.get(name), now_s),
                "last": last_deliveries.get(name),
                "known_as": known_as.get(name),
            }
            for name in destinations
        },
        "dropped": dict(dropped),
        "about": app.about,
    }


def why_no_sender(app: App) -> str:
    """Return why the program's runs start no sender, so that what they record waits; "" if they do, as far as is known.

    Only in the program's own process is it known which interpreter a run would start.
    """
    if app.environ.get("OTEL_USAGE_SENDER") == "none":
        return "none is started: OTEL_USAGE_SENDER=none in the environment; records wait"
    settings = app.settings or {}
    if "sender" not in settings:  # remembered ones: this is another process
        return ""
    if settings["sender"] == "none":
        return "none is started, as the program's own settings say; records wait"
    if not hasattr(os, "posix_spawn") or getattr(sys, "frozen", False):
        return "none can be started: the program has no Python interpreter that runs by itself; records wait"
    python = settings.get("python") or sys.executable
    if not python or not os.access(python, os.X_OK):
        return f"none can be started: the interpreter {python!r} can't be run; records wait"
    return ""


def _queue_status(queue: Queue | None, now_s: float) -> dict[str, Any]:
    """Return what waits in a destination's queue, and whether it is paused; None stands for a queue that is not there."""
    if queue is None:
        return {"waiting": amount_of([]), "failures": 0, "paused_until": None}
    return {
        "waiting": amount_of([(folder, list_files(folder)) for folder in (queue.wait_folder, queue.flight_folder)]),
        "failures": queue.failures(),
        "paused_until": iso_time(queue.paused_until_s(now_s)),
    }


def _waiting_in(spool: str) -> dict[str, Any]:
    """Return how much waits in *spool*: finished runs, and what will be reported of those that were cut off."""
    return amount_of([(f"{spool}/{NEW}", list_files(f"{spool}/{NEW}")), (f"{spool}/{OPEN}", list_abandoned(spool))])


def _counting_in(spool: str) -> dict[str, int]:
    """Return how many processes of a service have counted since the last sending, and how many counters there are of them."""
    amounts = list_counting(spool)
    return {"processes": len(amounts), "records": sum(amounts)}


def amount_of(listings: Sequence[tuple[str, Sequence[str]]]) -> dict[str, Any]:
    """Return how much is in files: their number, spans and data points, bytes, and the time of the oldest.

    listings: (folder, names of files in it). A file that vanishes meanwhile was taken by a sender: it does not count.
    """
    files = records = size = 0
    oldest_s = 0.0
    for path in [os.path.join(folder, name) for folder, names in listings for name in names]:
        try:
            with open(path, "rb") as file:
                text, modified_s = file.read(), os.fstat(file.fileno()).st_mtime
        except OSError:
            continue
        if not text:  # cut off before it was known what was run
            continue
        files, size = files + 1, size + len(text)
        mark = rb'"spanId":' if path.endswith(TRACES) else rb'"timeUnixNano":'
        records += len(re.findall(mark, text))
        oldest_s = min(oldest_s or modified_s, modified_s)
    return {"files": files, "records": records, "bytes": size, "oldest": iso_time(oldest_s)}
