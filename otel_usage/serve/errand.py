"""``otel-usage serve erase`` and ``otel-usage serve backup``: ask the server that has the store, or do it where none runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import requests

from otel_usage.setting_error import SettingError

from .store.writer import explain_fault
from .stored import STORE, VIEWER_TOKEN, open_store

TIMEOUT_S = 600.0  # a large store takes its time


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
    """Do it, and say what was done; return 0, or 1 if the server refused. Raises SettingError."""
    args = build_parser().parse_args(words)
    command = {"app": args.app, "installation": args.installation} if args.errand == "erase" else {}
    answer = _ask(f"{args.server.rstrip('/')}/api/{args.errand}", command) if args.server else _do(args)
    if "error" in answer:
        print(f"otel-usage serve: {answer['error']}", file=sys.stderr)
        return 1
    if args.errand == "backup":
        print(answer["path"])
    else:
        rows = answer["removed"]
        print(", ".join(f"{n} of {table}" for table, n in rows.items()) if rows else "nothing was there")
    return 0


def _ask(url: str, command: Mapping[str, str]) -> dict[str, Any]:
    """Return what the server answers. Any: JSON. Raises SettingError if it can't be asked."""
    token = os.environ.get(VIEWER_TOKEN, "")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    try:
        answer = requests.post(url, json=dict(command), headers=headers, timeout=TIMEOUT_S, allow_redirects=False)
    except requests.RequestException as exc:
        raise SettingError(f"--server {url!r} can't be reached: {type(exc).__name__}") from exc
    try:
        content = answer.json()
        if isinstance(content, dict):
            return content
    except ValueError:
        pass
    return {"error": f"it answers {answer.status_code}: {answer.text.strip()[:200]}"}


def _do(args: argparse.Namespace) -> dict[str, Any]:
    """Do it on the store itself. Any: as the server's answer. Raises SettingError if the store is another process's."""
    with open_store(args.store) as store:
        try:
            if args.errand == "backup":
                return {"path": store.back_up()}
            return {"removed": store.erase(args.app, args.installation)}
        except ValueError:
            return {"error": f"the installation {args.installation!r} is no UUID"}
        except (OSError, duckdb.Error) as exc:
            return {"error": f"the store can't be written: {explain_fault(exc)}"}
