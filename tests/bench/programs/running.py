"""A program that runs on: prints as JSON what `count` and `action` cost it. Not a tool; started by bench/running.py.

Times are CPU times: what others do on the machine is not part of a call. With a number as argument
it only does so many counts.
"""

import json
import os
import statistics
import sys
import time

import otel_usage

usage = otel_usage.init(
    "mycli",
    version="1.4",
    consent="opt-out",
    destinations={"otlp": os.environ["BENCH_ENDPOINT"]},
    schema={
        "report.upload": {"why": "is uploading worth keeping?", "fields": {"format": ["pdf", "html"]}},
        "events.handled": {"kind": "count", "why": "load per channel", "fields": {"channel": ["slack", "discord"]}},
    },
)
BATCHES, COUNTS, ACTIONS = 50, 10_000, 200  # fewer actions than are kept between two flushes
FEW, MANY = 10_000, 10_000_000


def resident_kb():
    """Return the memory this process holds."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def counts(n):
    """Return µs per count, over *n* of them."""
    start = time.process_time()
    for _ in range(n):
        otel_usage.count("events.handled", channel="slack")
    return (time.process_time() - start) / n * 1e6


def nothing(n):
    """Return µs per turn of an empty loop."""
    start = time.process_time()
    for _ in range(n):
        pass
    return (time.process_time() - start) / n * 1e6


def actions(n):
    """Return µs per action, and µs per action with the flush that follows."""
    start = time.process_time()
    for _ in range(n):
        otel_usage.action("report.upload", format="pdf")
    done = time.process_time()
    otel_usage.flush()
    return (done - start) / n * 1e6, (time.process_time() - start) / n * 1e6


def contexts(n):
    """Return µs per action used as a context manager."""
    start = time.process_time()
    for _ in range(n):
        with otel_usage.action("report.upload", format="pdf"):
            pass
    done = time.process_time()
    otel_usage.flush()
    return (done - start) / n * 1e6


def main():
    """Measure."""
    if sys.argv[1:]:
        counts(int(sys.argv[1]))
        return
    found = {"recording": usage.recording}
    median = statistics.median
    loop = median([nothing(COUNTS) for _ in range(BATCHES)])
    times = [counts(COUNTS) for _ in range(BATCHES)]
    found["count_us"], found["best_us"] = median(times) - loop, min(times) - loop
    both = [actions(ACTIONS) for _ in range(BATCHES)]
    found["action_us"], found["flushed_us"] = median([one for one, _ in both]), median([one for _, one in both])
    found["context_us"] = median([contexts(ACTIONS) for _ in range(BATCHES)])
    if usage.recording:
        otel_usage.flush()
        counts(FEW)
        found["few_kb"] = resident_kb()
        counts(MANY)
        found["many_kb"] = resident_kb()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
