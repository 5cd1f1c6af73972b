"""Write the generated parts of docs/, and docs/registry/, or with --check fail if one is not what it would be.

Each part stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from otel_usage_exporters import floor, span_choice, span_names

from docs import what_arrives
from otel_usage import __version__
from otel_usage.consent.gate import MACHINE, VOICES, WORDS
from otel_usage.control.commands import VERBS
from otel_usage.control.host_settings import settings_of
from otel_usage.control.privacy_page import declared_rows, examples_page, of_a_service
from otel_usage.recording.agent import AGENT_VARIABLES
from otel_usage.schema import attributes as schema
from otel_usage.schema.registry import manifest, registry
from otel_usage.serve.questions import QUESTIONS, declared_questions
from otel_usage.serve.questions.declared import unused_columns
from otel_usage.serve.questions.sample_year import SCHEMA as SAMPLE_SCHEMA
from otel_usage.serve.store.tables import names_of
from otel_usage.settings import reference as settings

DOCS = Path(__file__).parent
WIDTH = 125  # of a line of text


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def code(text: str) -> str:
    """Return names as Markdown code."""
    return ", ".join(f"`{part}`" for part in text.split(", ")) if text else ""


def voices() -> list[tuple[str, str, str]]:
    """Return the ranks of those who may say something, strongest first: (rank, where, how it is read)."""
    ranks = [("the option `--disable-analytics`", "given: off")]
    for where in VOICES:
        if where[0] == "/":
            ranks.append((f"the file `{MACHINE}{where.replace('{app}', '<app>')}`", "there: off"))
        else:
            name = where.lstrip("!").replace("{APP}", "<APP>")
            ranks.append((f"the variable `{name}`", "a switch: true is off" if where[0] == "!" else "a mode"))
    ranks.append(("the user's stored choice, `<state>/<app>/consent`", "a mode"))
    ranks.append(("the host's default", "`opt-out`, `opt-in`, `ask`; off in CI and tests"))
    return [(str(rank), where, reading) for rank, (where, reading) in enumerate(ranks, 1)]


def words() -> list[tuple[str, str, str]]:
    """Return what every text means: (texts, as a mode, as a switch)."""
    rows = []
    for mode in dict.fromkeys(WORDS.values()):
        texts = ", ".join(f"`{text}`" for text, meaning in WORDS.items() if meaning == mode)
        rows.append((texts, f"`{mode}`", "says nothing" if mode == "off" else "`off`"))
    return [*rows, ("empty, or not set", "says nothing", "says nothing"), ("anything else", "`off`", "`off`")]


PACKAGE = DOCS.parent / "otel_usage"
EXPORTERS = DOCS.parent / "exporters" / "otel_usage_exporters"
# {folder or module: its ring}, in the order in which a record passes them. The rings are those of tests/house/code.py, and
# tests/house/test_contributing.py compares the two.
FOLDERS = {
    "consent": 0, "recording": 0, "schema": 1, "settings": 1, "spool": 1, "delivery": 1, "control": 1, "cli": 1,
    "receiver": 1, "startup": 1, "pyinstaller": 1, "server": 2, "serve": 2,
}  # fmt: skip
ALONE = {"aliases": 0, "setting_error": 0, "otel": 1, "otlp": 1, "proto_json": 1, "sender": 1, "testing": 1}
NO_PACKAGE = {"startup": "What `otel-usage run`, `verify` and `doctor` put on the path of a program."}


def purpose(path: Path) -> str:
    """Return the first paragraph of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = docstring.split("\n\n")[0].removesuffix("PYTEST_DONT_REWRITE").strip()  # a word to pytest alone
    return first.replace("\n", " ").replace("``", "`")


def modules_in(folder: Path) -> str:
    """Return the names of the modules in *folder* and below, as Markdown code."""
    names = {path.stem for path in folder.rglob("*.py")} - {"__init__", "__main__"}
    return ", ".join(f"`{name}`" for name in sorted(names))


