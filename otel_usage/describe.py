"""What we collect: the page that a host's users read, made from what the host may record.

Ring 1 (background).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from ast import literal_eval
from collections.abc import Mapping, Sequence
from typing import Any

from . import VOICES, variable
from .events import bucket_labels
from .identity import ROTATE_DAYS
from .queue import MAX_AGE_S, MAX_BYTES
from .schema import ATTRIBUTES, DERIVED, Attribute, SettingError, check_settings
from .spool import MAX_WAITING

KINDS = {
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


def words(kind: Any) -> str:
    """Return a field's type in words, with every value where they can be listed. Any: see docs/schema.md."""
    if kind is bool or kind == "bool":
        return "yes or no"
    if isinstance(kind, list):
        return "one of " + ", ".join(f"`{choice}`" for choice in kind)
    if kind[0] == "bucket":
        return "only the range: " + ", ".join(f"`{label}`" for label in bucket_labels(kind))
    if kind[0] == "integer":
        return f"a whole number from 0 to {kind[1]}"
    return "a version: numbers and dots"


def rows(schema: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return (name, what is recorded, fields, why) of everything that *schema* declares."""
    found = []
    for name, row in schema.items():
        fields = [f"`{field}`: {words(kind)}" for field, kind in (row.get("fields") or {}).items()]
        what = KINDS[row.get("kind", "action")] + (f", until {row['until']}" if "until" in row else "")
        found.append((name, what, "; ".join(fields), row["why"] + (f" ({row['owner']})" if "owner" in row else "")))
    return found


def receivers(destinations: Mapping[str, Any] | None) -> list[str]:
    """Return one line per destination: who it is, and where, as `redacted` left it."""
    from .remembered import SECRET

    if destinations is None:
        return ["whoever the standard variables `OTEL_TRACES_EXPORTER` and `OTEL_EXPORTER_*` name; by default nobody"]
    found = []
    for name, value in destinations.items():
        told = str(value if isinstance(value, str) else value.get("endpoint", "")).removesuffix(SECRET).rstrip("/")
        found.append(f"`{name}`" + (f", at `{told}`" if told else ""))
    return found or ["nobody: records stay where they are"]


def page(settings: Mapping[str, Any], level: int = 1) -> str:
    """Return "What we collect" in Markdown for a host with these *settings*, as its `init` got them.

    level: of the first heading. The same settings always give the same text: `check` compares it with a file.
    """
    from .remembered import redacted

    app, schema, mark = settings["app"], settings["schema"], "#" * level
    mounted = settings.get("mounted")
    prefix = variable(app)
    about = settings.get("about", "")
    asked = f" ({about})" if about else ""

    def do(verb: str) -> str:
        return f"`{app} {mounted} {verb}`" if mounted else f"`otel-usage {verb} --app {app}`"

    lines = [f"{mark} What `{app}` collects", ""]
    lines += [
        f"{mark}# Why",
        "",
        f"Its maintainers want to know which parts of `{app}` are used and where it fails, to work on what matters. "
        "Each thing that is recorded has a question that it answers; nothing is recorded without one.",
        "",
        f"{mark}# What exactly",
        "",
        "One record per run: when it began and ended, numbers made at random that tell records apart, and these parts:",
        "",
        *_table(
            ("what", "values", "why"),
            [(f"`{a.key}`", a.allowed, a.why) for a in ATTRIBUTES if "run" in a.on.split() or _of_every(a, settings)],
        ),
        "",
    ]
    if schema:
        lines += [
            "And what the program declares:",
            "",
            *_table(
                ("name", "what is recorded", "with", "the question it answers"),
                [(f"`{name}`", what, fields or "nothing more", why) for name, what, fields, why in rows(schema)],
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
        f"{mark}# Never",
        "",
        *[f"- {line}" for line in NEVER],
        "",
        f"{mark}# When and where",
        "",
        _when(settings),
        "",
        f"Records are first written to your own disk (`~/.local/state/otel-usage/{app}/`, or where `XDG_STATE_HOME` or "
        "`OTEL_USAGE_HOME` says). A background process sends them a little later; the program never waits for it.",
        "",
        f"{mark}# Who sees it",
        "",
        *[f"- {line}" for line in receivers(redacted(settings.get("destinations")))],
        "",
        "They also see the address that your connection comes from, as every server does; no record holds it.",
        "",
        f"{mark}# How long",
        "",
        f"- On your machine: until it was sent, at most {MAX_AGE_S // 86_400} days, {MAX_BYTES // 1_000_000} MB per "
        f"receiver and {MAX_WAITING:,} files.",
        f"- The random installation id is renewed every {ROTATE_DAYS} days, and whenever you ask for it.",
        f"- At the receivers: as long as the maintainers of `{app}` have set{asked}.",
        "",
        f"{mark}# See it, stop it, delete it",
        "",
        *_table(
            ("to", "do"),
            [
                ("see whether anything is recorded, and who decided", do("status")),
                ("see exactly what would be sent next", do("preview")),
                ("see what was sent", do("history")),
                ("see a run's record instead of sending it", f"`{prefix}_TELEMETRY=log {app} …`"),
                ("keep records, and send none", do("local")),
                ("stop", _stop(settings, do("off"))),
                ("stop it for everybody on a machine", f"create `/etc/otel-usage/{app}.off`"),
                ("get a new id", do("reset-id")),
                ("delete everything local, and learn what lies where", do("forget")),
            ],
        ),
        "",
    ]
    return "\n".join(lines)


def _of_every(row: Attribute, settings: Mapping[str, Any]) -> bool:
    """True if every record has this attribute of the program or the machine."""
    return row.on == "resource" and (row.key != "k8s.cluster.uid" or bool(settings.get("service")))


def _when(settings: Mapping[str, Any]) -> str:
    if settings.get("service"):
        return "While the service runs, unless its operator says off. A line in its log says so at every start."
    return {
        "opt-out": "From the run after the one that showed you a notice, on a terminal, unless you say no. Runs in CI "
        "systems are recorded only where somebody said `on`.",
        "opt-in": "Only after you said `on`.",
        "ask": "Only after you answered yes to a question that is asked once, on a terminal.",
    }[settings["consent"]]


def _stop(settings: Mapping[str, Any], off: str) -> str:
    prefix = variable(settings["app"])
    switches = [where[1:].replace("{APP}", prefix) for where in VOICES if where[0] == "!"]
    flag = settings.get("flag", "")
    ways = [off, f"`{prefix}_TELEMETRY=off`", *[f"`{switch}=1`" for switch in switches]]
    return ", or ".join(ways + ([f"the option `{flag}`"] if flag else []))


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    escaped = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in body]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *escaped)]


# Imports the host in a process of its own, so that it can't be recorded, nor disturb us, and hands its settings back.
_CHILD = """import sys, os
sink, target = int(sys.argv[1]), sys.argv[2]
sys.argv[:] = [target]
import otel_usage
from otel_usage.remembered import plain, redacted
if target.partition(":")[0].endswith(".py"):
    import runpy
    name, _, attribute = target.partition(":")
    sys.path.insert(0, os.path.dirname(os.path.abspath(name)))
    names = runpy.run_path(name)
else:
    import importlib
    name, _, attribute = target.partition(":")
    sys.path.insert(0, os.getcwd())
    names = vars(importlib.import_module(name))
attribute = attribute or "usage"
found = names[attribute] if attribute in names else sys.exit(f"{name!r} has no {attribute!r}")
told = getattr(found, "settings", None) or sys.exit(f"{target!r} is not what otel_usage.init returned")
told = {**told, "schema": plain(told["schema"]), "destinations": redacted(told["destinations"])}
with open(sink, "w", encoding="utf-8") as file:
    file.write(repr(told))
"""


def settings_of(target: str, python: str = sys.executable) -> dict[str, Any]:
    """Return what `init` was given by a host. target: ``module:usage`` or ``path/to/file.py:usage``.

    The host is imported in a child process with recording switched off. Raises SettingError if that fails, or if the
    settings are wrong.
    """
    with tempfile.TemporaryFile() as sink:
        environ = {**os.environ, "OTEL_USAGE_DISABLED": "1"}
        environ.pop("OTEL_USAGE_CHILD", None)
        ended = subprocess.run(
            [python, "-c", _CHILD, str(sink.fileno()), target],
            env=environ,
            pass_fds=[sink.fileno()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        sink.seek(0)
        text = sink.read().decode()
    if ended.returncode or not text:
        last = (ended.stderr.strip().splitlines() or ["it ended before it was imported"])[-1]
        raise SettingError(
            f"{target!r} can't be described: {last}; expected module:usage, the handle from otel_usage.init"
        )
    told: dict[str, Any] = literal_eval(text)
    check_settings({**told, "destinations": None})  # their keys are hidden by now
    return told


def privacy(programs: Sequence[Mapping[str, Any]]) -> str:
    """Return docs/privacy.md: what the example programs collect. programs: their settings."""
    head = """# What we collect

otel-usage itself collects nothing: it sends nothing to its own authors, and neither does the `otel-usage` command. What
a program that uses it collects is that program's to say. `otel-usage describe mycli:usage` writes such a page from the
program's schema and settings, and `--check` in its CI fails once the page is no longer true.

These are the pages of the example programs. This file is generated: `make docs`.
"""
    return "\n".join([head, *[page(settings, level=2) for settings in programs]])
