"""The page "What we collect" that a host's users read, made from what the host may record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..consent.gate import VOICES, variable
from ..delivery.installation_id import ROTATE_DAYS
from ..delivery.queue import MAX_AGE_S, MAX_QUEUE_BYTES
from ..otlp import attributes_of
from ..recording.folders import MAX_WAITING
from ..schema.attributes import ATTRIBUTES, DERIVED, Attribute
from ..schema.fields import bucket_labels
from ..settings.remembered import SECRET, redact_destinations
from .sample_run import sample_line
from .wording import iso_time

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


# {attribute: what it is, for who uses the program and has never seen a parser}. The table of attributes speaks to developers.
_IN_WORDS = {
    "usage.kind": "what is recorded: `run`, or one of the others below: `action`, `error`, `heartbeat`; once `first_run`, "
    "when the number below is made; and of a service its `start`, its `stop` and a `crash`",
    "usage.command": "which command was run, by the program's own name for it; `(root)` if it was run without one, and "
    "`(unknown)` for anything else that was typed",
    "usage.outcome": "how it ended: `success`, `failure`, `usage_error` (it did not understand what was typed), "
    "`interrupted` (by Ctrl-C), `help`, `unfinished` (it was ended from outside) or `unknown`",
    "usage.options": "which options were given: their names, never their values",
    "process.executable.name": "the program's name, whatever its file is called",
    "process.exit.code": "the exit code, a number from 0 to 255",
    "error.type": "the kind of error, such as `ValueError`, if it belongs to Python, to the library that reads the command "
    "line, or to the program itself; else `_OTHER`. Never its message",
    "usage.ci": "yes if it ran in a CI system",
    "usage.tty": "yes if its output went to a terminal",
    "usage.agent": "which AI agent ran it, such as `cursor`, by the variables that agents set; `other` for one that is not on "
    "the list, and left out where none is seen",
    "usage.surface": "`cli` for a command that was run, `service` for a service",
    "usage.start": "of a service: whether it was its `first` start, a `restart`, or the first after an `upgrade`",
    "usage.previous_version": "of an upgrade: the version before",
    "usage.signal": "of a service that crashed: the signal's name, such as `SIGKILL`, where that is known",
    "usage.frames": "of a service that crashed: a number made from the place in the program's own code, from which no text can "
    "be told",
    "service.name": "the program's name",
    "service.version": "the program's version",
    "process.runtime.name": "which Python it ran on, such as `cpython`",
    "process.runtime.version": "the version of that Python",
    "app.installation.id": "a number made at random, renewed every 365 days and whenever you ask for it; none in a CI "
    "system",
    "app.installation.ephemeral": "yes if that number will not last, as in a container without a volume",
    "usage.ci_system": "in a CI system, its name, such as `github`",
    "usage.first_week": "the week in which the program was first used here, such as `2026-W48`; a new one when you ask for a "
    "new number",
    "os.type": "the operating system, such as `linux`",
    "os.version": "its version, such as `6.1`",
    "host.arch": "the kind of processor, such as `arm64`",
    "k8s.cluster.uid": "a number made from the cluster's own, from which that can't be told",
    "telemetry.sdk.name": "`otel-usage`, the library that records all this",
    "telemetry.sdk.language": "`python`, in which that is written",
    "telemetry.sdk.version": "the version of that library",
}
# What is said otherwise of a service.
_OF_A_SERVICE = {
    "usage.kind": "what is recorded: the service's `start`, its `stop`, a `crash` or a `heartbeat`, or one of the others below: "
    "`action`, `error`",
    "usage.heartbeat": "the heartbeat's name, from the list below",
    "error.type": "of a crash, or of an action that failed: the kind of error, such as `ValueError`, if it belongs to Python or "
    "to the program itself; else `_OTHER`. Never its message",
    "app.installation.id": "a number made from what the operator or Kubernetes calls this installation, from which that can't be "
    "told; else one made at random",
    "k8s.cluster.uid": "a number made from the cluster's own, from which that can't be told; only if the operator asks for it",
}
# What a sender adds to every record, in the sample. Nothing of it changes with a release, or every page would.
_SAMPLE_VERSION = "1.0"
_SAMPLE_ADDED = {
    "app.installation.id": "5a1c0b58-3f0e-4c8f-9d3b-7d2f2f0f6a11",
    "usage.first_week": "2025-W48",
    "os.type": "linux",
    "os.version": "6.1",
    "host.arch": "amd64",
    "telemetry.sdk.name": "otel-usage",
    "telemetry.sdk.language": "python",
    "telemetry.sdk.version": _SAMPLE_VERSION,
}
_SAMPLE_BEGAN_NS = 1_767_605_400_000_000_000  # 2026-01-05 09:30:00 UTC


def attribute_in_words(row: Attribute) -> str:
    """Return what an attribute is, in words for people who use the program."""
    return _IN_WORDS.get(row.key, row.allowed)


def of_a_service(row: Attribute) -> str:
    """Return what an attribute of a service's records is, likewise."""
    return _OF_A_SERVICE.get(row.key) or attribute_in_words(row)


