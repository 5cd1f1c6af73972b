"""``otel-usage publish OUT``: write the numbers of whole months as static files, for everybody to see."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import date, datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from otel_usage.setting_error import SettingError

from ..remote import ServerError
from ..stored import STORE, VIEWER_TOKEN, open_store
from .numbers import TABLES

if TYPE_CHECKING:
    from .months import Months


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``otel-usage publish``."""
    parser = argparse.ArgumentParser(
        prog="otel-usage publish",
        description="Write numbers of whole months as static files: a page, and JSON beside it, for each question. Groups of "
        "fewer than ten installations are not shown, and counts are rounded, so that nobody can tell an installation from them. "
        "Write into the same folder each time: months that stand there stay as they are. See docs/questions.md.",
    )
    parser.add_argument("out", metavar="OUT", help="a folder for these files alone, made if it is not there")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--server", metavar="URL", help=f"of `otel-usage serve`; its viewers' token comes from {VIEWER_TOKEN}"
    )
    where.add_argument(
        "--store",
        default=STORE,
        metavar="FILE",
        help="of a server that does not run, or a copy by `otel-usage serve backup`; default: %(default)s",
    )
    parser.add_argument("--app", metavar="NAME", help="the program; needed where the store has several")
    parser.add_argument(
        "--question", action="append", choices=list(TABLES), help="publish this one; repeatable; default: all of them"
    )
    parser.add_argument(
        "--schema-page", default="", metavar="URL", help="of the page that says what is collected: a link to it"
    )
    return parser


def main(argv: Sequence[str] | None = None, today: date | None = None) -> int:
    """Write the files, and say which months they have; return 0, 2 if a setting is wrong, 1 if the server or OUT fails."""
    args = build_parser().parse_args(sys.argv[1:] if argv is None else argv)
    try:
        months = publish(args, today or datetime.now(timezone.utc).date())
    except SettingError as exc:
        print(f"otel-usage publish: {exc}", file=sys.stderr)
        return 2
    except ServerError as exc:
        print(f"otel-usage publish: {exc}", file=sys.stderr)
        return 1
    except OSError as exc:
        print(f"otel-usage publish: OUT {args.out!r} can't be written: {exc.strerror}", file=sys.stderr)
        return 1
    print(f"{args.out}: {', '.join(f'{month:%Y-%m}' for month in months) or 'no month is over for a week yet'}")
    return 0


def publish(args: argparse.Namespace, today: date) -> list[date]:
    """Do what *args* say; return the months that may be shown *today*. Raises SettingError, ServerError, OSError."""
    if args.schema_page and urlsplit(args.schema_page).scheme not in ("http", "https"):
        raise SettingError(f"--schema-page {args.schema_page!r} is no address of http or https")
    from .months import ServerMonths, StoreMonths

    if args.server:
        return _write(args, ServerMonths(args.server, args.app))
    with open_store(args.store) as store, store.reader() as cursor:

        def execute(sql: str, values: object) -> Sequence[Sequence[object]]:
            rows: Sequence[Sequence[object]] = cursor.execute(sql, values).fetchall()
            return rows

        return _write(args, StoreMonths(execute, store.apps(), args.app, today))


def _write(args: argparse.Namespace, months: Months) -> list[date]:
    from .files import read_months, write

    out, tables = Path(args.out), args.question or list(TABLES)
    known = {table: read_months(out, months.app, table) for table in tables}
    counted = {}
    for month in months.months:
        absent = [table for table in tables if f"{month:%Y-%m}" not in known[table]]
        counted[month] = months.count(month, absent) if absent else {}
    write(out, months.app, counted, tables, args.schema_page)
    return list(months.months)
