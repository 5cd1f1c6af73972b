"""The command line of the verbs: ``otel-usage VERB --app NAME`` and, mounted into a host, ``mycli telemetry VERB``.

Both have the same verbs, options and exit codes: 0 done, 1 it could not be done, 2 wrong usage. Answers go to stdout, and
what could not be done to stderr. Without a verb, ``mycli telemetry`` is ``mycli telemetry status``; without ``--app``,
``otel-usage status`` is about all programs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from ..consent.notice import say
from ..recording.forget import forget as leave_nothing
from ..spool.removal import explain_os_error
from . import verbs
from .app import App, ControlError
from .console import Console
from .known_apps import explain_unknown_app, is_known, is_name
from .sending import send
from .terminal import give_up, prepare_streams

# verb: (what it does, function). Order is that of the help.
VERBS: dict[str, tuple[str, Callable[[App, argparse.Namespace, Console], int]]] = {
    "status": ("what is in effect, who decided, what waits, what was sent last", verbs.status),
    "on": ("record and send", verbs.choose),
    "off": ("record nothing; leaves nothing here but this choice", verbs.choose),
    "local": ("record and keep here, never send", verbs.choose),
    "schema": ("what may be recorded, in words", verbs.schema),
    "preview": ("the exact requests that would be sent next; sends nothing", verbs.preview),
    "send": ("send now what waits, and say what became of it", send),
    "history": ("what was sent, when and to whom", verbs.history),
    "reset-id": ("forget the random id of this installation", verbs.reset_id),
    "forget": ("remove everything here, and say what lies elsewhere", verbs.forget),
}
CHOICES = ("on", "off", "local")


def add(subparsers: Any) -> None:
    """Add the verbs to ``otel-usage``. Any: what ``add_subparsers()`` returned, which argparse does not name."""
    for verb, (does, _) in VERBS.items():
        parser = subparsers.add_parser(verb, help=does, description=_sentence(does))
        about = "the program, as its variables name it" + ("; default: all" if verb == "status" else "")
        parser.add_argument("--app", required=verb != "status", metavar="NAME", help=about)
        if verb in CHOICES:
            parser.add_argument("--new", action="store_true", help="decide before the program's first run here")
        _add_options(parser, verb)
        parser.set_defaults(call=_run_standalone, json=False)


def run_mounted(prog: str, words: Sequence[str], out: TextIO | None = None) -> int:
    """Run ``mycli telemetry …`` in the host's process and return the exit code.

    prog: what the user typed so far, ``mycli telemetry``; words: what follows it. out: default ``sys.stdout``.
    """
    leave_nothing()  # who asks about telemetry is nobody's business
    prepare_streams()
    top = argparse.ArgumentParser(
        prog=prog, description="See and decide what this program tells its maintainers. Without a command: status."
    )
    top.add_argument("--json", action="store_true", help="for machines; may stand behind the command too")
    top.set_defaults(verb="status")
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", required=False)
    for verb, (does, _) in VERBS.items():
        _add_options(subparsers.add_parser(verb, help=does, description=_sentence(does)), verb)
    try:
        args = top.parse_args(list(words))
    except SystemExit as exc:
        return int(exc.code or 0)
    return run(App.running, args, lambda verb: f"{prog} {verb}", out)


def _run_standalone(args: argparse.Namespace) -> int:
    if args.app is None:
        return _answer(
            lambda out: verbs.status_of_all(args, Console(out, _standalone_command_line("NAME"))), "otel-usage"
        )
    if not is_name(args.app):
        problem = f"app {args.app!r} is not a program's name: lower-case letters, digits, '.', '_', '-'"
    elif not getattr(args, "new", False) and not is_known(args.app, os.environ):
        problem = explain_unknown_app(args.app, os.environ)
        if args.verb in CHOICES:
            problem += f". To decide before its first run: otel-usage {args.verb} --app {args.app} --new"
    else:
        return run(lambda: App(args.app), args, _standalone_command_line(args.app))
    say(f"otel-usage: {problem}\n")
    return 2


def _standalone_command_line(app: str) -> Callable[[str], str]:
    return lambda verb: f"otel-usage {verb} --app {app}"


def run(
    find_app: Callable[[], App],
    args: argparse.Namespace,
    command_line: Callable[[str], str],
    out: TextIO | None = None,
) -> int:
    """Run the verb of *args* and return its exit code. command_line: see `Console`."""
    name = command_line(args.verb).split()[0]
    return _answer(lambda stream: VERBS[args.verb][1](find_app(), args, Console(stream, command_line)), name, out)


def _answer(act: Callable[[TextIO], int], name: str, out: TextIO | None = None) -> int:
    """Have *act* print its answer, and return its exit code; 1, with a sentence on stderr, if it could not be done."""
    out = out or sys.stdout
    try:
        exit_code = act(out)
        out.flush()
        return exit_code
    except ControlError as exc:
        say(f"{name}: {exc}\n")
    except BrokenPipeError:  # of `… | head`: nobody wants to read more
        give_up(out)
    except OSError as exc:
        where = f"{exc.filename!r} can't be used" if exc.filename else "the answer can't be written"
        say(f"{name}: {where} ({explain_os_error(exc)})\n")
        if not exc.filename:
            give_up(out)
    except KeyboardInterrupt:
        return 130
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