def _sample(settings: Mapping[str, Any]) -> str:
    """Return one record with made-up values, as JSON that people can read."""
    group = json.loads(sample_line({**settings, "version": _SAMPLE_VERSION}, start_ns=_SAMPLE_BEGAN_NS))[
        "resourceSpans"
    ][0]
    span = group["scopeSpans"][0]["spans"][0]
    began_ns, ended_ns = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
    own = attributes_of(span["attributes"])
    if settings.get("service"):
        span["name"], ended_ns, own = "start", began_ns, {"usage.kind": "start", "usage.start": "restart"}
    attributes = {
        **own,
        **attributes_of(group["resource"]["attributes"]),
        **_SAMPLE_ADDED,
    }
    ids = {"name": span["name"], "trace": span["traceId"], "record": span["spanId"]}
    times = {"began": iso_time(began_ns / 1e9), "took_s": (ended_ns - began_ns) / 1e9}
    return json.dumps({**ids, **times, **attributes}, indent=1)


def _type_in_words(field_type: Any) -> str:
    """Return a field's type in words, with every value where they can be listed. Any: see docs/schema.md."""
    if field_type is bool or field_type == "bool":
        return "yes or no"
    if isinstance(field_type, list):
        return "one of " + ", ".join(f"`{choice}`" for choice in field_type)
    if field_type[0] == "several":
        return "which of " + ", ".join(f"`{word}`" for word in field_type[1])
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
    mounted, service = settings.get("mounted"), bool(settings.get("service"))
    kinds = {"start", "stop", "crash", "heartbeat"} if service else {"run"}
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
        "One record of each start of the service, of its orderly stop and of a crash, and one a day that it is alive, or when "
        "what that says has changed: when it was, numbers that tell records apart, and of these parts those that belong to it:"
        if service
        else "One record per run: when it began and ended, numbers made at random that tell records apart, and these parts:",
        "",
        *_markdown_table(
            ("name", "what it is", "why"),
            [
                (f"`{row.key}`", of_a_service(row) if service else attribute_in_words(row), row.why)
                for row in ATTRIBUTES
                if kinds & {*row.on.split()} or _is_on_every_record(row, settings)
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
        f"One {'start' if service else 'run'}, with made-up values:",
        "",
        "```json",
        *_sample(settings).split("\n"),
        "```",
        "",
        "Sums of these are sent as well: "
        + ", ".join(
            f"`{name}` by {' and '.join(f'`{key}`' for key in keys)}"
            for name, keys in DERIVED.items()
            if not service or "usage.command" not in keys
        )
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
        "They also see the address that your connection comes from, as every server does. No record holds it when it leaves "
        "your machine; whether a receiver writes it down is up to that receiver. Each knows you by the id above or by another "
        f"that is made from it, which {command_line('status')} shows: name it to have what lies there deleted.",
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
                ("see records in the service's log instead of sending them", f"`{prefix}_TELEMETRY=log`")
                if service
                else ("see a run's record instead of sending it", f"`{prefix}_TELEMETRY=log {app} …`"),
                ("keep records, and send none", command_line("local")),
                ("stop", _ways_to_stop(settings, command_line("off"))),
                ("stop it for everybody on a machine", f"create `/etc/otel-usage/{app}.off`"),
                ("learn what each receiver knows you as, to have it deleted there", command_line("status")),
                ("get a new id", command_line("reset-id")),
                ("delete everything local, and learn what lies where", command_line("forget")),
            ],
        ),
        "",
    ]
    if not mounted:
        lines += [
            "Where `otel-usage` is not on your PATH, `python -m otel_usage` is the same, by the Python that runs "
            f"`{app}`: its notice shows the whole command.",
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
        "host": "Only where the program that it is a part of records too, which shows its own notice, or asks; and never "
        "where you have said no to either.",
    }[settings["consent"]]


def _ways_to_stop(settings: Mapping[str, Any], off_command: str) -> str:
    prefix = variable(settings["app"])
    switches = [where[1:].replace("{APP}", prefix) for where in VOICES if where[0] == "!"]
    flag = settings.get("flag", "")
    variables = ", ".join([f"`{prefix}_TELEMETRY=off`", *[f"`{switch}=1`" for switch in switches]])
    if settings.get("service"):
        return f"in the environment of the service any of these variables: {variables}; or {off_command}"
    for_a_run = f"; for one run, the option `{flag}`" if flag else ""
    return f"{off_command}{for_a_run}; for one shell, any of these variables, by `export`: {variables}"


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
