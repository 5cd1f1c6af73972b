"""``otel-usage doctor``: look at everything that a program's telemetry needs, and say of each thing whether it is well."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from ..control.app import App
from ..control.console import Console
from ..control.probe import Check
from .checkup import check_consent, check_destinations, check_program, check_sender, check_settings, check_spool
from .program_argument import read_program
from .trial_run import TrialRun, try_run

_MARKS = {True: "ok", False: "not ok", None: "-"}


def add(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "doctor",
        help="see whether a program's telemetry works here, and why not",
        usage="otel-usage doctor [--json] -- PROGRAM [ARGUMENT ...]",
        description="Run PROGRAM (a Python program) once, as if its user had said on, with a receiver on this machine; then "
        "check consent, settings, spool, sender, and the way to each destination: name, connection, certificate, answer. "
        "Nothing that counts as an event is sent, and nobody is called where you have said off. One line per check; exit "
        "code 1 if any is not ok, 2 if PROGRAM is no Python program. Choose a harmless command.",
    )
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("program", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(call=call)


def call(args: argparse.Namespace) -> int:
    """Make the checks, and print them: 0 if all are ok, 1 if one is not, 2 if there is no program to look at."""
    program = read_program(args.program, example="otel-usage doctor -- mycli --help", purpose="to look at")
    if program is None:
        return 2
    checks = _check_all(try_run(program, os.environ), " ".join(args.program).removeprefix("-- "))
    well = all(check.ok is not False for check in checks)
    console = Console(sys.stdout)
    if args.json:
        console.print_json({"ok": well, "checks": [vars(check) for check in checks]})
    else:
        console.print_rows([(_MARKS[check.ok], _in_words(check)) for check in checks])
    return 0 if well else 1


def _check_all(trial: TrialRun, command_line: str) -> list[Check]:
    checks = [check_program(trial, command_line)]
    if trial.settings is None:
        return checks
    checks.append(check_settings(trial.settings))
    if not checks[-1].ok:
        return checks
    app = App(trial.settings["app"], trial.settings)
    checks += [check_consent(app), check_spool(app), *check_sender(trial)]
    return [*checks, *check_destinations(app, trial.settings)]


def _in_words(check: Check) -> str:
    """Return a check as a sentence: what was seen, what was expected, what to do."""
    words = f"{check.name}: {check.seen}"
    if check.expected:
        words += f"; expected: {check.expected}"
    return words + (f". To do: {check.advice}" if check.advice else "")
