"""What `count` and `action` cost a program that is running, in time and memory."""

import json
import subprocess

from . import lab

COUNT_US, ACTION_US = 1.0, 20.0  # promised
GROWTH_KB = 256  # what an allocator may keep; a leak of one byte per count would be 10 MB
FIRST, CALLS = 1_000, 20_000  # counts of which the instructions are counted: after the first
FEW, MANY = "10 thousand", "10 million"


def measure(here, mode):
    """Return what programs/running.py found, in that mode of consent."""
    env = here.ours(here.home(), mode, OTEL_USAGE_SEND_DELAY_S="3000")
    done = subprocess.run(
        [lab.PYTHON, lab.script("running")], env=env, capture_output=True, text=True, timeout=600, check=True
    )
    return json.loads(done.stdout)


def count_instructions(here, mode):
    """Return the instructions of one count(), and of one turn of the loop around it."""
    env = here.ours(here.warm_home(due=False), mode)
    counts = [lab.instructions("running", env, [str(n)]) for n in (FIRST, FIRST + CALLS)]
    return None if None in counts else (counts[1] - counts[0]) / CALLS


def main():
    """Print the table."""
    with lab.Lab() as here:
        on, off = measure(here, "on"), measure(here, "off")
        on["count"], off["count"] = count_instructions(here, "on"), count_instructions(here, "off")
    if not on["recording"] or off["recording"]:
        raise RuntimeError("did not record when on, or did when off")
    rows = []
    for what, key, promised in (
        ("count(), one field, µs", "count_us", COUNT_US),
        ("the same, best of 50 batches, µs", "best_us", COUNT_US),
        ("action(), one field, µs", "action_us", ACTION_US),
        ("with action(), one field, µs", "context_us", ACTION_US),
        ("action() and its share of the flush, µs", "flushed_us", ACTION_US),
    ):
        rows.append([what, f"{on[key]:.2f}", f"≤ {promised:.0f}", lab.ok(on[key], promised), f"{off[key]:.2f}"])
    if on["count"] is not None:
        rows.append(["count(), one field, instructions", f"{on['count']:,.0f}", "", "", f"{off['count']:,.0f}"])
    rows.append([f"memory after {FEW} counts, MB", f"{on['few_kb'] / 1024:.1f}"])
    same = lab.ok(on["many_kb"] - on["few_kb"], GROWTH_KB)
    rows.append([f"memory after {MANY} counts, MB", f"{on['many_kb'] / 1024:.1f}", "the same", same])
    lab.table(
        "Running: what one call costs a program that is running",
        ["", "recording", "promised", "", "off"],
        rows,
        [
            "CPU time; medians of 50 batches of 10,000 counts or 200 actions.",
        ],
    )


if __name__ == "__main__":
    main()
