"""``otel-usage describe``: print "What we collect", or check that a file still says it."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

from ..consent.notice import say
from ..control.host_settings import settings_of
from ..control.privacy_page import page
from ..schema.registry import manifest, registry


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
    parser.add_argument(
        "--registry",
        metavar="FOLDER",
        help="write manifest.yaml and usage.yaml into FOLDER in place of the page: a registry of semantic conventions, with "
        "which OpenTelemetry's weaver judges what the program sends",
    )
    parser.add_argument("--check", metavar="FILE", help="compare with FILE, print the difference, change nothing")
    parser.set_defaults(call=call)


def call(args: argparse.Namespace) -> int:
    """Print the page, or compare it with a file."""
    settings = settings_of(args.target)
    if args.registry:
        return _write_registry(settings, args.registry)
    current = page(settings)
    if not settings.get("mounted"):
        say(
            f"otel-usage: {settings['app']} does not mount our commands, at least not when it is imported: its users need "
            "otel-usage on their PATH to see or stop anything, which installing the program alone does not give them. "
            "otel_usage.mount gives them a command in the program itself\n"
        )
    if not args.check:
        if hasattr(sys.stdout, "reconfigure") and not sys.stdout.isatty():
            sys.stdout.reconfigure(
                encoding="utf-8"
            )  # it is a file's content, and not a terminal's: as --check reads it
        sys.stdout.write(current)
        return 0
    try:
        with open(args.check, encoding="utf-8") as file:
            stored = file.read()
    except OSError as exc:
        say(f"otel-usage: {args.check!r} can't be read: {exc.strerror}\n")
        return 1
    if stored == current:
        return 0
    sys.stdout.writelines(
        difflib.unified_diff(
            stored.splitlines(True), current.splitlines(True), args.check, f"otel-usage describe {args.target}"
        )
    )
    say(f"otel-usage: {args.check!r} is out of date; write it with: otel-usage describe {args.target} > {args.check}\n")
    return 1


def _write_registry(settings: Mapping[str, Any], folder: str) -> int:
    """Write the registry of a program: 0, or 1 if *folder* can't be written. Any: settings as of `init`."""
    numbers = re.findall(r"\d+", str(settings["version"]))[:3]
    version = ".".join([*numbers, "0", "0", "0"][:3])
    files = {"manifest.yaml": manifest(settings["app"], version), "usage.yaml": registry(settings["schema"])}
    try:
        os.makedirs(folder, exist_ok=True)
        for name, content in files.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(content)
    except OSError as exc:
        say(f"otel-usage: {folder!r} can't be written: {exc.strerror}\n")
        return 1
    return 0
