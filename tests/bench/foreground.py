"""What instrumentation adds to a run: instructions and wall time, ours beside others'."""

import os
import random
import time

from . import lab

RECORDED, CLICK, OFF, WALL_MS = (
    4_400_000,
    4_700_000,
    1_700_000,
    2.0,
)  # promised, on CPython 3.11; pythons.py has the others
DECISION = 300_000  # promised of it, for the decision whether anything may be recorded
PAIRS = {"plain_click": 41, "plain_argparse": 61, "peer": 21, "log": 11}
FEWEST, ROUNDS_S = 21, 75.0  # on a busy machine: no more rounds after so long, but so many
PAUSE_S = 0.03  # before every run: a sender started by the one before sleeps by then

# (what, program, base, mode of ours, is a sender due, instructions promised)
OURS = (
    ("recorded, sender started (click)", "ours_click", "plain_click", "on", True, CLICK),
    ("recorded, sender under way (click)", "ours_click", "plain_click", "on", False, CLICK),
    ("off (click)", "ours_click", "plain_click", "off", False, OFF),
    ("log: waits for the printer (click)", "ours_click", "plain_click", "log", False, None),
    ("recorded, sender started (argparse)", "ours_argparse", "plain_argparse", "on", True, RECORDED),
    ("recorded, sender under way (argparse)", "ours_argparse", "plain_argparse", "on", False, RECORDED),
    ("off (argparse)", "ours_argparse", "plain_argparse", "off", False, OFF),
)
PEERS = (
    ("OpenTelemetry SDK, batch, OTLP/HTTP", "otel_sdk"),
    ("contrib click instrumentation", "otel_click"),
    ("segment-analytics-python", "segment_sdk"),
    ("posthog", "posthog_sdk"),
)


def count_instructions(here):
    """Return instructions added: those of OURS, averaged over the phases of the garbage collector, then of PEERS."""

    def phases(row):
        return lab.PHASES if row[5] else lab.PHASES[:1]

    def ours(name, mode, due, phase):
        home = here.warm_home(due=due)
        env = here.ours(home, mode, BENCH_PHASE=str(phase), OTEL_USAGE_SEND_DELAY_S="3000")
        before = os.stat(lab.token(home)).st_mtime
        found = lab.instructions(name, env)
        if (os.stat(lab.token(home)).st_mtime != before) != due:
            raise RuntimeError(f"{name} in mode {mode} did not do what was to be measured")
        return found

    def peer(name, phase):
        endpoint = f"{here.env['BENCH_ENDPOINT']}/{name}{phase}"
        found = lab.instructions(name, {**here.env, "BENCH_ENDPOINT": endpoint, "BENCH_PHASE": str(phase)})
        if not any(path.startswith(f"/{name}{phase}/") for path in here.stats()):
            raise RuntimeError(f"{name} ended before anything arrived")
        return found

    def plain(name, phase):
        return lab.instructions(name, {**here.env, "BENCH_PHASE": str(phase)})

    # Nobody will miss a quarter million in hundreds: one phase. First, since they take longest.
    jobs = {(name, lab.PHASES[0]): (peer, name, lab.PHASES[0]) for _, name in PEERS}
    jobs.update(
        {(name, phase): (plain, name, phase) for name in ("plain_click", "plain_argparse") for phase in lab.PHASES}
    )
    jobs.update({(row[0], phase): (ours, row[1], row[3], row[4], phase) for row in OURS for phase in phases(row)})
    found = dict(zip(jobs, lab.together([lambda job=job: job[0](*job[1:]) for job in jobs.values()])))  # noqa: B905
    if None in found.values():
        return [None] * (len(OURS) + len(PEERS))
    added = [
        round(sum(found[row[0], phase] - found[row[2], phase] for phase in phases(row)) / len(phases(row)))
        for row in OURS
    ]
    return added + [found[name, lab.PHASES[0]] - found["plain_click", lab.PHASES[0]] for _, name in PEERS]


def decision_cost(here):
    """Return (instructions of one decision by a stored choice, of one by a variable that says off)."""
    home = here.warm_home(due=False)
    with open(os.path.join(home, "mycli", "consent"), "w", encoding="ascii") as file:
        file.write("on 1 1\n")
    costs = []
    for more in ({}, {"DO_NOT_TRACK": "1"}):
        env = {**here.env, "OTEL_USAGE_HOME": home, **more}
        once, never = (lab.instructions("deciding", {**env, "BENCH_TIMES": times}) for times in ("1", "0"))
        costs.append(None if once is None else once - never)
    return costs


