"""``otel-usage ids``: what each receiver knows an installation as, for maintainers whom a user has sent an id."""

from __future__ import annotations

import argparse
import json
from typing import Any
from uuid import UUID

from ..control.known_as import in_words, known_as, list_tellers


def add(subparsers: Any) -> None:
    """Add the sub-command. Any: what ``add_subparsers()`` returned, which argparse does not name."""
    parser = subparsers.add_parser(
        "ids",
        help="what each receiver knows an installation as",
        description="Print what each receiver whose exporter is installed knows an installation as: what to search for "
        "there if a user asks to have what was sent deleted. For a program that sends to a relay or a Collector, too.",
    )
    parser.add_argument("id", type=_installation_id, metavar="ID", help="the installation's id, as `status` shows it")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.set_defaults(call=call)


def call(args: argparse.Namespace) -> int:
    """Print one line per receiver."""
    ids = {name: known_as(name, args.id, {}) for name in list_tellers()}
    if args.json:
        print(json.dumps(ids, indent=2))
    else:
        width = max(map(len, ids))
        for name, fields in ids.items():
            print(f"{name:{width}}  {in_words(fields)}")
    return 0


def _installation_id(text: str) -> str:
    try:
        return str(UUID(text.strip()))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no id of an installation: a UUID, such as `status` shows"
        ) from None
