"""Actions, errors, heartbeats and counts: check them against the schema and keep them until the next flush.

Ring 0 (foreground): loaded by the first of them; a run without any does without this module.
"""

import os
import sys
from time import gmtime, strftime

from .failure import error_type
from .recorder import fault, line, monotonic, quote, time_ns  # type: ignore[attr-defined]  # re-exported: see there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from .recorder import Recorder

    Pairs = list[tuple[str, object]]

MAX_ACTIONS = 512  # spans kept in memory between two flushes
MAX_COUNTERS = 512  # distinct (name, fields) kept in memory between two flushes


def accept(
    schema: "Mapping[str, Any]", kind: str, name: str, fields: "Mapping[str, object]"
) -> "tuple[Pairs | None, list[str]]":
    """Return the declared fields with allowed values, and why the others are dropped.

    The fields are None if *name* itself is not declared as *kind*, or no longer recorded.
    """
    declared = schema.get(name)
    if declared is None or declared.get("kind", "action") != kind:
        return None, ["undeclared"]
    if "until" in declared and declared["until"] < strftime("%Y-%m-%d", gmtime(time_ns() / 1e9)):
        return None, ["expired"]
    pairs: Pairs = []
    reasons: list[str] = []
    if fields:
        types = declared.get("fields") or {}
        for field, value in fields.items():
            if field not in types:
                reasons.append("undeclared_field")
                continue
            kept = fit(types[field], value)
            if kept is None:
                reasons.append("value")
            else:
                pairs.append((field, kept))
    return pairs, reasons


def fit(declared: "Any", value: object) -> "str | bool | int | None":
    """Return *value* as the declared field type records it, or None if it does not fit."""
    if declared is bool or declared == "bool":
        return value if isinstance(value, bool) else None
    if isinstance(declared, list):
        # The declared choice, not the value: a subclass of str may be equal to it, and hold something else.
        return next((choice for choice in declared if choice == value), None) if isinstance(value, str) else None
    kind = declared[0]
    if kind == "version":
        parts = str.split(value, ".") if isinstance(value, str) else []
        plain = 0 < len(parts) <= 4 and all([p.isascii() and p.isdigit() and len(p) < 7 for p in parts])
        return ".".join(parts) if plain else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        return None
    if kind == "integer":
        return min(int.__pos__(value), declared[1]) if isinstance(value, int) and value >= 0 else None
    return bucket_label(declared, value)


def bucket_label(declared: "Sequence[Any]", value: float) -> str:
    """Return the label of the range that *value* falls in."""
    labels = bucket_labels(declared)
    for bound, label in zip(declared[2:], labels):  # noqa: B905  one label more than bounds
        if value < bound:
            return label
    return labels[-1]


def bucket_labels(declared: "Sequence[Any]") -> "list[str]":
    """Return every label that ``bucket(unit, *bounds)`` can record."""
    unit, bounds = declared[1], declared[2:]
    middle = [f"{low}-{high} {unit}" for low, high in zip(bounds, bounds[1:])]  # noqa: B905, RUF007
    return [f"<{bounds[0]} {unit}", *middle, f">={bounds[-1]} {unit}"]


class Action:
    """A recorded action, error or heartbeat; as a context manager it also knows how long it took."""

    __slots__ = ("_events", "end_ns", "error", "failed", "kind", "name", "open", "pairs", "start_ns")

    def __init__(self, events: "Events", kind: str, name: str) -> None:
        self._events = events
        self.kind = kind
        self.name = name
        self.pairs: Pairs = []
        self.start_ns = self.end_ns = time_ns()
        self.failed = kind == "error"
        self.error = ""
        self.open = False

    def __enter__(self) -> "Action":
        self.open = True
        return self

    def __exit__(self, kind: object, raised: "BaseException | None", trace: object) -> None:
        self.open = False
        self.end_ns = max(self.start_ns, time_ns())
        if raised is not None and not isinstance(raised, (SystemExit, GeneratorExit)):
            self.failed = True
            self.error = error_type(raised, self._events.recorder.run.package)

    def set(self, **fields: object) -> None:
        """Add declared fields that are known only now."""
        try:
            self.pairs += self._events.accepted(self.kind, self.name, fields) or []
        except Exception:
            fault()


