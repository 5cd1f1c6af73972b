"""``otel-usage serve erase`` and ``otel-usage serve backup``: ask the server that has the store, or do it where none runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from otel_usage.setting_error import SettingError

from .remote import ServerError, ask_for_object
from .store.writer import explain_fault
from .stored import STORE, VIEWER_TOKEN, open_store


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of both."""
    parser = argparse.ArgumentParser(
        prog="otel-usage serve",
        description="Ask the running server for it; without --server, work on the store itself.",
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    erase = subparsers.add_parser("erase", help="remove all rows of one installation")
    erase.add_argument("app")
    erase.add_argument("installation", help="its id, as `otel-usage status` shows it to its user")
    erase.set_defaults(errand="erase")
    backup = subparsers.add_parser("backup", help="write a copy of the store")
    backup.set_defaults(errand="backup")
    for one in (erase, backup):
        one.add_argument(
            "--server",
            metavar="URL",
            help="of the server that has the store, such as http://127.0.0.1:4318; its viewers' token comes from "
            + VIEWER_TOKEN,
        )
        one.add_argument("--store", default=STORE, metavar="FILE", help="where no server runs; default: %(default)s")
    return parser


def main(words: Sequence[str]) -> int:
    """Do it, and say what was done; return 0, or 1 if it could not be done. Raises SettingError."""
    args = build_parser().parse_args(words)
    try:
        answer = _ask(args) if args.server else _do(args)
    except ServerError as exc:
        print(f"otel-usage serve: {exc}", file=sys.stderr)
        return 1
    except (OSError, duckdb.Error) as exc:
        print(f"otel-usage serve: the store can't be written: {explain_fault(exc)}", file=sys.stderr)
        return 1
    if args.errand == "backup":
        print(answer["path"])
    else:
        rows = answer["removed"]
        print(", ".join(f"{n} of {table}" for table, n in rows.items()) if rows else "nothing was there")
    return 0


def _ask(args: argparse.Namespace) -> Mapping[str, Any]:
    """Have the server do it, and return what it answers. Any: JSON. Raises ServerError, SettingError."""
    command = {"app": args.app, "installation": args.installation} if args.errand == "erase" else {}
    return ask_for_object(args.server, f"/api/{args.errand}", command)


def _do(args: argparse.Namespace) -> Mapping[str, Any]:
    """Do it on the store itself. Any: as the server's answer. Raises SettingError, OSError, duckdb.Error."""
    with open_store(args.store) as store:
        if args.errand == "backup":
            return {"path": store.back_up()}
        try:
            return {"removed": store.erase(args.app, args.installation)}
        except ValueError as exc:
            raise SettingError(f"the installation {args.installation!r} is no UUID") from exc
