"""The command line of the verbs: ``otel-usage VERB --app NAME`` and, mounted into a host, ``mycli telemetry VERB``.

Both have the same verbs, options and exit codes: 0 done, 1 it could not be done, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from ..recording.forget import forget as leave_nothing
from . import verbs
from .app import App, ControlError
from .console import Console

# verb: (what it does, function). Order is that of the help.
VERBS: dict[str, tuple[str, Callable[[App, argparse.Namespace, Console], int]]] = {
    "status": ("what is in effect, who decided, what waits, what was sent last", verbs.status),
    "on": ("record and send", verbs.choose),
    "off": ("record nothing; leaves nothing here but this choice", verbs.choose),
    "local": ("record and keep here, never send", verbs.choose),
    "schema": ("what may be recorded, in words", verbs.schema),
    "preview": ("the exact requests that would be sent next; sends nothing", verbs.preview),
    "history": ("what was sent, when and to whom", verbs.history),
    "reset-id": ("forget the random id of this installation", verbs.reset_id),
    "forget": ("remove everything here, and say what lies elsewhere", verbs.forget),
}


def add(subparsers: Any) -> None:
    """Add the verbs to ``otel-usage``. Any: what ``add_subparsers()`` returned, which argparse does not name."""
    for verb, (does, _) in VERBS.items():
        parser = subparsers.add_parser(verb, help=does, description=_sentence(does))
        parser.add_argument("--app", required=True, metavar="NAME", help="the program, as its variables name it")
        _add_options(parser, verb)
        parser.set_defaults(call=_run_standalone, json=False)


def run_mounted(prog: str, words: Sequence[str], out: TextIO | None = None) -> int:
    """Run ``mycli telemetry …`` in the host's process and return the exit code.

    prog: what the user typed so far, ``mycli telemetry``; words: what follows it. out: default ``sys.stdout``.
    """
    leave_nothing()  # who asks about telemetry is nobody's business
    top = argparse.ArgumentParser(prog=prog, description="See and decide what this program tells its maintainers.")
    top.add_argument("--json", action="store_true", help="for machines; may stand behind the command too")
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for verb, (does, _) in VERBS.items():
        _add_options(subparsers.add_parser(verb, help=does, description=_sentence(does)), verb)
    try:
        args = top.parse_args(list(words))
    except SystemExit as exc:
        return int(exc.code or 0)
    return _run(App.running, args, lambda verb: f"{prog} {verb}", out)


def _run_standalone(args: argparse.Namespace) -> int:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", args.app):
        print(
            f"otel-usage: app {args.app!r} is not a program's name: lower-case letters, digits, '.', '_', '-'",
            file=sys.stderr,
        )
        return 2
    return _run(lambda: App(args.app), args, lambda verb: f"otel-usage {verb} --app {args.app}")


def _run(
    find_app: Callable[[], App],
    args: argparse.Namespace,
    command_line: Callable[[str], str],
    out: TextIO | None = None,
) -> int:
    """Run the verb of *args* and return its exit code. command_line: see `Console`."""
    out = out or sys.stdout
    try:
        exit_code = VERBS[args.verb][1](find_app(), args, Console(out, command_line))
        out.flush()
        return exit_code
    except ControlError as exc:
        print(f"{command_line(args.verb).split()[0]}: {exc}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Of `… | head`: nobody wants to read more. The interpreter flushes stdout once again at its end, which would
        # fail as well, and loudly: let that go to nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        return 1


def _add_options(parser: argparse.ArgumentParser, verb: str) -> None:
    # SUPPRESS: a --json before the verb has been noted already, and no default may overwrite it.
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="for machines")
    if verb == "preview":
        parser.add_argument("--if-on", action="store_true", help="what would be sent if you had said on")
    if verb == "history":
        parser.add_argument(
            "-n", "--last", type=_delivery_count, default=1000, metavar="N", help="only the last N deliveries"
        )
    parser.set_defaults(verb=verb)


def _delivery_count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of deliveries: 1 or more")
    return int(text)


def _sentence(phrase: str) -> str:
    return phrase[0].upper() + phrase[1:] + "."
