"""``status``, ``on``, ``off``, ``local``, ``schema``, ``preview``, ``history``, ``reset-id`` and ``forget``.

Ring 1 (background): as ``otel-usage VERB --app NAME`` and, mounted into a host, as ``mycli telemetry VERB``.
Exit codes: 0 done, 1 it could not be done, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from .. import Decision, stored
from ..control import App, ControlError, as_json
from ..forget import forget as leave_nothing
from ..remembered import SECRET
from ..schema import REASONS


class Voice:
    """Where the commands write, and how: in colour on a terminal. how: returns the command line of another verb."""

    def __init__(self, out: TextIO, how: Callable[[str], str]) -> None:
        self.out = out
        self.how = how
        environ = os.environ
        self.terminal = out.isatty()
        self.width = min(shutil.get_terminal_size((100, 24)).columns, 160) if self.terminal else 100
        self.colour = self.terminal and "NO_COLOR" not in environ and environ.get("TERM", "dumb") != "dumb"

    def paint(self, text: str, code: str) -> str:
        """Return *text* in a colour or weight: an ANSI code such as ``1`` (bold) or ``32`` (green)."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def say(self, text: str = "") -> None:
        """Print a line."""
        self.out.write(text + "\n")

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        """Print labels and what they stand for, in two columns; on a terminal no line is broken within a word."""
        width = max(len(label) for label, _ in rows)
        room = max(20, self.width - width - 4) if self.terminal else sys.maxsize
        for label, text in rows:
            lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
            self.say(f"  {self.paint(label.ljust(width), '2')}  {lines[0]}")
            for line in lines[1:]:
                self.say(" " * (width + 4) + line)

    def table(self, head: Sequence[str], body: Sequence[Sequence[str]]) -> None:
        """Print a table."""
        widths = [max(len(row[i]) for row in [head, *body]) for i in range(len(head))]
        self.say(
            self.paint("  ".join(cell.ljust(width) for cell, width in zip(head, widths, strict=True)).rstrip(), "2")
        )
        for row in body:
            self.say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


MODES = {
    "on": "recorded and sent",
    "local": "kept on this machine, never sent",
    "off": "nothing is recorded, kept or sent",
    "log": "printed at the end of each run, never sent",
}
COLOURS = {"on": "1;32", "local": "1;33", "log": "1;33", "off": "1;31"}


def who(layer: str, source: str, value: str = "") -> str:
    """Return in words who decided, or says something."""
    if layer == "flag":
        return f"the option {source}"
    if layer == "environment":
        return f"{source}{'=' + value if value else ''} in the environment"
    if layer == "machine":
        return f"{source}, for everybody on this machine"
    if layer == "nowhere":
        return "nobody: there is no home folder"
    if layer == "stored":
        return f"your choice, kept in {_short(source)}"
    return {
        "opt-in": "the program's default: nothing until you say on",
        "opt-out": "the program's default: on, from the run after the one that shows its notice",
        "ask": "the program's default: nothing until you have said yes",
        "CI": "a CI system: nothing without an explicit on",
        "test runner": "a test runner: nothing without an explicit on",
    }.get(source, source)


def _short(path: str) -> str:
    user = os.path.expanduser("~")
    return "~" + path[len(user) :] if user != "/" and path.startswith(user + "/") else path


