"""Write the generated parts of docs/, or with --check fail if one is not what it would be.

Each part stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from otel_usage import MACHINE, VOICES, WORDS, schema, settings
from otel_usage.cli.telemetry import VERBS
from otel_usage.describe import privacy, settings_of

DOCS = Path(__file__).parent


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
    found = [("the option `--disable-analytics`", "given: off")]
    for where in VOICES:
        if where[0] == "/":
            found.append((f"the file `{MACHINE}{where.replace('{app}', '<app>')}`", "there: off"))
        else:
            name = where.lstrip("!").replace("{APP}", "<APP>")
            found.append((f"the variable `{name}`", "a switch: true is off" if where[0] == "!" else "a mode"))
    found.append(("the user's stored choice, `<state>/<app>/consent`", "a mode"))
    found.append(("the host's default", "`opt-out`, `opt-in`, `ask`; off in CI and tests"))
    return [(str(rank), where, reading) for rank, (where, reading) in enumerate(found, 1)]


def words() -> list[tuple[str, str, str]]:
    """Return what every text means: (texts, as a mode, as a switch)."""
    rows = []
    for mode in dict.fromkeys(WORDS.values()):
        texts = ", ".join(f"`{text}`" for text, said in WORDS.items() if said == mode)
        rows.append((texts, f"`{mode}`", "says nothing" if mode == "off" else "`off`"))
    return [*rows, ("empty, or not set", "says nothing", "says nothing"), ("anything else", "`off`", "`off`")]


PARTS: dict[str, Callable[[], str]] = {
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
    "reasons": lambda: table(("reason", "meaning"), [(f"`{r}`", why) for r, why in schema.REASONS.items()]),
    "counters": lambda: table(
        ("counter", "attributes"), [(f"`{name}`", code(", ".join(keys))) for name, keys in schema.DERIVED.items()]
    ),
}


def generated(text: str) -> str:
    """Return a page with its generated parts as they should be."""
    for name, part in PARTS.items():
        pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        text = pattern.sub(lambda found, part=part: found.group(1) + part() + "\n" + found.group(2), text)
    return text


def examples() -> str:
    """Return privacy.md: what the example programs collect."""
    programs = sorted((DOCS.parent / "examples").glob("*.py"))
    return privacy([settings_of(f"{path}:usage") for path in programs if "otel_usage.init" in path.read_text()])


def main() -> int:
    """Write or check; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    told = parser.parse_args()
    stale = []
    for page in sorted(DOCS.rglob("*.md")):
        before = page.read_text(encoding="utf-8")
        after = examples() if page.name == "privacy.md" else generated(before)
        if after != before:
            stale.append(page.name)
            if not told.check:
                page.write_text(after, encoding="utf-8")
    if told.check and stale:
        print(f"not current: {', '.join(stale)}; run: make docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
