"""Write what is published: a page and a JSON file for each table, and a first page. Months that stand there stay as they are.

FORMAT  of ``TABLE.json``: ``{"format": 1, "app", "table", "title", "definition", "rules", "months": {"2026-10": [{"what",
        "name", "installations", "percent"}, …]}}``. ``index.html`` and ``TABLE.html`` need nothing from elsewhere, and no
        scripts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from html import escape
from pathlib import Path

from otel_usage.setting_error import SettingError

from .numbers import SMALLEST, TABLES, WAIT_DAYS, Group

FORMAT = 1
RULES = (
    f"Of people, not of CI, agents or services, with an installation id that lasts. Groups of fewer than {SMALLEST} "
    "installations are merged into 'other' or left out; counts are rounded to tens, above a thousand to three figures, and "
    f"shares to whole per cent. A month is counted {WAIT_DAYS} days after its end, and does not change afterwards. Those who "
    "said no are in no number: each is a lower bound. Numbers of two months, or of two rows that are no alternatives, can't be "
    "added."
)
STYLE = """
:root { color-scheme: light dark; font: 100%/1.5 system-ui, sans-serif }
body { max-width: 50rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% } caption { text-align: left; font-weight: bold; padding: 1rem 0 .5rem }
th, td { text-align: left; padding: .2rem .5rem .2rem 0; border-bottom: 1px solid #8886 } td.number { text-align: right }
td.bar { width: 40% } td.bar span { display: block; height: .8rem; background: #3b76d6 }
""".strip()


def read_months(out: Path, app: str, table: str) -> dict[str, list[dict[str, object]]]:
    """Return the months that ``TABLE.json`` in *out* has, if it is there. Raises SettingError if it is of another app."""
    path = out / f"{table}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as exc:
        raise SettingError(f"OUT has a file {path.name!r} that is no JSON: give a folder of its own") from exc
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("app") != app:
        raise SettingError(f"OUT has a file {path.name!r} of another app or format: give a folder of its own")
    months: dict[str, list[dict[str, object]]] = content["months"]
    return months


def write(
    out: Path,
    app: str,
    counted: Mapping[date, Mapping[str, Sequence[Group]]],
    tables: Sequence[str],
    schema_page: str = "",
) -> None:
    """Write the pages of *tables* into *out*, with the months of *counted* that are not there yet.

    schema_page: the address of the page that says what is collected. Raises OSError, SettingError.
    """
    out.mkdir(parents=True, exist_ok=True)
    for table in tables:
        months = read_months(out, app, table)
        for month, groups in counted.items():
            months.setdefault(f"{month:%Y-%m}", [asdict(group) for group in groups.get(table, [])])
        months = dict(sorted(months.items()))
        title, definition = TABLES[table]
        content = {
            "format": FORMAT, "app": app, "table": table, "title": title, "definition": definition, "rules": RULES,
            "schema_page": schema_page, "months": months,
        }  # fmt: skip
        _replace(out / f"{table}.json", json.dumps(content, indent=1) + "\n")
        _replace(out / f"{table}.html", _table_page(app, table, months, schema_page))
    links = "".join(f'<li><a href="{table}.html">{escape(TABLES[table][0])}</a></li>' for table in tables)
    _replace(out / "index.html", _page(f"How {app} is used", f"<ul>{links}</ul>", schema_page))


def _table_page(app: str, table: str, months: Mapping[str, Sequence[Mapping[str, object]]], schema_page: str) -> str:
    title, definition = TABLES[table]
    body = [
        f'<p><a href="index.html">{escape(app)}</a> · <a href="{table}.json">JSON</a></p><p>{escape(definition)}</p>'
    ]
    for month, groups in sorted(months.items(), reverse=True):
        body.append(f"<table><caption>{escape(month)}</caption>")
        body.append(
            '<tr><th scope="col">Name</th><th scope="col">Installations</th><th scope="col">Share</th><th></th></tr>'
        )
        for group in groups:
            name = " ".join(str(group[part]) for part in ("what", "name") if group[part])
            percent = int(str(group["percent"]))
            body.append(
                f'<tr><th scope="row">{escape(name)}</th><td class="number">{group["installations"]:,}</td>'
                f'<td class="number">{percent} %</td><td class="bar"><span style="width: {percent}%"></span></td></tr>'
            )
        body.append("</table>" if groups else "</table><p>Too few installations to say anything.</p>")
    if not months:
        body.append("<p>No month is over yet for as long as it takes.</p>")
    return _page(f"{app}: {title}", "".join(body), schema_page)


def _page(title: str, body: str, schema_page: str) -> str:
    link = f' <a href="{escape(schema_page)}">What is collected</a>.' if schema_page else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}<p>{escape(RULES)}{link}</p></main></body></html>\n"
    )


def _replace(path: Path, text: str) -> None:
    """Write a file whole: who reads it meanwhile has the old one or the new one."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
