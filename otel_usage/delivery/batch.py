"""Decide what may leave: every line of a host's files passes here, be it sent, printed or previewed.

ALGORITHM
1. A span or a data point is kept if its resource is this app's, if table and schema allow it (schema/records.py), and if it is
   neither from before the user agreed nor older than `MAX_AGE_S`.
2. A run whose command or options have names that the table does not allow stays a run: the names are replaced or left out.
3. All else is dropped and counted by reason. The counts are sent as ``usage.dropped``, with the batch's counts and counters.
A line that is no OTLP is a loss, ``corrupt``, of as many spans or data points as can be seen in it, of one at least: a host that
was killed may have written half of it.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from ..otlp import Record, attributes_of, merge, pairs_of, records_of
from ..recording.heartbeat import UNSENT
from ..recording.otlp_events import attributes as attribute_list
from ..recording.otlp_events import metrics_body
from ..recording.otlp_text import line
from ..schema.records import check_point, check_resource, check_span, is_allowed_on_run
from .beats import with_final_ids
from .queue import MAX_AGE_S
from .run_counters import RunCounters
from .segment_file import count_in

MAX_SPANS = 2_048  # of one segment file, and so in memory
MAX_TEXT = 1_500_000  # bytes of OTLP JSON in one: receivers limit a request, and JSON is twice what is sent
UNKNOWN_COMMAND = "(unknown)"

_MALFORMED = (
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    RecursionError,
)  # what reading a line that is no OTLP raises


class Batch:
    """What may leave of the lines that were added.

    since_s: nothing begun earlier may leave. records: spans; counts: OTLP JSON metrics; dropped: ``{reason: how many}``.
    installation_id: of whose heartbeats the ids are made here.
    """

    def __init__(
        self, settings: Mapping[str, Any], since_s: float, installation_id: Callable[[], str] | None = None
    ) -> None:
        self.installation_id = installation_id
        self.app: str = settings["app"]
        self.version: str = settings["version"]
        self.schema: Mapping[str, Any] = settings["schema"]
        self.since_s = since_s
        self.records: list[Record] = []
        self.counts: list[dict[str, Any]] = []
        self.dropped: Counter[str] = Counter()
        self.run_counters = RunCounters()
        self._resources: dict[bytes, Mapping[str, Any]] = {}
        self._resource_checks: dict[int, bool] = {}  # by id(resource)

    def add_traces(self, row: bytes) -> bytes:
        """Add a line of spans; return the lines to put into a segment file: *row* itself if all of it may leave."""
        try:
            records = records_of(row, self._resources)
            allowed, unchanged = [], True
            for record in records:
                if str(record.span["traceId"]).startswith(UNSENT) and self.installation_id is not None:
                    record, unchanged = self._with_final_ids(record), False
                reason = self._find_reason_to_drop(record)
                if reason == "value" and record.attributes.get("usage.kind") == "run":
                    record, unchanged = self._replace_unknown_names(record), False
                    reason = self._find_reason_to_drop(record)
                if reason:
                    self.dropped[reason] += 1
                else:
                    allowed.append(record)
                    self.run_counters.add(record)
        except _MALFORMED:
            self.dropped["corrupt"] += count_in(row, spans=True)
            return b""
        self.records += allowed
        unchanged = unchanged and len(allowed) == len(records)
        return row if unchanged else b"".join([record.line() for record in allowed])

    def _with_final_ids(self, record: Record) -> Record:
        """Return a service's heartbeat with the ids that leave; nothing else begins like that."""
        assert self.installation_id is not None
        return record._replace(span=with_final_ids(record.span, self.installation_id(), self.app))

    def _replace_unknown_names(self, record: Record) -> Record:
        """Return the run with ``(unknown)`` for a command that the table does not allow, and without such options.

        Names come from the host's own parser, and may be odd: a command ``list|ls``, an option ``--a b``. The run is counted
        all the same.
        """
        attributes, name = {**record.attributes}, record.span["name"]
        command = attributes.get("usage.command")
        if not is_allowed_on_run("usage.command", command) and name == f"{self.app} {command}":
            attributes["usage.command"] = UNKNOWN_COMMAND
            name = f"{self.app} {UNKNOWN_COMMAND}"
        options = attributes.get("usage.options")
        if isinstance(options, list):
            attributes["usage.options"] = [one for one in options if is_allowed_on_run("usage.options", [one])]
        return record._replace(
            span={**record.span, "name": name, "attributes": pairs_of(attributes)}, attributes=attributes
        )

    def _find_reason_to_drop(self, record: Record) -> str:
        """Return why *record* may not leave, "" if it may."""
        resource = record.resource
        allowed = self._resource_checks.get(id(resource))
        if allowed is None:  # the resource lives as long as self._resources, so that no other object gets its id
            allowed = self._resource_checks[id(resource)] = self._may_be_of_app(resource)
        if not allowed:
            return "attribute"
        reason = check_span(record.span, record.attributes, self.schema, self.app)
        return reason or self._check_age(int(record.span["startTimeUnixNano"]) / 1e9)

    def _may_be_of_app(self, resource: Mapping[str, Any]) -> bool:
        return check_resource(resource) and resource.get("service.name") == self.app

    def add_metrics(self, row: bytes) -> None:
        """Add a line of counts."""
        try:
            payload: dict[str, Any] = json.loads(row)
            n = 0
            for group in payload["resourceMetrics"]:
                resource = attributes_of(group["resource"]["attributes"])
                of_app = self._may_be_of_app(resource)
                for scoped in group["scopeMetrics"]:
                    for metric in scoped["metrics"]:
                        points = metric["sum"]["dataPoints"]
                        allowed = [point for point in points if self._may_leave(metric["name"], point, of_app)]
                        metric["sum"]["dataPoints"] = allowed
                        n += len(allowed)
                    scoped["metrics"] = [metric for metric in scoped["metrics"] if metric["sum"]["dataPoints"]]
        except _MALFORMED:
            self.dropped["corrupt"] += count_in(row, spans=False)
            return
        if n:
            self.counts.append(payload)

    def _may_leave(self, name: str, point: Mapping[str, Any], of_app: bool) -> bool:
        """True if *point*, of the metric *name*, may leave; if not, it is counted. of_app: the resource is this app's."""
        attributes = attributes_of(point["attributes"])
        reason = check_point(name, attributes, self.schema) if of_app else "attribute"
        reason = reason or self._check_age(int(point["startTimeUnixNano"]) / 1e9)
        if reason:
            self.dropped[reason] += 1
        return not reason

    def _check_age(self, start_s: float) -> str:
        """Return why what was begun then may not leave, "" if it may."""
        if start_s < self.since_s:
            return "consent"
        return "age" if time.time() - start_s > MAX_AGE_S else ""

    def metrics(self) -> dict[str, Any] | None:
        """Return counts, run counters and losses as one OTLP JSON object; None if there are none."""
        rows = [*self.counts, *self.run_counters.metrics()]
        if self.dropped:
            now_ns = time.time_ns()
            resource = attribute_list([("service.name", self.app), ("service.version", self.version)])
            losses = metrics_body({}, self.dropped, now_ns, now_ns)
            rows.append(json.loads(line("Metrics", "metrics", resource, losses)))
        return merge(rows, self.run_counters.period_of) if rows else None