class Events:
    """What one process recorded since the last flush.

    Concurrency: every method may be called from any thread, and from a signal handler that interrupts another.
    A forked child starts with one of its own: what its parent holds is the parent's to report.
    """

    def __init__(self, recorder: "Recorder") -> None:
        self.recorder = recorder
        self.lock = recorder.lock
        self.settling = False
        self.pending: list[tuple[str, int, Mapping[str, object]]] = []  # counts as `Usage.count` was called
        self.actions: list[Action] = []
        self.counters: dict[tuple[Any, ...], list[int]] = {}  # a cell each: a key's hash is the dear part
        self.dropped: dict[str, int] = {}
        self.counted_ns = recorder.start_ns  # where the next delta starts
        self.due = monotonic() + recorder.settings["flush_s"]
        if not recorder.owner:
            util = sys.modules.get("multiprocessing.util")
            if util is not None:  # it leaves by os._exit, after its own finalizers
                util.Finalize(None, self.flush, exitpriority=0)

    def accepted(self, kind: str, name: str, fields: "Mapping[str, object]") -> "Pairs | None":
        """Return what `accept` lets through, and count the rest."""
        pairs, reasons = accept(self.recorder.settings["schema"], kind, name, fields)
        for reason in reasons:
            self.drop(reason)
        return pairs

    def drop(self, reason: str) -> None:
        """Count one record or field that was not kept."""
        with self.lock:
            self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def action(self, kind: str, name: str, fields: "Mapping[str, object]") -> Action:
        """Keep one action, error or heartbeat. One that is not declared is counted, and forgotten."""
        kept = Action(self, kind, name)
        try:
            pairs = self.accepted(kind, name, fields)
            if pairs is not None:
                kept.pairs = pairs
                if len(self.actions) < MAX_ACTIONS:
                    self.actions.append(kept)
                else:
                    self.drop("limit")
            if monotonic() >= self.due:
                self.flush()
        except Exception:
            fault()
        return kept

    def tick(self) -> None:
        """See to what is due: adding up, or handing over."""
        self.settle()
        if monotonic() >= self.due:
            self.flush()

    def settle(self) -> None:
        """Add up what was noted. The list stays the same object: other threads may be about to append to it."""
        with self.lock:
            if self.settling:  # a signal handler's call, inside of ours
                return
            self.settling = True
            try:
                noted = self.pending[:]
                del self.pending[: len(noted)]
                counters = self.counters
                for name, n, fields in noted:
                    try:
                        key = (name, *fields.items())
                        cell = counters.get(key)
                        if cell is not None and n.__class__ is int and n >= 0:
                            cell[0] += n
                        else:
                            self._first(name, n, fields)
                    except TypeError:  # a field that can't be hashed fits no type
                        self.drop("value")
            except Exception:
                fault()
            finally:
                self.settling = False

    def _first(self, name: str, n: int, fields: "Mapping[str, object]") -> None:
        pairs = self.accepted("count", name, fields)
        if pairs is None:
            return
        if n.__class__ is not int or n < 0:
            self.drop("value")
            return
        key = (name, *pairs)
        with self.lock:
            if key in self.counters or len(self.counters) < MAX_COUNTERS:
                self.counters.setdefault(key, [0])[0] += n
                return
        self.drop("limit")

    def take(self) -> "tuple[list[str], bytes]":
        """Return finished actions as OTLP JSON spans, counts as one line of metrics ("" for none), and forget them."""
        self.due = monotonic() + self.recorder.settings["flush_s"]
        self.settle()
        with self.lock:
            done = [action for action in self.actions if not action.open]
            self.actions = [action for action in self.actions if action.open]
            counters = {key: cell[0] for key, cell in self.counters.items()}
            self.counters = {}
            dropped, self.dropped = self.dropped, {}
        start, self.counted_ns = self.counted_ns, time_ns()
        spans = [self._span(action) for action in done]
        metrics = b""
        if counters or dropped:
            metrics = line(
                "Metrics", "metrics", self.recorder.resource, metrics_body(counters, dropped, start, self.counted_ns)
            )
        return spans, metrics

    def put(self, signal: str, text: bytes) -> None:
        """Write a new file into ``new/``: whole, or not at all."""
        recorder = self.recorder
        if recorder.decision.mode == "log":
            recorder.log.append(text)
            return
        name = f"{time_ns():016x}-{os.urandom(8).hex()}.{signal}.jsonl"
        part = f"{recorder.folder}/open/.{name}"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            whole = os.write(descriptor, text) == len(text)
        except OSError:
            whole = False
        finally:
            os.close(descriptor)
        if whole:
            os.rename(part, f"{recorder.folder}/new/{name}")
        else:
            os.unlink(part)

    def flush(self) -> None:
        """Hand over finished actions and counts, and see that a sender comes; nothing if off was said meanwhile."""
        try:
            spans, metrics = self.take()
            if spans or metrics:
                from .forget import withdrawn

                if withdrawn(self.recorder):
                    return
            if spans:
                self.put("traces", line("Spans", "spans", self.recorder.resource, ",".join(spans)))
            if metrics:
                self.put("metrics", metrics)
            if spans or metrics:
                self.recorder.wake(orphan=True)
        except OSError:
            pass
        except Exception:
            fault()

    def _span(self, action: Action) -> str:
        pairs: Pairs = [("usage.kind", action.kind)]
        if action.kind != "heartbeat":
            pairs.append(("usage." + action.kind, action.name))
        if action.error:
            pairs.append(("error.type", action.error))
        pairs += [("usage.field." + field, value) for field, value in action.pairs]
        name = "heartbeat" if action.kind == "heartbeat" else action.name
        trace, root = self.recorder.trace, self.recorder.root
        return span(trace, os.urandom(8).hex(), root, name, action.start_ns, action.end_ns, pairs, action.failed)


