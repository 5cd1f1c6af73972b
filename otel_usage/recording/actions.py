"""Actions, errors, heartbeats and counts: check them against the schema, and keep them until they are handed over.

Loaded by the first of them; a run without any does without this module.
"""

import os
import sys
from _collections import defaultdict  # type: ignore[import-not-found]
from _thread import RLock

from .. import _fault, _load
from ..schema.fields import accept
from ..spool.layout import NEW, OPEN
from .otlp_events import metrics_body, span
from .otlp_text import line
from .recorder import monotonic, time_ns  # type: ignore[attr-defined]  # bound there: see there
from .run import failure_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, NoReturn

    from .recorder import Recorder

    Pairs = list[tuple[str, object]]

MAX_ACTIONS = 512  # spans kept in memory between two flushes
MAX_COUNTERS = 512  # distinct (name, fields) kept in memory between two flushes


class Action:
    """A recorded action, error or heartbeat; as a context manager it also knows how long it took."""

    __slots__ = ("_events", "end_ns", "error", "failed", "kind", "name", "open", "pairs", "start_ns", "written")

    def __init__(self, events: "Events", kind: str, name: str) -> None:
        self._events = events
        self.kind = kind
        self.name = name
        self.pairs: Pairs = []
        self.start_ns = self.end_ns = time_ns()
        self.failed = kind == "error"
        self.error = name if self.failed else ""
        self.open = False
        self.written = True  # False while it is to be written: see write_through.py

    def __enter__(self) -> "Action":
        self.open = True
        self._events.began(self)
        return self

    def __exit__(self, kind: object, raised: "BaseException | None", trace: object) -> None:
        self.open = False
        self.end_ns = max(self.start_ns, time_ns())
        if raised is not None and not isinstance(raised, (SystemExit, GeneratorExit)):
            self.failed = True
            failure = failure_module()
            if failure is not None:
                self.error = failure.error_type(raised, self._events.recorder.run.package)
        self._events.ended(self)

    def set(self, /, *more: "NoReturn", **fields: object) -> None:
        """Add declared fields that are known only now."""
        events = self._events
        try:
            if events.pid == os.getpid():  # in a forked child the action is its parent's, and so is its lock
                events.drop("undeclared_field", len(more))
                self.pairs += events.accepted(self.kind, self.name, fields) or []
        except Exception:
            _fault()

    # A copy is the same action: what is added to it later is not lost. In another process it is that process's handle.

    def __copy__(self) -> "Action":
        return self

    def __deepcopy__(self, memo: object) -> "Action":
        return self

    def __reduce__(self) -> "tuple[Any, ...]":
        return _load("recording.handle").handle_of, (self._events.recorder.app,)


