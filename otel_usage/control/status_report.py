"""Print `status_of` for people: what is in effect and why, what waits, what became of the rest, and what to type next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..schema.attributes import REASONS
from .app import App, Effect
from .console import Console
from .known_as import in_words
from .reasons import advise, explain_reason, reason_of
from .wording import MODE_MEANINGS, amount_in_words, count_of, iso_time, readable_time, who

# The result of a delivery, as the ledger has it, in words. "refused" is worded with its reason.
_RESULTS = {
    "sent": "sent",
    "retry": "not delivered, to be tried again",
    "dropped": "dropped",
    "validated": "validated, and not recorded",
}


def print_status(app: App, status: dict[str, Any], console: Console) -> None:
    """Print the whole report. status: what `status_of` returned for *app*."""
    console.print_line(f"{console.paint(app.name, '1')}: {_headline(status, console)}")
    console.print_line()
    console.print_rows([*_consent_rows(app, status), *_queue_rows(status)])
    console.print_line()
    _print_next_steps(status, console)


def print_overview(statuses: Sequence[dict[str, Any]], console: Console) -> None:
    """Print one line for each program. statuses: what `status_of` returned for each."""
    rows = []
    for status in statuses:
        times = [
            last["time"] for d in status["destinations"].values() if (last := d["last"]) and last["result"] == "sent"
        ]
        if _is_undecided(status):
            mode, by = "not known", "nobody here"
        else:
            mode, by = status["mode"], who(status["layer"], status["source"], status["value"])
        # Each queue holds a copy of what waits for its destination.
        queued = max((d["waiting"]["records"] for d in status["destinations"].values()), default=0)
        records = status["waiting"]["records"] + status["counting"]["records"] + queued
        waiting = count_of(records, "record") if status["readable"] else "not known"
        rows.append((status["app"], mode, waiting, readable_time(iso_time(max(times, default=0))) or "-", by))
    console.print_table(("program", "telemetry", "waiting", "last sent", "decided by"), rows)


def _headline(status: dict[str, Any], console: Console) -> str:
    """Return what is in effect, in a few words."""
    mode = status["mode"]
    if _is_undecided(status):
        return "nothing is decided here, and its own default is not known"
    unable = bool(status["reason"]) and mode != "off"
    meaning = "but nothing can be recorded" if unable else MODE_MEANINGS[mode]
    return f"telemetry is {console.paint_mode(mode)} ({meaning})"


def _is_undecided(status: dict[str, Any]) -> bool:
    """True if the program's own default decides, and is not known: it may be on."""
    own_default = status["source"] not in ("CI", "test runner")
    return not status["known"] and status["layer"] == "default" and status["mode"] == "off" and own_default


def _consent_rows(app: App, status: dict[str, Any]) -> list[tuple[str, str]]:
    """Return who decided, who else says something, and the stored choice."""
    if _is_undecided(status):
        rows = [("decided by", "nobody here; the program's own default is not known until it has sent something")]
    else:
        rows = [("decided by", who(status["layer"], status["source"], status["value"]))]
    if status["reason"]:
        rows.append(("", status["reason"]))
    elif status["notice_due"]:
        rows.append(("", "its notice is still to be seen, on a terminal; until then nothing is recorded"))
    for statement in status["settings"]:
        if statement["effect"] not in (Effect.DECIDES, Effect.PAUSED):
            value = app.environ.get(statement["source"], "") if statement["layer"] == "environment" else ""
            overruled = f"says {statement['mode']}, overruled"
            effect = "agrees" if statement["effect"] == Effect.AGREES else overruled
            rows.append(("also", f"{who(statement['layer'], statement['source'], value)}: {effect}"))
    choice = status["choice"]
    if choice is not None and choice["mode"] == "noticed":
        rows.append(("notice", f"seen {readable_time(choice['since'])}, version {choice['policy']}"))
    elif choice is not None:
        rows.append(("your choice", f"{choice['mode']}, since {readable_time(choice['since']) or 'ever'}"))
    return rows


