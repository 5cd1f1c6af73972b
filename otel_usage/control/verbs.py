"""What each verb does: ask `App`, print its answer, return the exit code. `commands` finds the function for a verb.

Every function takes the app, the parsed arguments and the console, and raises ControlError if it could not be done.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from ..consent.decision import Decision
from ..consent.gate import getter, home, stored
from ..settings.remembered import SECRET
from ..spool.removal import list_strangers
from .app import App, ControlError
from .console import Console
from .known_apps import list_known
from .known_as import in_words
from .reasons import reason_of
from .status import status_of
from .status_report import print_overview, print_status
from .wording import MODE_MEANINGS, count_of, iso_time, readable_time, who


def status(app: App, args: argparse.Namespace, console: Console) -> int:
    """Say what is in effect and why, what waits, and what became of the rest."""
    answer = status_of(app)
    if args.json:
        console.print_json(answer)
    else:
        print_status(app, answer, console)
    return 0


def status_of_all(args: argparse.Namespace, console: Console) -> int:
    """Say what is in effect for every program that is known here, one line each."""
    environ = os.environ
    if not home(getter(environ)):
        raise ControlError("there is no folder in which anything could be stored: set HOME, or OTEL_USAGE_HOME")
    answers = [status_of(App(name)) for name in list_known(environ)]
    if args.json:
        console.print_json(answers)
    elif answers:
        print_overview(answers, console)
    else:
        console.print_line("no program is known here: nothing was recorded by any")
    return 0


def choose(app: App, args: argparse.Namespace, console: Console) -> int:
    """Store on, off or local, and say what is in effect now."""
    mode = args.verb
    summary = _summarize_before_removal(app) if mode == "off" else {}
    now = app.choose(mode)
    if args.json:
        answer = {"app": app.name, "saved": mode, "mode": now.mode, "layer": now.layer, "source": now.source}
        console.print_json({**answer, "policy_known": app.settings is not None, **summary})
        return 0
    if now.mode != mode:
        value = app.environ.get(now.source, "") if now.layer == "environment" else ""
        cause = who(now.layer, now.source, value)
        console.print_line(f"saved, but currently {console.paint_mode(now.mode)} because of {cause}")
    elif mode == "off":
        console.print_line(
            f"{app.name}: telemetry is {console.paint_mode('off')}. Nothing is left here but this choice."
        )
        _print_strangers(app, console)
        _print_sent(app, summary, console)
    else:
        console.print_line(f"{app.name}: telemetry is {console.paint_mode(mode)} ({MODE_MEANINGS[mode]})")
    if mode == "on" and app.settings is None:
        console.print_line(
            f"What {app.name} collects is not known here: it may first show its notice, on a terminal, and record"
        )
        console.print_line("nothing until then.")
    return 0


def _summarize_before_removal(app: App) -> dict[str, Any]:
    """Return what was sent, before it is forgotten. What can't be read keeps nobody from saying off."""
    try:
        return app.summarize_sent()
    except ControlError:
        return {"sent": {}, "installation_id": None}


def schema(app: App, args: argparse.Namespace, console: Console) -> int:
    """Say what may be recorded, in words."""
    from ..schema.attributes import ATTRIBUTES
    from .privacy_page import NEVER, attribute_in_words, declared_rows

    settings = app.require_settings()
    of_runs = [row for row in ATTRIBUTES if "run" in row.on.split()]
    of_resource = [row for row in ATTRIBUTES if row.on == "resource"]
    declared = declared_rows(settings["schema"])
    if args.json:
        console.print_json(
            {
                "app": app.name,
                "run": [{"name": row.key, "values": row.allowed, "why": row.why} for row in of_runs],
                "resource": [{"name": row.key, "values": row.allowed, "why": row.why} for row in of_resource],
                "declared": [
                    {"name": name, "what": what, "fields": fields, "why": why} for name, what, fields, why in declared
                ],
                "never": list(NEVER),
            }
        )
        return 0
    console.print_line(console.paint(f"What {app.name} may record", "1"))
    for title, attributes in (("of each run", of_runs), ("of the program and the machine", of_resource)):
        console.print_line(f"\n{title}:")
        console.print_rows(
            [(row.key, f"{attribute_in_words(row).replace('`', '')}  ({row.why})") for row in attributes]
        )
    if declared:
        console.print_line(f"\nwhat {app.name} declares:")
        for name, what, fields, why in declared:
            console.print_rows([(name, f"{what}  ({why})")])
            for field in fields.split("; ") if fields else ():
                console.print_line(f"      {field.replace('`', '')}")
    console.print_line("\nnever:")
    for line in NEVER:
        console.print_line(f"  - {line}")
    return 0


def preview(app: App, args: argparse.Namespace, console: Console) -> int:
    """Print the requests that the next sending would make."""
    answer = app.preview(if_on=args.if_on)
    now = app.decision()
    if args.json:
        console.print_json({"app": app.name, "mode": now.mode, **answer.json()})
        return 0
    for problem in answer.problems.values():
        console.print_line(f"{problem}\n")
    if not answer.requests:
        console.print_line("none" + _why_none(now, args.if_on))
        return 0
    if answer.for_nobody:
        console.print_line("No destination is set: nothing is sent. This is what one would get.\n")
    if answer.example:
        console.print_line(
            "An example, made of what was recorded here so far. That stays here: on is for what comes after it.\n"
        )
    for request in answer.requests:
        title, headers, body = request.text(console.width)
        console.print_line(console.paint(title, "1"))
        if headers:
            console.print_line(console.paint(headers, "2"))
        console.print_line(body + "\n")
    if answer.incomplete:
        console.print_line(
            f"{SECRET} stands for the rest of an address, which is not kept here: only the program itself knows."
        )
    console.print_line(f"{count_of(len(answer.requests), 'request')}. Nothing was sent.")
    return 0


