"""Find what a program does only with us, although no two runs of a program are quite alike.

ALGORITHM

1. Run the program with us and without. What it did with us and not without is suspected.
2. Nothing is suspected: done. Otherwise run both again, at most `MAX_PAIRS` times. Suspected stays only what *all* runs
   with us did, and *none* without.
3. Every observation counts twice: as itself, and as one of its sort, "a file written in this folder", without the name.
   Names made at random (a temporary file, a port) are new in every run, with us and without, so that no two runs share
   the observation itself; but its sort is seen as often in both, and is no difference. One file more than without us is.
4. Of a suspected sort the last run with us names its observations, so that a reader sees more than a sort.

Whatever is only read counts once, however often it is: the commands that we mount into a parser look for translations,
as the program's own do.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable

from .watch import Observation

MAX_PAIRS = 4  # counts that vary by chance are larger in all 4 runs with us than in all 4 without in 1 of 70 cases
ANY = "*"  # stands for a name, in the sort of an observation


def observed_only_with_us(
    run: Callable[[bool], Iterable[Observation]], is_allowed: Callable[[Observation], bool]
) -> list[Observation]:
    """Return what all runs with us did, and none without.

    run: runs the program once and returns what it did; its argument says whether an inert module is in our place.
    is_allowed: whether something that a run with us did need not be counted.
    """
    with_us: Counter[Observation] | None = None
    without_us: Counter[Observation] = Counter()
    for _ in range(MAX_PAIRS):
        last_run = _count(observation for observation in run(False) if not is_allowed(observation))
        with_us = last_run if with_us is None else with_us & last_run  # the lowest count of each
        without_us |= _count(run(True))  # the highest count of each
        suspected = with_us - without_us
        if not suspected:
            return []
    named = [observation for observation in suspected if observation.words[0] != ANY]
    sorts = set(suspected) - set(named) - {_sort_of(observation) for observation in named}
    return named + [seen for seen in last_run if seen not in without_us and _sort_of(seen) in sorts]


def _count(observations: Iterable[Observation]) -> Counter[Observation]:
    counts: Counter[Observation] = Counter()
    for observation in observations:
        if observation.reads:
            counts[observation] = 1
            continue
        counts[observation] += 1
        sort = _sort_of(observation)
        if sort is not None:
            counts[sort] += 1
    return counts


def _sort_of(observation: Observation) -> Observation | None:
    """Return what *observation* has in common with those that differ by chance: names, ports. None for an exit code."""
    if observation.kind == "exit":
        return None
    words = observation.words[1:] if observation.kind == "file" else ()
    folders = [os.path.dirname(word) for word in words]
    return Observation(observation.kind, (ANY, observation.words[0], *folders))
