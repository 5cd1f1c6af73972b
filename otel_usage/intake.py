"""Move what hosts recorded from the spool into the destinations' queues, checked.

Ring 1 (background). Every function is called under the sender's lock.

A batch of files becomes one segment per queue, and only then are the files removed. What it holds is written down in
``batch`` first, and the file renamed to ``batch.done`` once every segment is in place, so that a sender killed at any
step loses and repeats nothing: with ``batch`` the segments are removed and made again (none was sent yet); with
``batch.done`` the removal of the files is finished.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .events import attributes as attribute_list
from .events import metrics_body
from .otlp import Record, attributes_of, merge, pairs_of, records_of
from .queue import MAX_AGE_S, Queue, segment_id, write
from .recorder import line
from .schema import check_point, check_resource, check_span, fits
from .tally import Tally

MAX_SPANS = 2_048  # of one segment, and so in memory
MAX_TEXT = 1_500_000  # bytes of OTLP JSON in one: receivers limit a request, and JSON is twice what is sent
MAX_FILE = 4_194_304  # bytes; a host writes at most 513 spans into one
MAX_ASIDE = 100  # files kept in bad/
STARTING_S = 1.0  # a file this young may not have been locked yet by the host that made it


class Batch:
    """What may leave of the lines given to it. records: spans; counts: OTLP JSON metrics; dropped: ``{reason: how many}``.

    Every line passes here, be it sent, printed or previewed.
    """

    def __init__(self, settings: Mapping[str, Any], since_s: float) -> None:
        self.app: str = settings["app"]
        self.version: str = settings["version"]
        self.schema: Mapping[str, Any] = settings["schema"]
        self.since_s = since_s
        self.records: list[Record] = []
        self.counts: list[dict[str, Any]] = []
        self.dropped: Counter[str] = Counter()
        self.tally = Tally()
        self._resources: dict[bytes, Mapping[str, Any]] = {}
        self._ours: dict[int, bool] = {}

    def add_traces(self, row: bytes) -> bytes:
        """Take a line of spans; return the lines that say what was kept of it."""
        try:
            records = records_of(row, self._resources)
            kept, whole = [], True
            for record in records:
                reason = self._refused(record)
                if reason == "value" and record.attributes.get("usage.kind") == "run":
                    record, whole = self._renamed(record), False
                    reason = self._refused(record)
                if reason:
                    self.dropped[reason] += 1
                else:
                    kept.append(record)
                    self.tally.add(record)
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
            self.dropped["corrupt"] += 1
            return b""
        self.records += kept
        whole = whole and len(kept) == len(records)
        return row if whole else b"".join([record.line() for record in kept])

    def _renamed(self, record: Record) -> Record:
        """Return a run without names that the table does not take: a command ``list|ls``, an option ``--a b``."""
        attributes, name = {**record.attributes}, record.span["name"]
        command = attributes.get("usage.command")
        if not fits("usage.command", command) and name == f"{self.app} {command}":
            attributes["usage.command"] = "(unknown)"
            name = f"{self.app} (unknown)"
        options = attributes.get("usage.options")
        if isinstance(options, list):
            attributes["usage.options"] = [one for one in options if fits("usage.options", [one])]
        return record._replace(
            span={**record.span, "name": name, "attributes": pairs_of(attributes)}, attributes=attributes
        )

    def _refused(self, record: Record) -> str:
        ours = self._ours.get(id(record.resource))
        if ours is None:  # the resource lives as long as self._resources: its id stays its own
            told = record.resource
            ours = self._ours[id(told)] = check_resource(told) and told.get("service.name") == self.app
        if not ours:
            return "attribute"
        reason = check_span(record.span, record.attributes, self.schema, self.app)
        return reason or self._stale(int(record.span["startTimeUnixNano"]) / 1e9)

    def add_metrics(self, row: bytes) -> None:
        """Take a line of counts."""
        try:
            told: dict[str, Any] = json.loads(row)
            n = 0
            for group in told["resourceMetrics"]:
                resource = attributes_of(group["resource"]["attributes"])
                ours = check_resource(resource) and resource.get("service.name") == self.app
                for scoped in group["scopeMetrics"]:
                    for metric in scoped["metrics"]:
                        kept = []
                        for point in metric["sum"]["dataPoints"]:
                            attributes = attributes_of(point["attributes"])
                            reason = check_point(metric["name"], attributes, self.schema) if ours else "attribute"
                            if not reason:
                                reason = self._stale(int(point["startTimeUnixNano"]) / 1e9)
                            if reason:
                                self.dropped[reason] += 1
                            else:
                                kept.append(point)
                        metric["sum"]["dataPoints"] = kept
                        n += len(kept)
                    scoped["metrics"] = [metric for metric in scoped["metrics"] if metric["sum"]["dataPoints"]]
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
            self.dropped["corrupt"] += 1
            return
        if n:
            self.counts.append(told)

    def _stale(self, start_s: float) -> str:
        if start_s < self.since_s:
            return "consent"
        return "age" if time.time() - start_s > MAX_AGE_S else ""

    def metrics(self) -> dict[str, Any] | None:
        """Return counts, run counters and losses as one OTLP JSON object; None if there are none."""
        rows = [*self.counts, *self.tally.metrics()]
        if self.dropped:
            now = time.time_ns()
            resource = attribute_list([("service.name", self.app), ("service.version", self.version)])
            rows.append(json.loads(line("Metrics", "metrics", resource, metrics_body({}, self.dropped, now, now))))
        return merge(rows) if rows else None


class Intake:
    """What the sender takes in. dropped: ``{reason: how many}`` not kept so far, and not told yet."""

    def __init__(self, spool: str, settings: Mapping[str, Any], queues: Sequence[Queue], since_s: float) -> None:
        self.spool = spool
        self.settings = settings
        self.queues = queues
        self.since_s = since_s
        self.dropped: Counter[str] = Counter()
        self.sequence = 0
        self.fresh: tuple[str, list[Record]] = ("", [])  # the newest segment: most often sent at once
        self.lost: Counter[str] = Counter()  # what the newest batch left out
        self._bad: list[str] = []  # files of the newest batch that are none of ours

    def recover(self) -> None:
        """Finish or undo the batch that an earlier sender was killed in; forget what it had half written."""
        for folder in (self.spool, *[queue.folder for queue in self.queues], *[queue.wait for queue in self.queues]):
            for name in os.listdir(folder):
                if name.endswith(".part"):
                    os.unlink(os.path.join(folder, name))
        done, begun = os.path.join(self.spool, "batch.done"), os.path.join(self.spool, "batch")
        for path in (done, begun):
            try:
                with open(path, encoding="utf-8") as file:
                    segment, *names = file.read().split("\n")
            except FileNotFoundError:
                continue
            if path == done:
                self._remove(names)
            else:
                for queue in self.queues:
                    for name in queue.waiting():
                        if name.startswith(segment + "."):
                            os.unlink(os.path.join(queue.wait, name))
            os.unlink(path)

    def reap(self) -> Counter[str]:
        """Hand in the stubs of processes that died: their files' locks are free. Returns what was lost, by reason."""
        lost: Counter[str] = Counter()
        folder = os.path.join(self.spool, "open")
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                status = os.fstat(descriptor)
                age_s = time.time() - status.st_mtime
                if -60 < age_s < STARTING_S:  # further in the future: the clock jumped
                    continue
                if name.startswith("."):  # written and renamed at once; an old one is torn
                    if age_s > 3600:
                        os.unlink(path)
                        lost["corrupt"] += 1
                    continue
                os.lockf(descriptor, os.F_TLOCK, 0)
                if status.st_size:
                    os.rename(path, os.path.join(self.spool, "new", name))
                else:
                    os.unlink(path)
                    lost["nameless"] += 1
            except OSError:  # locked: its process lives
                continue
            finally:
                os.close(descriptor)
        self.dropped += lost
        return lost

    def names(self) -> list[str]:
        """Return the files that wait, oldest first."""
        return sorted(os.listdir(os.path.join(self.spool, "new")))

    def gather(self, names: Sequence[str]) -> tuple[Batch, list[bytes], list[str]]:
        """Return what may leave of the first of *names*, as many as a segment holds; its lines; which those were.

        Moves and removes nothing.
        """
        batch = Batch(self.settings, self.since_s)
        self._bad = []
        traces: list[bytes] = []
        taken: list[str] = []
        size = 0
        for name in names:
            if len(batch.records) >= MAX_SPANS or size >= MAX_TEXT:
                break
            taken.append(name)
            text = self._read(name)
            size += len(text or b"")
            for row in text.splitlines(keepends=True) if text is not None else ():
                if name.endswith(".traces.jsonl"):
                    traces.append(batch.add_traces(row))
                else:
                    batch.add_metrics(row)
        if self._bad:
            batch.dropped["corrupt"] += len(self._bad)
        return batch, traces, taken

    def take(self, names: Sequence[str]) -> int:
        """Put the first of *names* into every queue, as many as a segment holds, and return how many that were."""
        self.sequence += 1
        segment = segment_id(self.sequence)
        batch, traces, taken = self.gather(names)
        for name in self._bad:
            self._aside(name)
        self.lost = Counter(batch.dropped)
        batch.dropped += self.dropped
        metrics = batch.metrics()
        write(os.path.join(self.spool, "batch"), "\n".join([segment, *taken]).encode())
        for queue in self.queues:
            if batch.records:
                queue.put(segment + ".traces.jsonl", traces)
            if metrics is not None:
                queue.put(segment + ".metrics.jsonl", [json.dumps(metrics, separators=(",", ":")).encode() + b"\n"])
        os.rename(os.path.join(self.spool, "batch"), os.path.join(self.spool, "batch.done"))
        self.dropped.clear()
        self.fresh = (segment + ".traces.jsonl", batch.records)
        self._remove(taken)
        os.unlink(os.path.join(self.spool, "batch.done"))
        return len(taken)

    def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                os.unlink(os.path.join(self.spool, "new", name))
            except FileNotFoundError:
                pass

    def _read(self, name: str) -> bytes | None:
        """Return the file's content; None, after noting it as bad, if it is not one of ours."""
        path = os.path.join(self.spool, "new", name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError:  # a symbolic link, or unreadable
            self._bad.append(name)
            return None
        try:
            status = os.fstat(descriptor)
            ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_size <= MAX_FILE
            if ours and name.endswith((".traces.jsonl", ".metrics.jsonl")):
                text = os.read(descriptor, status.st_size)
                if text.endswith(b"\n"):
                    return text
        finally:
            os.close(descriptor)
        self._bad.append(name)
        return None

    def _aside(self, name: str) -> None:
        """Keep a file that can't be read for whoever wants to know why."""
        bad = os.path.join(self.spool, "bad")
        os.makedirs(bad, 0o700, exist_ok=True)
        path = os.path.join(self.spool, "new", name)
        try:
            if len(os.listdir(bad)) < MAX_ASIDE:
                os.rename(path, os.path.join(bad, name))
            elif not os.path.isdir(path):
                os.unlink(path)
        except OSError:
            pass
