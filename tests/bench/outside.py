"""Real programs, run twice without us and once with: what differs, and what was recorded.

The programs and what their runs truly are stand in tests/outside/real_programs.txt; `make programs` installs them. Those that
are not installed are left out. `make bench-outside`.
"""

import os
import tempfile
from pathlib import Path

from tests.outside import real_programs

from . import lab

COLUMNS = ("unchanged", "no typed word", "one run", "command", "options", "outcome", "code known", "code wrong")
OLD = ("argparse", "click", "typer")
# Promised: the least share of runs for which it holds, of programs on the frameworks above, and of all others.
PROMISED = {
    "unchanged": (1.0, 1.0),
    "no typed word": (1.0, 1.0),
    "one run": (0.99, 0.99),
    "command": (0.98, 0.9),
    "code known": (0.93, 0.93),
}


def share(pair):
    """Return a pair of (right, of) in words."""
    right, of = pair
    return f"{right}/{of} {right / of:.0%}" if of else "-"


def main():
    """Print the tables."""
    cases = list(real_programs.read_cases(real_programs.CASES.read_text(encoding="utf-8")))
    ways = os.environ.get("BENCH_WAYS", ",".join(real_programs.WAYS)).split(",")
    results, rows = [], []
    with tempfile.TemporaryDirectory() as folder:
        for program, own, (arrived, leaked) in real_programs.judge_all(cases, Path(folder), ways):
            results += own
            recorded = sum(len(one.recorded) for one in own)
            if arrived != recorded or leaked:
                rows.append([program, f"{arrived} of {recorded} arrived", "a typed word was sent" if leaked else ""])
            rows += [[program, str(one)] for one in own if not all(one.judged.values())]
    for row in rows:
        print(" ".join(row))
    fractions = real_programs.fractions(results)
    promises = []
    for at, name in enumerate(("argparse, click and typer", "the others")):
        own = [one for one in results if (one.case.framework in OLD) != bool(at)]
        sums = real_programs.fractions(own, by_framework=False)
        for way, row in sums.items():
            for what, least in PROMISED.items():
                right, of = row[what]
                promises.append(
                    [
                        way[0],
                        name,
                        what,
                        share(row[what]),
                        f">= {least[at]:.0%}",
                        "held" if right >= least[at] * of else "NOT HELD",
                    ]
                )
            promises.append(
                [
                    way[0],
                    name,
                    "code wrong",
                    share(row["code wrong"]),
                    "0",
                    "held" if not row["code wrong"][0] else "NOT HELD",
                ]
            )
    lab.table("What is promised of them", ["way", "framework", "what", "is", "promised", ""], promises)
    lab.table(
        f"Programs that know nothing of us: {len({one.case.program for one in results})} programs, {len(results)} runs",
        ["way", "framework", *COLUMNS],
        [[*key, *(share(row[column]) for column in COLUMNS)] for key, row in sorted(fractions.items())],
        ["A run that is not wholly right stands above. Promised: unchanged and no typed word always, no wrong code."],
    )


if __name__ == "__main__":
    main()
