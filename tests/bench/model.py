"""How many interleavings of senders, answers and deaths hold the invariants of tests/delivery/world.py, and what they came to.

``python -m tests.bench.model [how many [first seed]]``; 20,000 from seed 0 unless it says otherwise, in as many processes as
there are processors. A line of progress goes to stderr every `PROGRESS_S`. A run of a million is in docs/benchmarks.md.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.delivery.world import random_life

LIVES = 20_000
CHUNK = 500
PROGRESS_S = 60.0


def prepare() -> None:
    """Make a process fit for many lives: with few variables to look through, and little for the garbage collector."""
    for name in set(os.environ) - {"HOME", "PATH"}:
        del os.environ[name]
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


def run_chunk(first: int) -> Counter[str]:
    """Run the lives of `CHUNK` seeds; return what they came to. Raises AssertionError, which names the seed."""
    events = Counter[str]()
    for seed in range(first, first + CHUNK):
        events.update(random_life(seed).events)
    return events


def main(lives: int = LIVES, first_seed: int = 0) -> None:
    """Run *lives* interleavings, and print how long they took, and how often they came to what."""
    began_s = shown_s = time.monotonic()
    events, n = Counter[str](), 0
    with ProcessPoolExecutor(os.cpu_count(), initializer=prepare) as pool:
        chunks = [pool.submit(run_chunk, first) for first in range(first_seed, first_seed + lives, CHUNK)]
        for chunk in as_completed(chunks):
            events.update(chunk.result())
            n += CHUNK
            if time.monotonic() - shown_s > PROGRESS_S:
                shown_s = time.monotonic()
                print(f"{n:,} of {lives:,}, {shown_s - began_s:.0f} s", file=sys.stderr, flush=True)
    took_s = time.monotonic() - began_s
    cpu_s = sum(os.times()[:4])
    print(f"{n:,} interleavings, seeds {first_seed:,} to {first_seed + n - 1:,}, no invariant broken")
    print(f"{took_s:.0f} s, {cpu_s:.0f} s of CPU, {1e3 * cpu_s / n:.1f} ms each")
    for event, count in sorted(events.items()):
        print(f"  {event:40} {count:>12,}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