class Events:
    """What one process recorded since the last flush.

    Concurrency: every method may be called from any thread, and from a signal handler that interrupts another.
    A forked child starts with one of its own: what its parent holds is the parent's to report.
    """

    def __init__(self, recorder: "Recorder") -> None:
        self.recorder = recorder
        self.pid = os.getpid()  # a forked child finds its parent's, and starts with one of its own
        self.lock = RLock()  # re-entrant: a signal handler may count while it is held
        self.settling = False
        self.pending: list[tuple[str, int, Mapping[str, object]]] = []  # counts as `Usage.count` was called
        self.note: Callable[[tuple[str, int, Mapping[str, object]]], None] = self.pending.append  # keeps a count
        self.actions: list[Action] = []
        self.counters: dict[tuple[Any, ...], list[int]] = {}  # a cell each: a key's hash is the dear part
        self.dropped: dict[str, int] = defaultdict(int)
        self.counted_ns = recorder.start_ns  # where the next delta starts
        self.due = self.next_due()

    def next_due(self) -> float:
        """Return when to hand over next, by the monotonic clock."""
        return 0.0 if self.recorder.over else monotonic() + float(self.recorder.settings["flush_s"])

    def accepted(self, kind: str, name: str, fields: "Mapping[str, object]") -> "Pairs | None":
        """Return what `accept` lets through, and count the rest."""
        pairs, reasons = accept(self.recorder.settings["schema"], kind, name, fields)
        for reason in reasons:
            self.drop(reason)
        return pairs

    def drop(self, reason: str, n: int = 1) -> None:
        """Count *n* records or fields that were not kept."""
        if n:
            with self.lock:
                self.dropped[reason] += n

    def action(self, kind: str, name: str, fields: "Mapping[str, object]") -> Action:
        """Keep one action, error or heartbeat. One that is not declared is counted, and forgotten."""
        action = Action(self, kind, name)
        try:
            pairs = self.accepted(kind, name, fields)
            if pairs is not None:
                action.pairs = pairs
                if len(self.actions) < MAX_ACTIONS:
                    action.written = False
                    self.actions.append(action)
                else:
                    self.drop("limit")
            self.written()
        except Exception:
            _fault()
        return action

    def written(self) -> None:
        """See to what is due after an action."""
        if monotonic() >= self.due:
            self.tick()

    def began(self, action: Action) -> None:
        """Do nothing: what happens at once when a program enters *action* where everything is written through."""

    def ended(self, action: Action) -> None:
        """Do nothing: likewise, when it leaves it."""

    def tick(self) -> None:
        """See to what is due: adding up, or handing over."""
        self.settle()
        if monotonic() >= self.due:
            self.flush()

    def settle(self) -> None:
        """Add up what was noted. The list stays the same object: other threads may be about to append to it."""
        with self.lock:
            while self.pending and not self.settling:  # a signal handler's call, inside of ours, waits for ours
                self._settle()

    def _settle(self) -> None:
        waiting = iter(())  # type: Iterator[tuple[str, int, Mapping[str, object]]]
        try:
            self.settling = True
            calls = self.pending[:]
            rest, n_calls = iter(calls), len(calls)
            del self.pending[:n_calls]
            waiting = rest  # nothing of the host's can come between these two lines
            counters = self.counters
            for name, n, fields in waiting:
                try:
                    key = (name, *fields.items())
                    cell = counters.get(key)
                    if cell is not None and n.__class__ is int and n >= 0:
                        cell[0] += n
                    else:
                        self._first(name, n, fields)
                except Exception:  # a field that can't be hashed, or whose class fails to, fits no type
                    _fault(expected=True)
                    self.drop("value")
        finally:
            self.settling = False
            self.pending[:0] = waiting  # not empty only where the host has thrown something in

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
        self.due = self.next_due()
        self.settle()
        with self.lock:
            # A signal handler may record here too: nothing is called between reading each of them and its new beginning.
            actions, self.actions = self.actions, []
            cells, self.counters = self.counters, {}
            dropped, self.dropped = self.dropped, defaultdict(int)
            ended = []  # type: list[Action]
            for action in actions:
                (self.actions if action.open else ended).append(action)
        counters = {key: cell[0] for key, cell in cells.items()}
        start, self.counted_ns = self.counted_ns, time_ns()
        spans = [self._span(action) for action in ended]
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
        part = f"{recorder.spool}/{OPEN}/.{name}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        try:
            descriptor = os.open(part, flags, 0o600)
        except FileNotFoundError:  # the first that is recorded here, by a plugin
            _fault(expected=True)
            _load("recording.folders").make_spool(recorder.decision.home, recorder.spool)
            descriptor = os.open(part, flags, 0o600)
        try:
            whole = os.write(descriptor, text) == len(text)
        except OSError:
            whole = False
            _fault(expected=True)
        finally:
            os.close(descriptor)
        if whole:
            os.rename(part, f"{recorder.spool}/{NEW}/{name}")
        else:
            os.unlink(part)

    def flush(self) -> None:
        """Hand over finished actions and counts, and see that a sender comes; nothing if off was said meanwhile."""
        try:
            with self.lock:
                if self.settling:  # a signal handler's call, inside of ours: a later flush has all of it
                    return
            spans, metrics = self.take()
            if (spans or metrics) and _load("recording.forget").withdrawn(self.recorder):
                return
            if spans:
                self.put("traces", line("Spans", "spans", self.recorder.resource, ",".join(spans)))
            if metrics:
                self.put("metrics", metrics)
            if spans or metrics:
                self.recorder.wake(orphan=True)
        except OSError:
            _fault(expected=True)
        except Exception:
            _fault()

    def _span(self, action: Action) -> str:
        pairs: Pairs = [("usage.kind", action.kind), ("usage." + action.kind, action.name)]
        if action.error:
            pairs.append(("error.type", action.error))
        pairs += [("usage.field." + field, value) for field, value in action.pairs]
        trace, root = self.recorder.trace_id, self.recorder.span_id
        own = os.urandom(8).hex()
        if self.recorder.is_service:  # lives for weeks: what happens there is no part of anything larger
            trace, root = os.urandom(16).hex(), ""
        return span(trace, own, root, action.name, action.start_ns, action.end_ns, pairs, action.failed)


def of_this_process(recorder: "Recorder") -> "Events | None":
    """Return the `Events` of this process, made with the first action or count; None after a fault.

    Concurrency: of threads that come at once one wins, and all get the same. In a forked child, what the parent holds
    is the parent's to report, its lock may be held by no thread of ours, and its descriptor is let go.
    """
    try:
        pid = os.getpid()
        through = not recorder.owns_run() and recorder.decision.mode != "log"
        events = _load("recording.write_through").WrittenThrough(recorder) if through else Events(recorder)
        first: Events = recorder.events_of.setdefault(pid, events)
        if first is events:
            if pid != recorder.pid:
                try:
                    status = os.fstat(recorder.descriptor)
                    if (status.st_dev, status.st_ino) == recorder.inode:
                        os.close(recorder.descriptor)
                except OSError:
                    _fault(expected=True)
                recorder.descriptor = -1
            if not recorder.owns_run() and not through:
                util = sys.modules.get("multiprocessing.util")
                if util is not None:  # a worker leaves by os._exit, after its own finalizers
                    util.Finalize(None, events.flush, exitpriority=0)
        recorder._events = first
        if recorder.service is not None:
            recorder.service.serve()
            first.due = recorder.service.calls_due_s()
    except ImportError:  # as `Usage._events` has it
        _fault(expected=True)
    except Exception:
        _fault()
    return recorder._events
