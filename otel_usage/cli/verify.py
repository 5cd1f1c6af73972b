"""``otel-usage verify``: prove that off is off, and say what was found. `proof` is where it is proved."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from ..consent.notice import say
from ..control.console import Console
from ..control.wording import who
from .findings import Findings
from .program_argument import read_program
from .proof import compare

WATCHED_KINDS = ("socket", "lookup", "process", "file")  # of `Observation`, but for the exit code


def add(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "verify",
        help="prove that off is off, e.g. in your own CI",
        usage="otel-usage verify [--json] [--default] -- PROGRAM [ARGUMENT ...]",
        description="Run PROGRAM (a Python program) as it is and without us, watch what it does, and fail (exit code 1) on"
        " any socket, DNS lookup, process or file that only appears with us. Say off first, as your users would: "
        "MYCLI_TELEMETRY=off otel-usage verify -- mycli --help. Everything else says on: a choice in a temporary home; CI and"
        " test-runner variables are left out. Exit code 2 if nothing was proved: also without the switch PROGRAM does not "
        "record. It runs four times or more: choose a harmless command.",
    )
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument(
        "--default", action="store_true", help="prove it of the default: nobody has said anything, in this environment"
    )
    parser.add_argument("program", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(call=call)


def call(args: argparse.Namespace) -> int:
    """Compare, and say what was found: 0 if off is off, 1 if not, 2 if nothing was proved."""
    program = read_program(args.program, example="otel-usage verify -- mycli --help", purpose="to verify")
    if program is None:
        return 2
    findings = compare(program, default=args.default)
    command_line = " ".join(args.program).removeprefix("-- ")
    if args.json:
        print(_json(findings))
    elif findings.proved_nothing:
        say(f"otel-usage: {findings.complaint(command_line)}\n")
    else:
        _print(findings, command_line, Console(sys.stdout).print_line)
    return 2 if findings.proved_nothing else 1 if findings.only_with_us else 0


def _json(findings: Findings) -> str:
    decided_by = dict(zip(("layer", "source"), findings.decided_by, strict=True)) if findings.decided_by else None
    answer = {
        "clean": findings.clean,
        "proved_nothing": findings.proved_nothing or None,
        "decided_by": decided_by,
        "set_aside": findings.set_aside,
        "watched_by": findings.watched_by,
        "only_with_us": findings.only_with_us,
        "allowed": findings.allowed,
        "exit_codes": findings.exit_codes,
    }
    return json.dumps(answer, indent=2)


def _print(findings: Findings, command_line: str, print_line: Callable[[str], None]) -> None:
    if findings.clean:
        counts = ", ".join(f"0 {kind}{'es' if kind == 'process' else 's'}" for kind in WATCHED_KINDS)
        print_line(f"off is off: with us, `{command_line}` does nothing that it does not do without us ({counts})")
    else:
        print_line(findings.complaint(command_line))
    if findings.decided_by is not None:
        layer, source = findings.decided_by
        words = who(layer, source, os.environ.get(source, "") if layer == "environment" else "")
        print_line(f"kept off by: {words}" + ("; without that, it was seen to record" if findings.clean else ""))
    if findings.set_aside:
        print_line(f"set aside: {', '.join(findings.set_aside)}")
    print_line(f"watched by: {', '.join(findings.watched_by)}")
    if findings.allowed:
        print_line(f"allowed: reading our own code and where a choice may be kept ({', '.join(findings.allowed)})")