def time_rounds(here, base):
    """Return {what: (median of wall seconds added, median ratio, median of CPU seconds added, rounds)}, against *base*.

    Every round runs all programs once, and *base* twice, in random order; a program is compared with the base of its
    round. "itself": one base against the other, which is how far the rest can be believed.
    """
    entries = []  # (what, program, environment, home to make due, rounds)
    for what, name, of, mode, due, _ in OURS:
        if of == base:
            home = here.warm_home(due=due)
            env = here.ours(home, mode, OTEL_USAGE_SEND_DELAY_S="3000")
            entries.append((what, name, env, home if due else None, PAIRS["log" if mode == "log" else base]))
    if base == "plain_click":
        entries += [(what, name, here.env, None, PAIRS["peer"]) for what, name in PEERS]
    entries += [(what, base, here.env, None, PAIRS[base]) for what in ("base", "itself")]
    times = {entry[0]: [] for entry in entries}
    chance = random.Random(1)
    start = time.monotonic()
    for at in range(-1, PAIRS[base]):
        if at >= FEWEST and time.monotonic() - start > ROUNDS_S:
            break
        here.end_senders()
        for what, name, env, home, rounds in chance.sample(entries, len(entries)):
            if at < rounds:
                if home:
                    lab.make_due(home)
                time.sleep(PAUSE_S)
                took = lab.timed(name, env)
                if at >= 0:  # the first round warms up
                    times[what].append(took)
    here.end_senders()
    results = {}
    for what, *_ in entries:
        bases = [((a[0] + b[0]) / 2, (a[1] + b[1]) / 2) for a, b in zip(times["base"], times["itself"])]  # noqa: B905
        if what == "itself":
            bases = times["base"]
        pairs = list(zip(times[what], bases))  # noqa: B905  as many as there are
        results[what] = (
            lab.median([own[0] - other[0] for own, other in pairs]),
            lab.median([own[0] / other[0] for own, other in pairs]),
            lab.median([own[1] - other[1] for own, other in pairs]),
            len(pairs),
        )
    return results


def sender_cost(here):
    """Return (CPU seconds, peak MB) of the sender with one run to send; None if there is no sender yet."""
    costs = []
    for _ in range(3):
        before = here.requests()
        env = here.ours(here.home(), OTEL_USAGE_SEND_DELAY_S="0")
        argv, environ, told = here.captured_sender(env)
        cost = lab.cost(argv, environ, told)
        if cost["status"] or here.requests() == before:
            return None
        costs.append((cost["cpu_s"], cost["peak_mb"]))
    return sorted(costs)[1]


def main():
    """Print the table."""
    with lab.Lab() as here:
        sender = sender_cost(here)
        counts = count_instructions(here)
        decisions = decision_cost(here)
        here.end_senders()
        click, argparse = time_rounds(here, "plain_click"), time_rounds(here, "plain_argparse")
    times = [(click if base == "plain_click" else argparse)[what] for what, _, base, *_ in OURS]
    times += [click[what] for what, _ in PEERS] + [click["itself"], argparse["itself"]]
    names = ["otel-usage: " + row[0] for row in OURS] + [what for what, _ in PEERS]
    names += ["nothing (click): noise", "nothing (argparse): noise"]
    rows = []
    for at, (what, (added_s, ratio, cpu_s, rounds)) in enumerate(zip(names, times)):  # noqa: B905
        count = counts[at] if at < len(counts) else 0
        own = OURS[at] if at < len(OURS) else None
        promised = own and own[5]
        background = ["-", "-"]
        if own and own[3] == "on":
            background = [f"{sender[0]:.2f}", f"{sender[1]:.0f}"] if sender else ["not yet", "not yet"]
        rows.append(
            [
                what,
                "no valgrind" if count is None else f"{count:+,}",
                lab.ok(count, promised) if promised else "",
                f"{added_s * 1e3:+.1f}",
                lab.ok(added_s * 1e3, WALL_MS) if promised else "",
                f"{ratio:.2f}",
                f"{cpu_s * 1e3:+.1f}",
                rounds,
                *background,
            ]
        )
    lab.table(
        "Foreground: what is added to one run of the same program, the endpoint being healthy",
        ["", "instructions", "", "wall ms", "", "ratio", "CPU ms", "pairs", "sender CPU s", "sender MB"],
        rows,
        [
            f"Promised: on CPython 3.11: recorded ≤ {RECORDED:,} instructions, click {CLICK:,}, off ≤ {OFF:,}, both ≤ {WALL_MS:.0f} ms.",
            f"Of these the decision: {decisions[0]:,} by a stored choice, {decisions[1]:,} by DO_NOT_TRACK; promised "
            f"≤ {DECISION:,}: {lab.ok(max(decisions), DECISION)}."
            if decisions[0] is not None
            else "",
            "Wall, ratio, CPU: medians of pairs of runs. A sender works later, in the background, for all runs of 10 s",
            "at once; others work in the program, at its exit.",
        ],
    )


if __name__ == "__main__":
    main()
