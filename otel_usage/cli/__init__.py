"""The ``otel-usage`` command.

Ring 1 (background).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .. import __version__


def parser() -> argparse.ArgumentParser:
    """Return the command's parser. Each sub-command sets ``call``, what runs it."""
    top = argparse.ArgumentParser(
        prog="otel-usage",
        description="Usage analytics for command-line programs, at no cost to the people who use them.",
    )
    top.add_argument("--version", action="version", version=f"otel-usage {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    from . import demo, describe, listen, run, telemetry, verify

    for module in (telemetry, demo, run, listen, describe, verify):
        module.add(commands)
    commands.add_parser(
        "relay", add_help=False, help="receive OTLP for GA4 and Segment, and keep their keys (extra: relay)"
    )
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 1 it could not be done, 2 wrong usage."""
    from ..schema import SettingError

    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["relay"]:  # has a parser of its own
        from ..relay.serve import main as relay

        return relay(words[1:])
    told = parser().parse_args(words)
    try:
        code: int = told.call(told)
    except SettingError as exc:
        print(f"otel-usage: {exc}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 1
    return code
