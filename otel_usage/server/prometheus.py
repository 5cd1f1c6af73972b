"""The relay's own metrics: what it publishes of itself, in Prometheus' text format.

FORMAT  Prometheus text exposition format 0.0.4: for each metric ``# HELP`` and ``# TYPE``, then a sample for each set of
        labels. Buckets of a histogram are cumulative: each counts what is at most its bound ``le``.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

PREFIX = "otel_usage_relay_"

HELP = {
    "requests_total": "requests, by destination (* for all), signal and status of the answer",
    "received_total": "spans and data points received, repetitions included",
    "sent_total": "spans and data points that the destination took",
    "known_total": "spans and data points received again after they were delivered, and not sent again",
    "again_total": "spans and data points that clients were told to send again",
    "skipped_total": "spans and data points that say nothing, or are not meant for the destination: no loss",
    "failures_total": "deliveries that left something to be sent again, or failed, by reason",
    "handshake_failures_total": "TLS handshakes that failed, by reason",
    "rejected_total": "spans and data points that will never be sent, by reason",
    "request_duration_seconds": "time until a request to a destination was answered",
    "waiting_requests": "requests read and not answered",
    "reading_requests": "requests whose body is being read",
    "held_bytes": "decompressed bodies held",
    "window_events": "ids of events remembered as delivered",
    "failing": "1 if the last delivery to the destination has to be tried again",
    "process_resident_memory_bytes": "resident memory",
    "process_cpu_seconds_total": "CPU time used",
    "process_open_fds": "open file descriptors",
}
_HISTOGRAM = "request_duration_seconds"

Labels = tuple[tuple[str, str], ...]


class RelayMetrics:
    """Counters, gauges and one histogram, by name and labels. Concurrency: safe in threads.

    >>> metrics = RelayMetrics()
    >>> metrics.add("sent_total", 3, destination="ga4")
    >>> metrics.value("sent_total")
    3
    """

    def __init__(self) -> None:
        self._values: dict[tuple[str, Labels], float] = {}
        self._durations: dict[Labels, tuple[list[int], list[float]]] = {}  # (requests by bucket, [seconds in all])
        self._lock = threading.Lock()

    def add(self, name: str, n: float = 1, **labels: str) -> None:
        """Add *n* to a counter."""
        key = (name, tuple(labels.items()))
        with self._lock:
            self._values[key] = self._values.get(key, 0) + n

    def put(self, name: str, n: float, **labels: str) -> None:
        """Set a gauge."""
        with self._lock:
            self._values[name, tuple(labels.items())] = n

    def observe(self, duration_s: float, **labels: str) -> None:
        """Add the duration of one request to the histogram."""
        with self._lock:
            counts, total = self._durations.setdefault(tuple(labels.items()), ([0] * (len(BOUNDS_S) + 1), [0.0]))
            counts[bisect_left(BOUNDS_S, duration_s)] += 1
            total[0] += duration_s

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of a counter over all series with *labels*."""
        wanted = set(labels.items())
        with self._lock:
            return sum(n for (other, series), n in self._values.items() if other == name and wanted <= set(series))

    def format(self) -> str:
        """Return all metrics as text, with those of this process as the system has them."""
        for name, n in _measure_process():
            self.put(name, n)
        lines: list[str] = []
        with self._lock:
            for name, meaning in HELP.items():
                kind = "histogram" if name == _HISTOGRAM else "counter" if name.endswith("_total") else "gauge"
                full = name if name.startswith("process_") else PREFIX + name
                lines += [f"# HELP {full} {meaning}", f"# TYPE {full} {kind}"]
                if name == _HISTOGRAM:
                    for labels, (counts, total) in self._durations.items():
                        below = 0
                        for bound, n in zip((*map(str, BOUNDS_S), "+Inf"), counts, strict=True):
                            below += n
                            lines.append(f"{full}_bucket{_format_labels((*labels, ('le', bound)))} {below}")
                        lines += [
                            f"{full}_sum{_format_labels(labels)} {total[0]:g}",
                            f"{full}_count{_format_labels(labels)} {below}",
                        ]
                else:
                    lines += [
                        f"{full}{_format_labels(series)} {n:.15g}"
                        for (other, series), n in self._values.items()
                        if other == name
                    ]
        return "\n".join(lines) + "\n"


def _format_labels(labels: Labels) -> str:
    # Values are names of destinations, reasons and statuses: nothing to escape. But a reason may come from somebody
    # else's exporter, and a label that would need escaping is left out.
    pairs = ",".join(f'{key}="{value}"' for key, value in labels if '"' not in value and "\\" not in value)
    return "{" + pairs + "}" if pairs else ""


def _measure_process() -> list[tuple[str, float]]:
    samples = [("process_cpu_seconds_total", sum(os.times()[:2]))]
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            samples.append(("process_resident_memory_bytes", int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")))
        samples.append(("process_open_fds", len(os.listdir("/proc/self/fd"))))
    except (OSError, ValueError, IndexError):  # not Linux
        pass
    return samples
