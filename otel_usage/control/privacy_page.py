"""The page "What we collect" that a host's users read, made from what the host may record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..consent.gate import VOICES, variable
from ..delivery.installation_id import ROTATE_DAYS
from ..delivery.queue import MAX_AGE_S, MAX_QUEUE_BYTES
from ..recording.folders import MAX_WAITING
from ..schema.attributes import ATTRIBUTES, DERIVED, Attribute
from ..schema.fields import bucket_labels
from ..settings.remembered import SECRET, redact_destinations

# kind of event: what is recorded of one.
_RECORDED_OF_KIND = {
    "action": "that it happened, and how long it took",
    "count": "how often, summed up",
    "error": "that it happened; never a message",
    "heartbeat": "now and then, that it is alive",
}
NEVER = (
    "values of arguments and options, or any other text that you type",
    "names or contents of files and folders, and where you are in them",
    "your name, your account, your machine's name, its addresses or hardware ids",
    "messages of exceptions, stack traces, environment variables",
)


def _type_in_words(field_type: Any) -> str:
    """Return a field's type in words, with every value where they can be listed. Any: see docs/schema.md."""
    if field_type is bool or field_type == "bool":
        return "yes or no"
    if isinstance(field_type, list):
        return "one of " + ", ".join(f"`{choice}`" for choice in field_type)
    if field_type[0] == "bucket":
        return "only the range: " + ", ".join(f"`{label}`" for label in bucket_labels(field_type))
    if field_type[0] == "integer":
        return f"a whole number from 0 to {field_type[1]}"
    return "a version: numbers and dots"


