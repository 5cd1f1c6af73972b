"""Send parts of one batch side by side, where a destination takes one client in each request.

GA4's requests are about one client each. A batch of many clients is many requests, and sent one after the other they
would take seconds. What one client did stays in one part: in the order in which it happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from otel_usage.delivery.verdict import Verdict

LANES_PER_WORKER = 4
CLIENTS_PER_LANE = 8  # fewer are not worth a thread

HandOver = Callable[[str, Any, float], Verdict]  # (signal, spans or metrics, deadline)


class Lanes:
    """The threads in which parts of a batch are sent. Concurrency: safe in threads, which share the lanes.

    destination: the name of an exporter. workers: how many deliveries to it may be under way; 0 for one lane, since its
    exporter is not ``one_client_per_request``.
    """

    def __init__(self, destination: str, workers: int, hand_over: HandOver) -> None:
        self._hand_over = hand_over
        self._count = max(1, workers * LANES_PER_WORKER)
        self._executor = ThreadPoolExecutor(self._count, thread_name_prefix=f"relay-{destination}-lane")

    def send(self, spans: list[ReadableSpan], deadline: float) -> Verdict:
        """Hand *spans* over, in parts if that is worth it; return what became of them when all parts have ended."""
        parts = self._split(spans)
        if len(parts) < 2:
            return self._hand_over("traces", spans, deadline)
        futures = [
            self._executor.submit(self._hand_over, "traces", [spans[position] for position in part], deadline)
            for part in parts
        ]
        wait(futures)
        return _merge(parts, [future.result() for future in futures])

    def _split(self, spans: Sequence[ReadableSpan]) -> list[list[int]]:
        """Return the positions of *spans* in parts, none if they are to be sent as one."""
        if self._count == 1:
            return []
        clients: dict[object, list[int]] = {}
        for position, span in enumerate(spans):
            clients.setdefault(span.resource.attributes.get("app.installation.id"), []).append(position)  # None: CI
        n_parts = min(self._count, max(1, len(clients) // CLIENTS_PER_LANE))
        parts: list[list[int]] = [[] for _ in range(n_parts)]
        for n, positions in enumerate(clients.values()):
            parts[n % n_parts] += positions
        return parts

    def close(self, *, finish: bool) -> None:
        """Let the threads end. finish: wait for them; else give up what has not begun, and do not wait."""
        self._executor.shutdown(wait=finish, cancel_futures=not finish)


def _merge(parts: Sequence[Sequence[int]], verdicts: Sequence[Verdict]) -> Verdict:
    """Return one verdict about all *parts*, with the positions of the whole batch.

    Status and waiting time are those of parts that were not sent, if there are any: they are why the batch is to come
    again.
    """
    dropped: Counter[str] = Counter()
    for verdict in verdicts:
        dropped.update(verdict.dropped)
    telling = [verdict for verdict in verdicts if verdict.unsent] or verdicts
    waits_s = [verdict.retry_after_s for verdict in telling if verdict.retry_after_s is not None]
    pairs = list(zip(parts, verdicts, strict=True))
    return Verdict(
        unsent=tuple(part[i] for part, verdict in pairs for i in verdict.unsent),
        retry_after_s=max(waits_s, default=None),
        dropped=dict(dropped),
        status=next((verdict.status for verdict in telling if verdict.status is not None), None),
        skipped=sum(verdict.skipped for verdict in verdicts),
        gone={part[i]: reason for part, verdict in pairs for i, reason in verdict.gone.items()},
        reason=next((verdict.reason for verdict in telling if verdict.reason), ""),
        wrong_settings=any(verdict.wrong_settings for verdict in telling),
    )
