"""``send``: what a sender would do later in the background, now and in the foreground, and what became of it.

ALGORITHM
1. Ask the gate. Off sends nothing, whoever asks.
2. Take the lock; wait for a sender that has it, for a while: it may send all that waits.
3. End the pauses of all destinations: whoever types this wants them to be tried.
4. Let an ordinary `Sender` work, with the settings that the program has, or that are remembered here.
5. What it wrote into the ledger meanwhile is the answer. Where a destination was not reached, try its address layer by
   layer, and show what the libraries say about it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..delivery.environment import choose_destinations
from ..delivery.verdict import VALIDATED
from ..recording.fingerprint import fingerprint
from ..settings.check import find_problem
from ..settings.remembered import SECRET
from .app import App, ControlError
from .console import Console
from .reasons import NO_ANSWER, advise, explain_reason, reason_of
from .status import status_of
from .wording import count_of, who

WAIT_S = 15.0  # for a sender that is at work
UNREACHED = (
    "dns",
    "refused",
    "tls",
    "proxy",
    "connect_timeout",
    "connection",
    NO_ANSWER,
)  # worth a look at the way there


def send(app: App, args: argparse.Namespace, console: Console) -> int:
    """Send what waits, and say what became of it: 0 if all of it arrived, 1 if not."""
    began_s = round(time.time(), 3)
    settings = _settings_to_send_with(app)
    waited = _amount_waiting(app)
    if waited:
        _drain(settings, app.spool)
    answer = _what_became(app, settings, began_s)
    if args.json:
        console.print_json(answer)
    elif not waited:
        console.print_line("nothing waits to be sent")
    else:
        console.print_rows([(name, _in_words(row)) for name, row in answer["destinations"].items()] or [("", "none")])
        for reason, n in answer["dropped"].items():
            console.print_line(f"  {count_of(n, 'record')} dropped: {reason}")
    return 0 if answer["arrived"] else 1


def _settings_to_send_with(app: App) -> dict[str, Any]:
    """Return what a sender has to know. Raises ControlError if nothing may be sent, or nothing can be."""
    decision = app.decision()
    if decision.mode != "on":
        why = app.reason(decision)
        raise ControlError(
            f"nothing is sent: telemetry is {decision.mode}, by {who(decision.layer, decision.source)}"
            + (f" ({why})" if why else "")
        )
    app.require_readable()
    settings = app.require_settings()
    if problem := find_problem(settings):
        raise ControlError(f"nothing can be sent, wrong settings: {problem}")
    hidden = [name for name, value in (settings["destinations"] or {}).items() if SECRET in repr(value)]
    if hidden:
        raise ControlError(
            f"only {app.name} itself knows the whole address or key of {', '.join(hidden)}: what waits is sent after its "
            f"next run, or at once by {_own_command(app, settings)}"
        )
    if settings["destinations"] is not None and not settings["destinations"]:
        raise ControlError(f"no destination is set: {app.name} sends nothing to anybody")
    if not choose_destinations(settings["destinations"]):
        raise ControlError("no destination is set: OTEL_TRACES_EXPORTER or OTEL_EXPORTER_OTLP_ENDPOINT would name one")
    order = {"home": app.home, "mode": "on", "since_s": decision.since_s, "ci": decision.ci, "lines": []}
    # As the host takes it of its own settings, or a pause for wrong ones would not be known again.
    return {**settings, **order, "fingerprint": fingerprint(repr(settings), os.environ)}


def _own_command(app: App, settings: Mapping[str, Any]) -> str:
    mounted = settings.get("mounted")
    return f"`{app.name} {mounted} send`" if mounted else "a telemetry command of its own, if it has one"


def _amount_waiting(app: App) -> int:
    status = status_of(app)
    amounts = [status["waiting"], *(destination["waiting"] for destination in status["destinations"].values())]
    waiting: int = sum(amount["files"] for amount in amounts) + status["counting"]["processes"]
    return waiting


def _drain(settings: Mapping[str, Any], spool: str) -> None:
    """Send all that waits, in this process. Raises ControlError if another sender is at work for too long."""
    # Loaded here: no other command needs the whole sender.
    from ..delivery.queue import Queue
    from ..delivery.sender import Sender

    sender = Sender(settings)
    deadline = time.monotonic() + WAIT_S
    lock = sender.acquire_lock()
    if lock is None:
        Console(sys.stderr).print_line("another sender is at work: waiting for it")
        sys.stderr.flush()
    while lock is None:
        if time.monotonic() > deadline:
            raise ControlError("another sender is still at work on what waits; try again later")
        time.sleep(0.05)
        lock = sender.acquire_lock()
    before = dict(os.environ)
    try:
        for name in choose_destinations(settings["destinations"]):
            Queue(spool, name).resume()
        sender.drain()
    finally:
        os.close(lock)
        os.environ.clear()  # a sender takes others' variables out of the environment, which may be the host's here
        os.environ.update(before)


def _what_became(app: App, settings: Mapping[str, Any], began_s: float) -> dict[str, Any]:
    """Return what the ledger says since *began_s*, by destination. Any: JSON."""
    status = status_of(app)
    entries = [entry for entry in app.history() if entry["time"] >= began_s]
    dropped: Counter[str] = Counter()
    rows: dict[str, dict[str, Any]] = {}
    for name, destination in status["destinations"].items():
        of_it = [entry for entry in entries if entry["destination"] == name]
        reasons = [reason for entry in of_it if (reason := reason_of(entry))]
        wrong = [entry["why"] for entry in of_it if entry.get("why")]
        waiting = destination["waiting"]["records"]
        lost = [n for entry in of_it for reason, n in entry["dropped"].items() if reason != VALIDATED]
        rows[name] = {
            "sent": sum(entry["records"] for entry in of_it if entry["result"] == "sent"),
            "waiting": waiting,
            "validated": sum(entry["dropped"].get(VALIDATED, 0) for entry in of_it),
            "dropped": sum(lost),
            "reason": reasons[-1] if reasons else None,
            "wrong_settings": wrong[-1] if wrong else None,
            "text": _look_at_the_way(app, settings, name) if reasons and reasons[-1] in UNREACHED else None,
        }
    for entry in entries:
        if not entry["destination"]:
            dropped.update(entry["dropped"])
    left = status["waiting"]["files"] or dropped or any(row["waiting"] or row["dropped"] for row in rows.values())
    return {"app": app.name, "arrived": not left, "destinations": rows, "dropped": dict(dropped)}


def _look_at_the_way(app: App, settings: Mapping[str, Any], name: str) -> str | None:
    """Return what the libraries say about the first layer that fails on the way to a destination; None if none does."""
    from .probe import probe
    from .sample_run import addresses_of

    try:
        url = addresses_of(settings, app.home)[0].get(name, "")
    except OSError:
        return None
    keywords = (settings["destinations"] or {}).get(name)
    certificate = keywords.get("certificate_file") if isinstance(keywords, Mapping) else None
    failed = [check for check in probe(name, url, str(certificate or "")) if not check.ok] if url else []
    return failed[0].seen if failed else None


def _in_words(row: Mapping[str, Any]) -> str:
    parts = [f"{count_of(row['sent'], 'record')} sent"] if row["sent"] else []
    if row["validated"]:
        parts.append(f"{count_of(row['validated'], 'record')} validated, and not recorded")
    if row["dropped"]:
        parts.append(f"{count_of(row['dropped'], 'record')} dropped")
    if row["waiting"]:
        parts.append(f"{count_of(row['waiting'], 'record')} not delivered, to be tried again")
    words = ", ".join(parts) or "nothing to send"
    if row["wrong_settings"]:
        words += f": wrong settings: {row['wrong_settings']}"
    elif row["reason"]:
        words += f": {explain_reason(row['reason'])}"
        if row["text"]:
            words += f"; {row['text']}"
        if advice := advise(row["reason"]):
            words += f"; {advice}"
    return words