def _queue_rows(status: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what waits, when it is sent, and how each destination does."""
    rows = [("waiting", amount_in_words(status["waiting"]) if status["readable"] else "not known")]
    counting = status["counting"]
    if counting["records"]:
        rows.append(("counting", f"{count_of(counting['records'], 'counter')} since the last sending"))
    if status["mode"] == "on":
        rows += [("sender", status["no_sender"])] if status["no_sender"] else _next_sending_rows(status)
    if status["local"]["files"]:
        rows.append(("kept locally", amount_in_words(status["local"])))
    said_off = status["choice"] is not None and status["choice"]["mode"] == "off"
    for name, destination in status["destinations"].items():
        rows.append((name, _destination_in_words(destination, history_removed=said_off)))
    if not status["destinations"]:
        rows.append(("destinations", "none: nothing can be sent"))
    for reason, n in status["dropped"].items():
        rows.append(("dropped", f"{count_of(n, 'record')}: {REASONS.get(reason, reason)}"))
    rows.append(("id", "random, renewed once a year" if status["installation_id"] else "none"))
    return rows


def _next_sending_rows(status: dict[str, Any]) -> list[tuple[str, str]]:
    """Return when the next sending is, and what it waits for; nothing if no record waits and no pause is on."""
    at, why = readable_time(status["not_before"]["time"]), status["not_before"]["why"]
    if why:
        return [("next sending", f"after the next run with other settings, or not before {at}: {why}")]
    if at:
        return [("next sending", f"not before {at}")]
    amounts = [status["waiting"], *[destination["waiting"] for destination in status["destinations"].values()]]
    return [("next sending", "after the next run")] if any(amount["files"] for amount in amounts) else []


def _destination_in_words(destination: dict[str, Any], *, history_removed: bool) -> str:
    """Return how a destination does. history_removed: the user said off, which removed what was known of it."""
    last = destination["last"]
    parts = []
    if last is None:
        parts.append("what was sent is not known here any more" if history_removed else "nothing sent yet")
    else:
        parts.append(_last_delivery_in_words(last))
    if destination["waiting"]["files"]:
        parts.append(f"waiting: {count_of(destination['waiting']['records'], 'record')}")
    paused_until = readable_time(destination["paused_until"])
    if paused_until and last is not None and last["result"] == "refused":
        parts.append(f"paused until {paused_until}, or until the settings change")
    elif paused_until:
        parts.append(f"paused until {paused_until} after {count_of(destination['failures'], 'failure')}")
    if last is not None and (advice := advise(reason_of(last))):
        parts.append(advice)
    if not destination["configured"]:
        parts.append("no longer a destination")
    if destination["known_as"] is not None:
        parts.append(f"knows you as {in_words(destination['known_as'])}")
    return "; ".join(parts)


def _last_delivery_in_words(entry: dict[str, Any]) -> str:
    result = entry["result"]
    words = f"wrong settings: {entry.get('why', '')}" if result == "refused" else _RESULTS.get(result, result)
    reason = reason_of(entry)
    answer = f", HTTP {entry['status']}" if entry["status"] and not reason else ""
    count = f"{count_of(entry['records'], 'record')} " if entry["records"] else ""
    return f"last: {count}{words}{answer}, {readable_time(iso_time(entry['time']))}" + (
        f": {explain_reason(reason)}" if reason else ""
    )


def _print_next_steps(status: dict[str, Any], console: Console) -> None:
    """Print the commands that a reader of the report may want next, with what each does."""
    if status["mode"] != "off":
        steps = [("off", "stops it"), ("preview", "shows what would be sent next")]
        if status["mode"] == "on" and any(d["waiting"]["files"] for d in status["destinations"].values()):
            steps.append(("send", "tries now to send what waits, and says what happens"))
    else:
        may_turn_on = status["layer"] in ("default", "stored") and status["folder"]
        steps = [("on", "starts it")] if may_turn_on else []
        steps.append(("schema", "says what could be recorded"))
    console.print_rows([(console.command_line(verb), effect) for verb, effect in steps], weight="1")