def tree() -> list[tuple[str, str, str]]:
    """Return (folder or module, ring, what it is for), the front door first."""
    rows = [("`__init__.py`", "0", purpose(PACKAGE / "__init__.py"))]
    rows += [(f"`{name}.py`", str(ring), purpose(PACKAGE / f"{name}.py")) for name, ring in ALONE.items()]
    for name, ring in FOLDERS.items():
        rows.append((f"`{name}/`", str(ring), NO_PACKAGE.get(name) or purpose(PACKAGE / name / "__init__.py")))
    return [*rows, ("`otel_usage_exporters/`", "1", purpose(EXPORTERS / "__init__.py"))]


def rings() -> list[tuple[str, str, str]]:
    """Return (ring, folder, its modules), ring by ring; what stands in no folder comes first."""
    rows = []
    for ring in (0, 1, 2):
        alone = [f"`{name}`" for name in ("__init__", *ALONE) if {"__init__": 0, **ALONE}[name] == ring]
        rows += [(str(ring), "`otel_usage/` itself", ", ".join(alone))] if alone else []
        rows += [(str(ring), f"`{name}/`", modules_in(PACKAGE / name)) for name, of in FOLDERS.items() if of == ring]
        rows += [(str(ring), "`otel_usage_exporters/`", modules_in(EXPORTERS))] if ring == 1 else []
    return rows


def agents() -> list[tuple[str, str]]:
    """Return (variable, which agent it tells of), in the order in which they are asked."""
    asked = {
        "AI_AGENT": "the name that it begins with, if that is in the list above; else `other`",
        "AGENT": "`amp`, `goose` or `crush` if it is that; `other` if it is 1 and standard output is no terminal; else nothing",
        "CURSOR_EXTENSION_HOST_ROLE": "`cursor` if it is `agent-exec`",
    }
    names = {variable.decode(): agent for variable, agent in AGENT_VARIABLES.items()}
    return [(f"`{name}`", asked.get(name) or f"`{agent}`") for name, agent in names.items()]


def arrivals() -> str:
    """Return what arrives of each kind of record, a heading and a table for each."""
    head = (
        "OTLP",
        "GA4",
        "to be registered in GA4 as",
        "Segment and all others: property, if not said otherwise",
        "besides",
    )
    return "\n\n".join([f"### {name}\n\n{table(head, what_arrives.rows(name))}" for name in what_arrives.TABLES])


def floor_rows() -> list[tuple[str, str]]:
    """Return (what, attributes) of what never leaves by default."""
    return [(what, ", ".join(f"`{name}`" for name in names)) for what, names in floor.FLOOR.items()]


