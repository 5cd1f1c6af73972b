"""``otel-usage describe``: print "What we collect", or check that a file still says it."""

from __future__ import annotations

import argparse
import difflib
import sys
from typing import Any

from ..control.host_settings import settings_of
from ..control.privacy_page import page


def add(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "describe",
        help="print what a program collects, as a page for its users",
        description="Print 'What we collect' in Markdown, made from the program's schema and settings. Exit code 1 if "
        "--check finds that FILE says something else.",
    )
    parser.add_argument(
        "target", metavar="MODULE:USAGE", help="what otel_usage.init returned, e.g. mycli.main:usage; or FILE.py:usage"
    )
    parser.add_argument("--check", metavar="FILE", help="compare with FILE, print the difference, change nothing")
    parser.set_defaults(call=call)


def call(args: argparse.Namespace) -> int:
    """Print the page, or compare it with a file."""
    current = page(settings_of(args.target))
    if not args.check:
        sys.stdout.write(current)
        return 0
    try:
        with open(args.check, encoding="utf-8") as file:
            stored = file.read()
    except OSError as exc:
        print(f"otel-usage: {args.check!r} can't be read: {exc.strerror}", file=sys.stderr)
        return 1
    if stored == current:
        return 0
    sys.stdout.writelines(
        difflib.unified_diff(
            stored.splitlines(True), current.splitlines(True), args.check, f"otel-usage describe {args.target}"
        )
    )
    print(
        f"otel-usage: {args.check!r} is out of date; write it with: otel-usage describe {args.target} > {args.check}",
        file=sys.stderr,
    )
    return 1