def _why_none(decision: Decision, if_on: bool) -> str:
    if decision.mode == "on" or if_on:
        return ""
    return f": telemetry is {decision.mode}, by {who(decision.layer, decision.source)}"


def history(app: App, args: argparse.Namespace, console: Console) -> int:
    """Print what was sent, when, and to whom."""
    entries = app.history()[-args.last :]
    if args.json:
        console.print_json(entries)
        return 0
    if not entries:
        console.print_line(_nothing_sent(app))
        return 0
    console.print_table(
        ("time", "destination", "what", "records", "result", "answer", "dropped, or what is wrong"),
        [
            (
                readable_time(iso_time(entry["time"])),
                entry["destination"] or "-",
                entry["signal"] or "-",
                str(entry["records"]),
                entry["result"],
                reason_of(entry) or str(entry["status"] or "-"),
                _dropped_or_wrong(entry) or "-",
            )
            for entry in entries
        ],
    )
    return 0


def _dropped_or_wrong(entry: dict[str, Any]) -> str:
    """Return what the ledger's *entry* says of drops, and of what is wrong. Any: JSON."""
    words = [f"{n} {reason}" for reason, n in entry["dropped"].items()]
    return ", ".join([*words, entry["why"]] if entry.get("why") else words)


def reset_id(app: App, args: argparse.Namespace, console: Console) -> int:
    """Forget the installation's id."""
    sent = _summarize_before_removal(app)["sent"]
    existed, old = app.reset_id()
    if args.json:
        known_as = {name: total["known_as"] for name, total in sent.items() if "known_as" in total}
        console.print_json({"app": app.name, "reset": existed, "id": old, "known_as": known_as})
        return 0
    console.print_line("the id is forgotten; the next sending makes a new one" if existed else "there was no id")
    if old:
        console.print_line(f"It was {console.paint(old, '1')}.")
        if sent:
            console.print_line("What was sent until now lies with these, each of which knows you as what stands there:")
            console.print_rows([(name, in_words(total["known_as"])) for name, total in sent.items()])
        console.print_line(_how_to_have_it_deleted(app))
    return 0


def forget(app: App, args: argparse.Namespace, console: Console) -> int:
    """Remove everything local, and say what lies where."""
    answer = app.forget()
    if args.json:
        console.print_json(answer)
        return 0
    if not answer["existed"]:
        missing = f"{app.home!r} does not exist." if app.home else "without a home folder nothing was ever kept."
        console.print_line(f"{app.name}: there is nothing to remove: {missing}")
        return 0
    console.print_line(f"{app.name}: everything on this machine is removed.")
    if answer["choice_kept"]:
        mode = answer["choice_kept"]
        what = {"noticed": "that you saw the notice", "asked": "that you were asked"}.get(mode, f"your choice: {mode}")
        console.print_line(f"Kept is only {what}.")
    _print_strangers(app, console)
    if not answer["sent"]:
        console.print_line(_nothing_sent(app))
    _print_sent(app, answer, console)
    return 0


def _print_strangers(app: App, console: Console) -> None:
    """Name what lies in the program's folder and was left alone, because it is not ours."""
    strangers = list_strangers(app.home) if app.home else []
    if strangers:
        more = f" and {len(strangers) - 5} more" if len(strangers) > 5 else ""
        console.print_line(f"What is not ours in {app.home} was left alone: {', '.join(strangers[:5])}{more}.")


def _nothing_sent(app: App) -> str:
    """Return that nothing was sent, as far as it can be known: saying off forgets it."""
    if app.home and stored(app.choice_file)[0] == "off":
        return "What was sent before off was said is not known here any more."
    return "Nothing was ever sent from here: nobody else has anything."


def _print_sent(app: App, summary: dict[str, Any], console: Console) -> None:
    """Say what lies with whom, and what to do to have it deleted. summary: of `App.summarize_sent`."""
    if not summary["sent"]:
        return
    console.print_line("\nWhat was sent before lies with these, and can't be removed from here:")
    for name, total in summary["sent"].items():
        first, last = readable_time(total["first"]), readable_time(total["last"])
        where = f", as {in_words(total['known_as'])}" if "known_as" in total else ""
        console.print_line(f"  {name}: {count_of(total['records'], 'record')}, {first} to {last}{where}")
    if summary["installation_id"]:
        id_in_bold = console.paint(summary["installation_id"], "1")
        console.print_line(f"\nYour id was {id_in_bold}; it is no longer known here.")
        console.print_line(_how_to_have_it_deleted(app))


def _how_to_have_it_deleted(app: App) -> str:
    """Return what to do. The id itself, too: a Collector may have passed it on, and ``otel-usage ids`` then tells as what."""
    request = f"To have it deleted, send that id, and what stands with each receiver, to the maintainers of {app.name}"
    return f"{request}: {app.about}" if app.about else f"{request}."
