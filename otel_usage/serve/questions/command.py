"""``otel-usage ask QUESTION``: an answer in a terminal, as JSON, or as CSV; from a server, or from a store that none has open."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from otel_usage.server.options import read_schema
from otel_usage.setting_error import SettingError

from ..remote import ServerError, ask_server
from ..stored import STORE, VIEWER_TOKEN, choose_app, open_store
from . import AUDIENCES, DUCKDB, QUESTIONS, FilterError, Filters, Question, answer, declared_questions
from .declared import PREFIX

FILTERS = ("app", "start", "end", "version", "audience")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``otel-usage ask``."""
    asked = "\n".join(f"  {question.id:12}{question.title}" for question in QUESTIONS.values())
    parser = argparse.ArgumentParser(
        prog="otel-usage ask",
        description=f"Answer a question about usage. Questions:\n\n{asked}\n\nWhat each number is: docs/questions.md.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "question", metavar="QUESTION", help="one of the above, or event.NAME of what the program declares"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--server", metavar="URL", help=f"of `otel-usage serve`; its viewers' token comes from {VIEWER_TOKEN}"
    )
    where.add_argument(
        "--store", default=STORE, metavar="FILE", help="where no server has it open; default: %(default)s"
    )
    parser.add_argument(
        "--schema",
        action="append",
        default=[],
        metavar="APP=FILE",
        help="with --store: what this program declares, for event.NAME; a server has its own; repeatable",
    )
    parser.add_argument("--app", metavar="NAME", help="the program; needed where the store has several")
    parser.add_argument("--start", metavar="DAY", help="first day, such as 2026-11-01; default: 28 days in all")
    parser.add_argument("--end", metavar="DAY", help="last day; default: today, UTC")
    parser.add_argument("--version", help="of this version alone")
    parser.add_argument("--audience", choices=list(AUDIENCES), help="whose use; default: people")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for machines")
    form.add_argument("--csv", action="store_true", help="the rows alone")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Print the answer; return 0, or 2 if a setting is wrong, 1 if the server does not answer."""
    args = build_parser().parse_args(sys.argv[1:] if argv is None else argv)
    query = {name: getattr(args, name) for name in FILTERS if getattr(args, name)}
    kind = "csv" if args.csv else "json"
    try:
        if args.server:
            text = ask_server(args.server, f"/questions/{quote(args.question, safe='')}.{kind}?{urlencode(query)}").text
        else:
            text = _ask_store(args, query, kind)
    except (SettingError, FilterError) as exc:
        print(f"otel-usage ask: {exc}", file=sys.stderr)
        return 2
    except ServerError as exc:
        print(f"otel-usage ask: {exc}", file=sys.stderr)
        return 1
    try:
        print(text.rstrip("\n") if args.json or args.csv else _lay_out(json.loads(text)))
        sys.stdout.flush()
    except BrokenPipeError:  # of `… | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _ask_store(args: argparse.Namespace, query: Mapping[str, str], kind: str) -> str:
    with open_store(args.store) as store:
        store.roll_up()
        app = query["app"] if "app" in query else choose_app(None, store.apps())
        question = _choose_question(args, app)
        filters = Filters.from_query({**query, "app": app})
        with store.reader() as cursor:
            result = answer(lambda sql, values: cursor.execute(sql, values).fetchall(), DUCKDB, question, filters)
    return result.as_csv() if kind == "csv" else result.as_json()


def _choose_question(args: argparse.Namespace, app: str) -> Question:
    """Return the question that is meant: of all programs, or of what *app* declares. Raises SettingError."""
    questions = {**QUESTIONS, **declared_questions(dict(map(read_schema, args.schema)).get(app, {}))}
    if question := questions.get(args.question):
        return question
    if args.question.startswith(PREFIX):
        raise SettingError(
            f"question {args.question!r} is of what a program declares: name the file with --schema {app}=FILE, or ask a server "
            "that has it"
            if len(questions) == len(QUESTIONS)
            else f"question {args.question!r} is none of what {app} declares: "
            + ", ".join(name for name in questions if name not in QUESTIONS)
        )
    raise SettingError(f"question {args.question!r} is not one of {', '.join(questions)}")


def _lay_out(result: Mapping[str, Any]) -> str:
    """Return an answer's JSON as text for a terminal. Any: JSON."""
    version = f", version {result['version']}" if result["version"] else ""
    lines = [f"{result['title']}", f"{result['app']}, {result['start']} to {result['end']}{version}", ""]
    for headline in result["headlines"]:
        before = (
            f"  (before: {_spell(headline['previous'], headline['unit'])})" if headline["previous"] is not None else ""
        )
        lines.append(f"{headline['title']}: {_spell(headline['value'], headline['unit'])}{before}")
    columns = result["columns"]
    cells = [[column["title"] for column in columns]]
    cells += [
        [_spell(value, column["unit"]) for value, column in zip(row, columns, strict=True)] for row in result["rows"]
    ]
    widths = [max(len(row[place]) for row in cells) for place in range(len(columns))]
    lines.append("")
    for row in cells:
        parts = [
            cell.ljust(width) if column["unit"] in ("text", "day") else cell.rjust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    lines += ["", result["of_whom"], result["excluded"], result["missing"]]
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in "\n".join(lines))


def _spell(value: Any, unit: str) -> str:
    """Return a value as people read it. Any: JSON."""
    if value is None:
        return "-"
    if unit == "share":
        return f"{100 * value:.1f} %"
    if unit in ("seconds", "hours", "days"):
        return f"{value:.3g} {unit[0]}"
    return f"{value:,}" if unit == "count" else str(value).replace("\n", " ")
