"""How many interleavings of senders, answers and deaths hold the invariants of tests/delivery/world.py, and how long one takes.

``python -m tests.bench.model [how many]``; 20,000 unless it says otherwise, in as many processes as there are processors.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.delivery.world import random_life

LIVES = 20_000
CHUNK = 500


def run_chunk(first: int) -> int:
    """Run the lives of `CHUNK` seeds; return how many that were. Raises AssertionError, which names the seed."""
    for seed in range(first, first + CHUNK):
        random_life(seed)
    return CHUNK


def main(lives: int = LIVES) -> None:
    """Run *lives* interleavings, and print how long they took."""
    began_s = time.monotonic()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        n = sum(pool.map(run_chunk, range(0, lives, CHUNK)))
    took_s = time.monotonic() - began_s
    print(f"{n:,} interleavings, no invariant broken; {took_s:.0f} s, {1e3 * took_s / n:.1f} ms each")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else LIVES)