def metrics_body(
    counters: "Mapping[tuple[Any, ...], int]", dropped: "Mapping[str, int]", start_ns: int, end_ns: int
) -> str:
    """Return OTLP JSON delta sums, comma-separated. counters: ``{(name, (field, value), …): n}``; dropped: ``{reason: n}``."""
    points: dict[tuple[str, str], list[str]] = {}
    rows: list[tuple[str, str, Pairs, int]] = [
        ("usage.count." + key[0], "1", [("usage.field." + field, value) for field, value in key[1:]], n)
        for key, n in counters.items()
    ]
    rows += [("usage.dropped", "{record}", [("reason", reason)], n) for reason, n in dropped.items()]
    for name, unit, pairs, n in rows:
        points.setdefault((name, unit), []).append(
            f'{{"startTimeUnixNano":"{start_ns}","timeUnixNano":"{end_ns}","asInt":"{n}","attributes":[{attributes(pairs)}]}}'
        )
    return ",".join(
        [
            f'{{"name":{quote(name)},"unit":"{unit}",'
            f'"sum":{{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[{",".join(of)}]}}}}'
            for (name, unit), of in points.items()
        ]
    )


def attributes(pairs: "Pairs") -> str:
    """Return OTLP JSON KeyValues, comma-separated. Takes str, bool, int and lists of str."""
    parts = []
    for key, value in pairs:  # keys are ours or the schema's: nothing to escape
        if value is True or value is False:
            typed = '"boolValue":true' if value else '"boolValue":false'
        elif isinstance(value, str):
            typed = '"stringValue":' + quote(value)
        elif isinstance(value, int):
            typed = f'"intValue":"{value}"'
        else:
            words = ",".join(['{"stringValue":' + quote(word) + "}" for word in value])  # type: ignore[attr-defined]
            typed = '"arrayValue":{"values":[' + words + "]}"
        parts.append('{"key":"' + key + '","value":{' + typed + "}}")
    return ",".join(parts)


def span(trace: str, own: str, parent: str, name: str, start_ns: int, end_ns: int, pairs: "Pairs", failed: bool) -> str:
    """Return one OTLP JSON Span of kind INTERNAL; ids in hexadecimal, *parent* may be ""."""
    return (
        f'{{"traceId":"{trace}","spanId":"{own}",'
        + (f'"parentSpanId":"{parent}",' if parent else "")
        + f'"name":{quote(name)},"kind":1,"startTimeUnixNano":"{start_ns}","endTimeUnixNano":"{end_ns}",'
        f'"attributes":[{attributes(pairs)}],"status":{{' + ('"code":2}}' if failed else "}}")
    )