def declared_rows(schema: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return (name, what is recorded, fields, why) of everything that *schema* declares."""
    rows = []
    for name, row in schema.items():
        fields = [f"`{field}`: {_type_in_words(kind)}" for field, kind in (row.get("fields") or {}).items()]
        what = _RECORDED_OF_KIND[row.get("kind", "action")] + (f", until {row['until']}" if "until" in row else "")
        rows.append((name, what, "; ".join(fields), row["why"] + (f" ({row['owner']})" if "owner" in row else "")))
    return rows


def _receiver_lines(destinations: Mapping[str, Any] | None) -> list[str]:
    """Return one line per destination: who it is, and where, as `redact_destinations` left it."""
    if destinations is None:
        return ["whoever the standard variables `OTEL_TRACES_EXPORTER` and `OTEL_EXPORTER_*` name; by default nobody"]
    lines = []
    for name, keywords in destinations.items():
        endpoint = str(keywords if isinstance(keywords, str) else keywords.get("endpoint", ""))
        address = endpoint.removesuffix(SECRET).rstrip("/")
        lines.append(f"`{name}`" + (f", at `{address}`" if address else ""))
    return lines or ["nobody: records stay where they are"]


def page(settings: Mapping[str, Any], level: int = 1) -> str:
    """Return "What we collect" in Markdown for a host with these *settings*, as its `init` got them.

    level: of the first heading. The same settings always give the same text: ``describe --check`` compares it with a
    file.
    """
    app, schema, hashes = settings["app"], settings["schema"], "#" * level
    mounted = settings.get("mounted")
    prefix = variable(app)
    about = settings.get("about", "")
    where_explained = f" ({about})" if about else ""

    def command_line(verb: str) -> str:
        return f"`{app} {mounted} {verb}`" if mounted else f"`otel-usage {verb} --app {app}`"

    lines = [f"{hashes} What `{app}` collects", ""]
    lines += [
        f"{hashes}# Why",
        "",
        f"Its maintainers want to know which parts of `{app}` are used and where it fails, to work on what matters. "
        "Each thing that is recorded has a question that it answers; nothing is recorded without one.",
        "",
        f"{hashes}# What exactly",
        "",
        "One record per run: when it began and ended, numbers made at random that tell records apart, and these parts:",
        "",
        *_markdown_table(
            ("what", "values", "why"),
            [
                (f"`{row.key}`", row.allowed, row.why)
                for row in ATTRIBUTES
                if "run" in row.on.split() or _is_on_every_record(row, settings)
            ],
        ),
        "",
    ]
    if schema:
        lines += [
            "And what the program declares:",
            "",
            *_markdown_table(
                ("name", "what is recorded", "with", "the question it answers"),
                [
                    (f"`{name}`", what, fields or "nothing more", why)
                    for name, what, fields, why in declared_rows(schema)
                ],
            ),
            "",
        ]
    lines += [
        "Sums of these are sent as well: "
        + ", ".join(f"`{name}` by {' and '.join(f'`{key}`' for key in keys)}" for name, keys in DERIVED.items())
        + "; and `usage.dropped`, how many records were not sent, and why.",
        "",
        "What is not in these tables is not recorded: it is dropped on your machine, before anything is written, and a "
        "second time before anything is sent.",
        "",
        f"{hashes}# Never",
        "",
        *[f"- {line}" for line in NEVER],
        "",
        f"{hashes}# When and where",
        "",
        _when_recorded(settings),
        "",
        f"Records are first written to your own disk (`~/.local/state/otel-usage/{app}/`, or where `XDG_STATE_HOME` or "
        "`OTEL_USAGE_HOME` says). A background process sends them a little later; the program never waits for it.",
        "",
        f"{hashes}# Who sees it",
        "",
        *[f"- {line}" for line in _receiver_lines(redact_destinations(settings.get("destinations")))],
        "",
        "They also see the address that your connection comes from, as every server does; no record holds it.",
        "",
        f"{hashes}# How long",
        "",
        f"- On your machine: until it was sent, at most {MAX_AGE_S // 86_400} days, {MAX_QUEUE_BYTES // 1_000_000} MB per "
        f"receiver and {MAX_WAITING:,} files.",
        f"- The random installation id is renewed every {ROTATE_DAYS} days, and whenever you ask for it.",
        f"- At the receivers: as long as the maintainers of `{app}` have set{where_explained}.",
        "",
        f"{hashes}# See it, stop it, delete it",
        "",
        *_markdown_table(
            ("to", "do"),
            [
                ("see whether anything is recorded, and who decided", command_line("status")),
                ("see exactly what would be sent next", command_line("preview")),
                ("see what was sent", command_line("history")),
                ("see a run's record instead of sending it", f"`{prefix}_TELEMETRY=log {app} …`"),
                ("keep records, and send none", command_line("local")),
                ("stop", _ways_to_stop(settings, command_line("off"))),
                ("stop it for everybody on a machine", f"create `/etc/otel-usage/{app}.off`"),
                ("get a new id", command_line("reset-id")),
                ("delete everything local, and learn what lies where", command_line("forget")),
            ],
        ),
        "",
    ]
    return "\n".join(lines)


def _is_on_every_record(row: Attribute, settings: Mapping[str, Any]) -> bool:
    """True if every record has this attribute of the program or the machine."""
    return row.on == "resource" and (row.key != "k8s.cluster.uid" or bool(settings.get("service")))


def _when_recorded(settings: Mapping[str, Any]) -> str:
    if settings.get("service"):
        return "While the service runs, unless its operator says off. A line in its log says so at every start."
    return {
        "opt-out": "From the run after the one that showed you a notice, on a terminal, unless you say no. Runs in CI "
        "systems are recorded only where somebody said `on`.",
        "opt-in": "Only after you said `on`.",
        "ask": "Only after you answered yes to a question that is asked once, on a terminal.",
    }[settings["consent"]]


def _ways_to_stop(settings: Mapping[str, Any], off_command: str) -> str:
    prefix = variable(settings["app"])
    switches = [where[1:].replace("{APP}", prefix) for where in VOICES if where[0] == "!"]
    flag = settings.get("flag", "")
    ways = [off_command, f"`{prefix}_TELEMETRY=off`", *[f"`{switch}=1`" for switch in switches]]
    return ", or ".join(ways + ([f"the option `{flag}`"] if flag else []))


def _markdown_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    escaped = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in body]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *escaped)]


def examples_page(programs: Sequence[Mapping[str, Any]]) -> str:
    """Return docs/privacy.md: what the example programs collect. programs: their settings."""
    head = """# What we collect

otel-usage itself collects nothing: it sends nothing to its own authors, and neither does the `otel-usage` command. What
a program that uses it collects is that program's to say. `otel-usage describe mycli:usage` writes such a page from the
program's schema and settings, and `--check` in its CI fails once the page is no longer true.

These are the pages of the example programs. This file is generated: `make docs`.
"""
    return "\n".join([head, *[page(settings, level=2) for settings in programs]])
