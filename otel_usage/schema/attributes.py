"""The table of everything that may leave, and the words in which losses are counted.

`ATTRIBUTES` is the allow-list. The sender checks every record against it before a record is sent, the relay checks it
again, the Collector's configuration repeats it, and docs/schema.md shows it. A new attribute is one row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..recording.agent import AGENTS
from .patterns import (
    APP,
    CLUSTER_UID,
    COMMAND,
    DECLARED_NAME,
    ERROR_TYPE,
    FIELD,
    FRAMES,
    INSTALLATION_ID,
    MAX_NAME,
    MAX_PATH,
    OPTION,
    SDK_NAME,
    SIGNAL,
    VERSION,
    WEEK,
    one_of,
    text_like,
)

OUTCOMES = ("success", "failure", "usage_error", "interrupted", "help", "unfinished", "unknown")
MAX_OPTIONS = 64  # names of options in one run
KINDS = ("run", "action", "error", "heartbeat", "first_run", "start", "stop", "crash")  # of spans
# Kinds whose spans are called by the kind, and have no fields that a host declares.
PLAIN_KINDS = ("first_run", "start", "stop", "crash")
STARTS = ("first", "restart", "upgrade")


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_exit_code(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32


def _is_options(value: object) -> bool:
    return isinstance(value, list) and len(value) <= MAX_OPTIONS and all(map(text_like(OPTION, MAX_NAME), value))


@dataclass(frozen=True)
class Attribute:
    """One row of the table: what may leave, on what, if it looks how, and why it is needed."""

    key: str
    on: str  # kinds of span, or "resource"
    allowed: str  # in words, for the documentation
    why: str
    check: Callable[[object], bool]  # True for a value that may leave


ATTRIBUTES = (
    Attribute("usage.kind", " ".join(KINDS), ", ".join(f"`{kind}`" for kind in KINDS), "tells the records apart", one_of(*KINDS)),
    Attribute("usage.command", "run", "the path in the parser's own tree, `(root)` or `(unknown)`",
              "which commands matter", text_like(COMMAND, MAX_PATH)),
    Attribute("usage.outcome", "run", ", ".join(f"`{o}`" for o in OUTCOMES),
              "which commands fail, and how", one_of(*OUTCOMES)),
    Attribute("usage.options", "run", "names of declared options that were given, never their values",
              "which options matter", _is_options),
    Attribute("process.executable.name", "run", "the app's name, not argv", "OpenTelemetry's name for it",
              text_like(APP, MAX_NAME)),
    Attribute("process.exit.code", "run", "0 to 255", "failure rate per command", _is_exit_code),
    Attribute("error.type", "run action error crash", "class of the exception if it is the stdlib's, the framework's or the app's "
              "own, else `_OTHER`; never its message. Of an error its declared code", "what to fix first",
              text_like(ERROR_TYPE, MAX_PATH)),
    Attribute("usage.ci", "run", "true in a CI system", "keeps machines and people apart", _is_bool),
    Attribute("usage.tty", "run", "true if standard output is a terminal", "keeps scripts and people apart", _is_bool),
    Attribute("usage.agent", "run", ", ".join(f"`{agent}`" for agent in (*AGENTS, "other")) + "; absent if none is seen",
              "keeps agents and people apart", one_of(*AGENTS, "other")),
    Attribute("usage.surface", "run", "`cli`, `service`", "keeps commands and services apart", one_of("cli", "service")),
    Attribute("usage.action", "action", "a name declared in the schema", "what people do", text_like(DECLARED_NAME, MAX_NAME)),
    Attribute("usage.error", "error", "a code declared in the schema", "what confuses people", text_like(DECLARED_NAME, MAX_NAME)),
    Attribute("usage.heartbeat", "heartbeat", "a name declared in the schema", "tells heartbeats apart",
              text_like(DECLARED_NAME, MAX_NAME)),
    Attribute("usage.start", "start", "`first`, `restart`, `upgrade`; absent where it can't be known", "how often a service is "
              "restarted, how fast it is upgraded", one_of(*STARTS)),
    Attribute("usage.previous_version", "start", "of an upgrade, the version that ran before", "who upgrades from what",
              text_like(VERSION, MAX_NAME)),
    Attribute("usage.signal", "crash", "the signal's name, such as `SIGKILL`, where it is known that one ended the process", "what to fix first",
              text_like(SIGNAL, 16)),
    Attribute("usage.frames", "crash", "16 hexadecimal digits: a hash of where in the app's own code it happened", "tells one "
              "crash from another", text_like(FRAMES, 16)),
    Attribute("service.name", "resource", "the app's name", "whose usage it is", text_like(APP, MAX_NAME)),
    Attribute("service.version", "resource", "the app's version", "who is on which release", text_like(VERSION, MAX_NAME)),
    Attribute("process.runtime.name", "resource", "`cpython`, `pypy`, …", "which Pythons to support",
              text_like(FIELD, MAX_NAME)),
    Attribute("process.runtime.version", "resource", "the Python's version", "which Pythons to support",
              text_like(VERSION, MAX_NAME)),
    Attribute("app.installation.id", "resource", "a random UUID, resettable, renewed every 365 days; none in CI, where nothing is installed",
              "counts installations, not runs", text_like(INSTALLATION_ID, 64)),
    Attribute("app.installation.ephemeral", "resource", "true if the id will not last; services only",
              "leaves out what would be counted again and again", _is_bool),
    Attribute("usage.ci_system", "resource", "`github`, `gitlab`, …, `other`; in CI only", "keeps machines and people apart",
              text_like(FIELD, MAX_NAME)),
    Attribute("usage.first_week", "resource", "the ISO week (UTC) of its first id, like `2026-W48`; not in CI",
              "do people stay?", text_like(WEEK, 8)),
    Attribute("os.type", "resource", "`linux`, `darwin`, `windows`, …", "which systems to support", text_like(FIELD, MAX_NAME)),
    Attribute("os.version", "resource", "major and minor number", "which systems to support", text_like(VERSION, MAX_NAME)),
    Attribute("host.arch", "resource", "`amd64`, `arm64`, …", "which builds to ship", text_like(FIELD, MAX_NAME)),
    Attribute("k8s.cluster.uid", "resource", "keyed hash of the cluster's id, services only",
              "counts installations of a service", text_like(CLUSTER_UID, MAX_NAME)),
    Attribute("telemetry.sdk.name", "resource", "`otel-usage`", "which version wrote it", text_like(SDK_NAME, 64)),
    Attribute("telemetry.sdk.language", "resource", "`python`", "which version wrote it", text_like(FIELD, 64)),
    Attribute("telemetry.sdk.version", "resource", "ours", "which version wrote it", text_like(VERSION, 64)),
)  # fmt: skip
FIELD_PREFIX = "usage.field."  # of a declared field, as an attribute: usage.field.format
# The checks of the table by kind of record: CHECKS["run"]["usage.command"]("report upload") is True.
CHECKS = {kind: {row.key: row.check for row in ATTRIBUTES if kind in row.on.split()} for kind in (*KINDS, "resource")}

# Why a record or field was not kept. Counted as ``usage.dropped{reason}``.
REASONS = {
    "undeclared": "its name is not in the schema",
    "expired": "the day after which it is not recorded any more has passed",
    "undeclared_field": "the field is not in the schema",
    "value": "the value does not fit its declared type",
    "limit": "more than is kept between two flushes, or in the spool",
    "age": "it waited too long",
    "consent": "it was begun before consent was given",
    "corrupt": "a file, or a line of one, could not be read",
    "attribute": "an attribute that is not in the table",
    "unknown_delivery": "it may have arrived, nobody can know, and the destination can't tell a repetition (GA4)",
    "rejected": "the destination refused it",
    "too_old": "older than the destination takes (GA4: 72 h)",
    "future": "later than the destination takes",
    "misconfigured": "an exporter in the program itself has wrong settings",
    "undelivered": "an exporter in the program itself had no answer in time",
    "nameless": "the process died before its command was known",
    "snapshot": "what a service says of itself with a heartbeat could not be had: its snapshot raised an exception, or did not "
    "answer in time",
    "repeated": "a service crashed as it had before on that day",
}  # fmt: skip


# Counters that the sender makes from the spans, and their attributes.
DERIVED = {
    "usage.runs": ("usage.command", "usage.outcome"),
    "usage.run.duration": ("usage.command", "usage.outcome"),
    "usage.actions": ("usage.action",),
    "usage.errors": ("usage.error",),
}