def _plural(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _time(iso: str | None) -> str:
    return (iso or "").replace("T", " ").replace("Z", " UTC")


def _amount(told: dict[str, Any]) -> str:
    if not told["files"]:
        return "nothing"
    size = f"{told['bytes'] / 1000:.1f} kB" if told["bytes"] < 1_000_000 else f"{told['bytes'] / 1e6:.1f} MB"
    return f"{_plural(told['records'], 'record')} ({size}), the oldest of {_time(told['oldest'])}"


def status(app: App, told: argparse.Namespace, voice: Voice) -> int:
    """Say what is in effect and why, what waits, and what became of the rest."""
    found = app.status()
    if told.json:
        voice.say(as_json(found))
        return 0
    mode = found["mode"]
    unable = bool(found["reason"]) and mode != "off"
    meaning = "but nothing can be recorded" if unable else MODES[mode]
    voice.say(f"{voice.paint(app.name, '1')}: telemetry is {voice.paint(mode, COLOURS[mode])} ({meaning})")
    voice.say()
    rows = [("decided by", who(found["layer"], found["source"], found["value"]))]
    if not found["known"] and found["layer"] == "default":
        rows = [("decided by", "nobody here; the program's own default is not known until it has sent something")]
    if found["reason"]:
        rows.append(("", found["reason"]))
    elif found["notice_due"]:
        rows.append(("", "its notice is still to be seen, on a terminal; until then nothing is recorded"))
    for said in found["settings"]:
        if said["effect"] not in ("decides", "paused"):
            value = app.environ.get(said["source"], "") if said["layer"] == "environment" else ""
            effect = "agrees" if said["effect"] == "agrees" else f"says {said['mode']}, overruled"
            rows.append(("also", f"{who(said['layer'], said['source'], value)}: {effect}"))
    choice = found["choice"]
    if choice is not None and choice["mode"] == "noticed":
        rows.append(("notice", f"seen {_time(choice['since'])}, version {choice['policy']}"))
    elif choice is not None:
        rows.append(("your choice", f"{choice['mode']}, since {_time(choice['since']) or 'ever'}"))
    rows.append(("waiting", _amount(found["waiting"])))
    if mode == "on":
        rows += _next(found)
    if found["local"]["files"]:
        rows.append(("kept locally", _amount(found["local"])))
    for name, destination in found["destinations"].items():
        rows.append((name, _destination(destination, forgotten=choice is not None and choice["mode"] == "off")))
    if not found["destinations"]:
        rows.append(("destinations", "none: nothing can be sent"))
    for reason, n in found["dropped"].items():
        rows.append(("dropped", f"{_plural(n, 'record')}: {REASONS.get(reason, reason)}"))
    rows.append(("id", "random, renewed once a year" if found["installation_id"] else "none"))
    voice.facts(rows)
    voice.say()
    hints = [("off", "stops it"), ("preview", "shows what would be sent next")]
    if mode == "off":
        hints = [("on", "starts it")] if found["layer"] in ("default", "stored") and found["folder"] else []
        hints.append(("schema", "says what could be recorded"))
    width = max(len(voice.how(verb)) for verb, _ in hints)
    for verb, meaning in hints:
        voice.say(f"  {voice.paint(voice.how(verb).ljust(width), '1')}  {meaning}")
    return 0


def _next(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Say when the next sending is, and what it waits for, where something waits or a pause is on."""
    at, why = _time(found["not_before"]["time"]), found["not_before"]["why"]
    if why:
        return [("next sending", f"after the next run with other settings, or not before {at}: {why}")]
    if at:
        return [("next sending", f"not before {at}")]
    waits = [found["waiting"], *[told["waiting"] for told in found["destinations"].values()]]
    return [("next sending", "after the next run")] if any(amount["files"] for amount in waits) else []


def _destination(told: dict[str, Any], *, forgotten: bool) -> str:
    last = told["last"]
    parts = []
    if last is None:
        parts.append("what was sent is not known here any more" if forgotten else "nothing sent yet")
    else:
        answer = f", HTTP {last['status']}" if last["status"] else ""
        at = _time(_iso(last["time"]))
        words = {
            "sent": "sent",
            "retry": "not delivered, to be tried again",
            "dropped": "dropped",
            "refused": f"wrong settings: {last.get('why', '')}",
        }
        count = f"{_plural(last['records'], 'record')} " if last["records"] else ""
        parts.append(f"last: {count}{words.get(last['result'], last['result'])}{answer}, {at}")
    if told["waiting"]["files"]:
        parts.append(f"waiting: {_plural(told['waiting']['records'], 'record')}")
    if told["paused_until"] and last is not None and last["result"] == "refused":
        parts.append(f"paused until {_time(told['paused_until'])}, or until the settings change")
    elif told["paused_until"]:
        parts.append(f"paused until {_time(told['paused_until'])} after {_plural(told['failures'], 'failure')}")
    if not told["configured"]:
        parts.append("no longer a destination")
    return "; ".join(parts)


def _iso(seconds: float) -> str | None:
    from ..control import _iso as iso

    return iso(seconds)


def choose(app: App, told: argparse.Namespace, voice: Voice) -> int:
    """Store on, off or local, and say what is in effect now."""
    mode = told.verb
    elsewhere = app.elsewhere() if mode == "off" else {}
    now = app.choose(mode)
    overruled = now.mode != mode
    why = who(now.layer, now.source, app.environ.get(now.source, "") if now.layer == "environment" else "")
    unknown = mode == "on" and app.settings is None
    if told.json:
        found = {"app": app.name, "saved": mode, "mode": now.mode, "layer": now.layer, "source": now.source}
        voice.say(as_json({**found, "policy_known": app.settings is not None, **elsewhere}))
    elif overruled:
        voice.say(f"saved, but currently {voice.paint(now.mode, COLOURS[now.mode])} because of {why}")
    elif mode == "off":
        voice.say(
            f"{app.name}: telemetry is {voice.paint('off', COLOURS['off'])}. Nothing is left here but this choice."
        )
        _tell_elsewhere(app, elsewhere, voice)
    else:
        voice.say(f"{app.name}: telemetry is {voice.paint(mode, COLOURS[mode])} ({MODES[mode]})")
    if unknown and not told.json:
        voice.say(
            f"What {app.name} collects is not known here: it may first show its notice, on a terminal, and record"
        )
        voice.say("nothing until then.")
    return 0


def schema(app: App, told: argparse.Namespace, voice: Voice) -> int:
    """Say what may be recorded, in words."""
    from ..describe import NEVER, rows
    from ..schema import ATTRIBUTES

    settings = app.known()
    runs = [row for row in ATTRIBUTES if "run" in row.on.split()]
    declared = rows(settings["schema"])
    if told.json:
        found = {
            "app": app.name,
            "run": [{"name": row.key, "values": row.allowed, "why": row.why} for row in runs],
            "resource": [{"name": r.key, "values": r.allowed, "why": r.why} for r in ATTRIBUTES if r.on == "resource"],
            "declared": [{"name": n, "what": what, "fields": fields, "why": why} for n, what, fields, why in declared],
            "never": list(NEVER),
        }
        voice.say(as_json(found))
        return 0
    voice.say(voice.paint(f"What {app.name} may record", "1"))
    for title, table in (
        ("of each run", [(row.key, row.allowed, row.why) for row in runs]),
        ("of the program and the machine", [(r.key, r.allowed, r.why) for r in ATTRIBUTES if r.on == "resource"]),
    ):
        voice.say(f"\n{title}:")
        voice.facts([(key, f"{allowed.replace('`', '')}  ({why})") for key, allowed, why in table])
    if declared:
        voice.say(f"\nwhat {app.name} declares:")
        for name, what, fields, why in declared:
            voice.facts([(name, f"{what}  ({why})")])
            for field in fields.split("; ") if fields else ():
                voice.say(f"      {field.replace('`', '')}")
    voice.say("\nnever:")
    for line in NEVER:
        voice.say(f"  - {line}")
    return 0


def preview(app: App, told: argparse.Namespace, voice: Voice) -> int:
    """Print the requests that the next sending would make."""
    found = app.preview(if_on=told.if_on)
    now = app.decision()
    if told.json:
        voice.say(as_json({"app": app.name, "mode": now.mode, **found.json()}))
        return 0
    for problem in found.problems.values():
        voice.say(f"{problem}\n")
    if not found.requests:
        voice.say("none" + _why_none(now, told.if_on))
        return 0
    if found.example:
        voice.say(
            "An example, made of what was recorded here so far. That stays here: on is for what comes after it.\n"
        )
    for request in found.requests:
        title, headers, body = request.text(voice.width)
        voice.say(voice.paint(title, "1"))
        if headers:
            voice.say(voice.paint(headers, "2"))
        voice.say(body + "\n")
    if found.incomplete:
        voice.say(f"{SECRET} stands for the rest of an address, which is not kept here: only the program itself knows.")
    voice.say(f"{_plural(len(found.requests), 'request')}. Nothing was sent.")
    return 0


def _why_none(now: Decision, if_on: bool) -> str:
    if now.mode == "on" or if_on:
        return ""
    return f": telemetry is {now.mode}, by {who(now.layer, now.source)}"


def history(app: App, told: argparse.Namespace, voice: Voice) -> int:
    """Print what was sent, when, and to whom."""
    found = app.history()[-told.last :]
    if told.json:
        voice.say(as_json(found))
        return 0
    if not found:
        voice.say(_nothing(app))
        return 0
    voice.table(
        ("time", "destination", "what", "records", "result", "answer", "dropped, or what is wrong"),
        [
            (
                _time(_iso(entry["time"])),
                entry["destination"] or "-",
                entry["signal"] or "-",
                str(entry["records"]),
                entry["result"],
                str(entry["status"] or "-"),
                entry.get("why") or ", ".join(f"{n} {reason}" for reason, n in entry["dropped"].items()) or "-",
            )
            for entry in found
        ],
    )
    return 0


def reset_id(app: App, told: argparse.Namespace, voice: Voice) -> int:
    """Forget the installation's id."""
    was, old = app.reset_id()
    if told.json:
        voice.say(as_json({"app": app.name, "reset": was, "id": old}))
        return 0
    voice.say("the id is forgotten; the next sending makes a new one" if was else "there was no id")
    if old:
        voice.say(f"It was {voice.paint(old, '1')}. What was sent until now lies at its receivers under that id.")
        voice.say(_deletion(app))
    return 0


def _deletion(app: App) -> str:
    about = (app.settings or {}).get("about", "")
    return f"To have it deleted, send that id to the maintainers of {app.name}" + (f": {about}" if about else ".")


def forget(app: App, told: argparse.Namespace, voice: Voice) -> int:
    """Remove everything local, and say what lies where."""
    found = app.forget()
    if told.json:
        voice.say(as_json(found))
        return 0
    if found["existed"]:
        voice.say(f"{app.name}: everything on this machine is removed.")
    elif app.home:
        voice.say(f"{app.name}: there is nothing to remove: {app.home!r} does not exist.")
        return 0
    else:
        voice.say(f"{app.name}: there is nothing to remove: without a home folder nothing was ever kept.")
        return 0
    if found["choice_kept"]:
        mode = found["choice_kept"]
        what = {"noticed": "that you saw the notice", "asked": "that you were asked"}.get(mode, f"your choice: {mode}")
        voice.say(f"Kept is only {what}.")
    if not found["sent"]:
        voice.say(_nothing(app))
    _tell_elsewhere(app, found, voice)
    return 0


def _nothing(app: App) -> str:
    """Return that nothing was sent, as far as it can be known: saying off forgets it."""
    if app.home and stored(app.home + "/consent")[0] == "off":
        return "What was sent before off was said is not known here any more."
    return "Nothing was ever sent from here: nobody else has anything."


def _tell_elsewhere(app: App, found: dict[str, Any], voice: Voice) -> None:
    """Say what lies with whom, and what to do to have it deleted."""
    if not found["sent"]:
        return
    voice.say("\nWhat was sent before lies with these, and can't be removed from here:")
    for name, sent in found["sent"].items():
        voice.say(f"  {name}: {_plural(sent['records'], 'record')}, {_time(sent['first'])} to {_time(sent['last'])}")
    if found["installation_id"]:
        voice.say(f"\nIt lies there under the id {voice.paint(found['installation_id'], '1')}, no longer known here.")
        voice.say(_deletion(app))


# verb: (what it does, function). Order is that of the help.
VERBS: dict[str, tuple[str, Callable[[App, argparse.Namespace, Voice], int]]] = {
    "status": ("what is in effect, who decided, what waits, what was sent last", status),
    "on": ("record and send", choose),
    "off": ("record nothing; leaves nothing here but this choice", choose),
    "local": ("record and keep here, never send", choose),
    "schema": ("what may be recorded, in words", schema),
    "preview": ("the exact requests that would be sent next; sends nothing", preview),
    "history": ("what was sent, when and to whom", history),
    "reset-id": ("forget the random id of this installation", reset_id),
    "forget": ("remove everything here, and say what lies elsewhere", forget),
}


def _fill(parser: argparse.ArgumentParser, verb: str) -> None:
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="for machines")
    if verb == "preview":
        parser.add_argument("--if-on", action="store_true", help="what would be sent if you had said on")
    if verb == "history":
        parser.add_argument("-n", "--last", type=_number, default=1000, metavar="N", help="only the last N deliveries")
    parser.set_defaults(verb=verb)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of deliveries: 1 or more")
    return int(text)


def add(commands: Any) -> None:
    """Add the sub-commands to ``otel-usage``."""
    for verb, (does, _) in VERBS.items():
        told = commands.add_parser(verb, help=does, description=does[0].upper() + does[1:] + ".")
        told.add_argument("--app", required=True, metavar="NAME", help="the program, as its variables name it")
        _fill(told, verb)
        told.set_defaults(call=_standalone, json=False)


def _standalone(told: argparse.Namespace) -> int:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", told.app):
        print(
            f"otel-usage: app {told.app!r} is not a program's name: lower-case letters, digits, '.', '_', '-'",
            file=sys.stderr,
        )
        return 2
    return _run(lambda: App(told.app), told, lambda verb: f"otel-usage {verb} --app {told.app}")


def mounted(prog: str, argv: Sequence[str], out: TextIO | None = None) -> int:
    """Run ``mycli telemetry …`` in the host's process and return the exit code. prog: what the user typed so far."""
    leave_nothing()  # who asks about telemetry is nobody's business
    top = argparse.ArgumentParser(prog=prog, description="See and decide what this program tells its maintainers.")
    top.add_argument("--json", action="store_true", help="for machines; may stand behind the command too")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for verb, (does, _) in VERBS.items():
        _fill(commands.add_parser(verb, help=does, description=does[0].upper() + does[1:] + "."), verb)
    try:
        told = top.parse_args(list(argv))
    except SystemExit as exc:
        return int(exc.code or 0)
    return _run(App.running, told, lambda verb: f"{prog} {verb}", out)


def _run(
    find: Callable[[], App], told: argparse.Namespace, how: Callable[[str], str], out: TextIO | None = None
) -> int:
    out = out or sys.stdout
    try:
        code = VERBS[told.verb][1](find(), told, Voice(out, how))
        out.flush()
        return code
    except ControlError as exc:
        print(f"{how(told.verb).split()[0]}: {exc}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # of `… | head`: nobody wants to read more, and the interpreter would try once again
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        return 1
