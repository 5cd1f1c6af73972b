"""``otel-usage describe``: print "What we collect", or check that a file still says it.

Ring 1 (background).
"""

from __future__ import annotations

import argparse
import difflib
import sys
from typing import Any

from ..describe import page, settings_of


def add(commands: Any) -> None:
    """Add the sub-command."""
    told = commands.add_parser(
        "describe",
        help="print what a program collects, as a page for its users",
        description="Print 'What we collect' in Markdown, made from the program's schema and settings. Exit code 1 if "
        "--check finds that FILE says something else.",
    )
    told.add_argument(
        "target", metavar="MODULE:USAGE", help="what otel_usage.init returned, e.g. mycli.main:usage; or FILE.py:usage"
    )
    told.add_argument("--check", metavar="FILE", help="compare with FILE, print the difference, change nothing")
    told.set_defaults(call=call)


def call(told: argparse.Namespace) -> int:
    """Print the page, or compare it with a file."""
    text = page(settings_of(told.target))
    if not told.check:
        sys.stdout.write(text)
        return 0
    try:
        with open(told.check, encoding="utf-8") as file:
            found = file.read()
    except OSError as exc:
        print(f"otel-usage: {told.check!r} can't be read: {exc.strerror}", file=sys.stderr)
        return 1
    if found == text:
        return 0
    sys.stdout.writelines(
        difflib.unified_diff(
            found.splitlines(True), text.splitlines(True), told.check, f"otel-usage describe {told.target}"
        )
    )
    print(
        f"otel-usage: {told.check!r} is out of date; write it with: otel-usage describe {told.target} > {told.check}",
        file=sys.stderr,
    )
    return 1