def frameworks() -> list[tuple[str, str, str]]:
    """Return (framework, what was tried, what can't be known) of each adapter, as the head of its module says."""
    rows = []
    for path in sorted((PACKAGE / "recording").glob("*_adapter.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        tried, unknown = [
            " ".join(part.split()).removesuffix(".")
            for part in re.findall(
                r"^(?:TRIED|NOT KNOWN)  (.*?)(?=\nNOT KNOWN|\Z)", docstring, re.DOTALL | re.MULTILINE
            )
        ]
        rows.append((path.stem.removesuffix("_adapter"), tried, unknown))
    return rows


def questions() -> str:
    """Return what each question is, a heading, its texts and its columns for each."""
    parts = []
    for question in QUESTIONS.values():
        columns = [(f"`{column.name}`", column.title, column.unit) for column in question.columns]
        texts = [
            f"### {question.title}",
            textwrap.fill(f"`{question.id}`. {question.why}", WIDTH),
            textwrap.fill(question.definition, WIDTH),
            f"Of whom: {question.of_whom} Drawn as: {question.draw}. From: {code(', '.join(question.rows_of))}.",
            table(("column", "title", "unit"), columns),
        ]
        parts.append("\n\n".join(texts))
    return "\n\n".join(parts)


def unused_columns_of_events() -> str:
    """Return the columns of ``events`` that no question uses, as Markdown code."""
    everything = {**QUESTIONS, **declared_questions(SAMPLE_SCHEMA)}
    return code(", ".join(unused_columns(tuple(names_of("events")), everything)))


def service_attributes() -> list[tuple[str, str, str, str]]:
    """Return (attribute, on, what it is, why) of what a service records."""
    kinds = ("start", "heartbeat", "stop", "crash", "action", "error", "resource")
    rows = [(row, [kind for kind in kinds if kind in row.on.split()]) for row in schema.ATTRIBUTES]
    return [(f"`{row.key}`", ", ".join(on), of_a_service(row), row.why) for row, on in rows if on]


def bot_declares() -> list[tuple[str, str, str, str]]:
    """Return (name, what is recorded, fields, why) of what the example of a service declares."""
    rows = declared_rows(settings_of(f"{DOCS.parent / 'examples' / 'bot.py'}:usage")["schema"])
    return [(f"`{name}`", what, fields or "nothing more", why) for name, what, fields, why in rows]


PARTS: dict[str, Callable[[], str]] = {
    "service attributes": lambda: table(("attribute", "on", "what it is", "why"), service_attributes()),
    "bot declares": lambda: table(("name", "what is recorded", "with", "the question it answers"), bot_declares()),
    "frameworks": lambda: table(("framework", "tried with", "what can't be known"), frameworks()),
    "voices": lambda: table(("rank", "where", "how it is read"), voices()),
    "words": lambda: table(("text", "as a mode (`<APP>_TELEMETRY`)", "as a switch (`DO_NOT_TRACK`)"), words()),
    "verbs": lambda: table(
        ("command", "what it does"), [(f"`otel-usage {verb}`", does) for verb, (does, _) in VERBS.items()]
    ),
    "settings": lambda: table(
        ("keyword of `init`", "variable", "default", "meaning"),
        [(code(s.keyword), code(s.variable), s.default, s.meaning) for s in settings.SETTINGS],
    ),
    "attributes": lambda: table(
        ("attribute", "on", "values", "why"),
        [(f"`{a.key}`", a.on.replace(" ", ", "), a.allowed, a.why) for a in schema.ATTRIBUTES],
    ),
    "agents": lambda: table(("variable", "agent"), agents()),
    "floor": lambda: table(("what", "attributes"), floor_rows()),
    "floor-words": lambda: ", ".join(f"`{word}`" for word in sorted(floor.WORDS)),
    "standard": lambda: ", ".join(f"`{name}`" for name in span_choice.DEFAULT_ATTRIBUTES),
    "span-events": lambda: table(
        ("event", "of", "`span` says"),
        [(f"`{name}`", what, label) for name, (what, label) in span_names.EVENTS.items()],
    ),
    "tree": lambda: table(("where", "ring", "what it is for"), tree()),
    "rings": lambda: table(("ring", "folder", "modules"), rings()),
    "reasons": lambda: table(("reason", "meaning"), [(f"`{r}`", why) for r, why in schema.REASONS.items()]),
    "counters": lambda: table(
        ("counter", "attributes"), [(f"`{name}`", code(", ".join(keys))) for name, keys in schema.DERIVED.items()]
    ),
    "arrival names": lambda: table(
        ("recorded", "OTLP", "GA4", "Segment, PostHog, Mixpanel, Amplitude", "GA4 through Segment"),
        what_arrives.names(),
    ),
    "arrivals": arrivals,
    "questions": questions,
    "unused-columns": unused_columns_of_events,
}


def generated(text: str) -> str:
    """Return a page with its generated parts as they should be."""
    for name, part in PARTS.items():
        pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        text = pattern.sub(lambda old, part=part: old.group(1) + part() + "\n" + old.group(2), text)
    return text


def examples() -> str:
    """Return privacy.md: what the example programs collect."""
    programs = sorted((DOCS.parent / "examples").glob("*.py"))
    return examples_page([settings_of(f"{path}:usage") for path in programs if "otel_usage.init" in path.read_text()])


def main() -> int:
    """Write or check; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    stale = []
    for page in sorted(DOCS.rglob("*.md")):
        before = page.read_text(encoding="utf-8")
        after = examples() if page.name == "privacy.md" else generated(before)
        if after != before:
            stale.append(page.name)
            if not arguments.check:
                page.write_text(after, encoding="utf-8")
    for name, content in {"manifest.yaml": manifest("otel-usage", __version__), "usage.yaml": registry()}.items():
        file = DOCS / "registry" / name
        if not file.exists() or file.read_text(encoding="utf-8") != content:
            stale.append(name)
            if not arguments.check:
                file.parent.mkdir(exist_ok=True)
                file.write_text(content, encoding="utf-8")
    if arguments.check and stale:
        print(f"not current: {', '.join(stale)}; run: make docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
