"""What instrumentation adds to a run: instructions and wall time, ours beside others'."""

import os
import time

from . import lab

RECORDED, OFF, WALL_MS = 5_000_000, 1_500_000, 2.0  # promised; the goal for RECORDED is 3,000,000
PAIRS, PEER_PAIRS = 41, 21
SETTLE_S = 0.04  # until a sender that was started sleeps

# (what, program, base, mode of ours, is a sender due, instructions promised)
OURS = (
    ("recorded, sender started (click)", "ours_click", "plain_click", "on", True, RECORDED),
    ("recorded, sender under way (click)", "ours_click", "plain_click", "on", False, RECORDED),
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

    jobs = {(name, phase): (plain, name, phase) for name in ("plain_click", "plain_argparse") for phase in lab.PHASES}
    jobs.update({(row[0], phase): (ours, row[1], row[3], row[4], phase) for row in OURS for phase in lab.PHASES})
    # Nobody will miss a quarter million in hundreds: one phase.
    jobs.update({(name, lab.PHASES[0]): (peer, name, lab.PHASES[0]) for _, name in PEERS})
    found = dict(zip(jobs, lab.together([lambda job=job: job[0](*job[1:]) for job in jobs.values()])))  # noqa: B905
    if None in found.values():
        return [None] * (len(OURS) + len(PEERS))
    added = [
        round(sum(found[what, phase] - found[base, phase] for phase in lab.PHASES) / len(lab.PHASES))
        for what, _, base, *_ in OURS
    ]
    return added + [found[name, lab.PHASES[0]] - found["plain_click", lab.PHASES[0]] for _, name in PEERS]


def time_pairs(here, name, base, env, pairs, ready=lambda: None):
    """Return (median of the seconds added, median ratio) of runs of *name*, each beside one of *base*."""
    added, ratios = [], []
    for number in range(pairs + 1):
        ready()
        times = {}
        for one in (base, name) if number % 2 else (name, base):
            times[one] = lab.timed(one, env)
            if one == name:
                time.sleep(SETTLE_S)
        if number:  # the first run warms up
            added.append(times[name] - times[base])
            ratios.append(times[name] / times[base])
        here.end_senders()
    return lab.median(added), lab.median(ratios)


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
        here.end_senders()
        times = []
        for _, name, base, mode, due, _ in OURS:
            home = here.warm_home(due=due)
            here.end_senders()
            env = here.ours(home, mode, OTEL_USAGE_SEND_DELAY_S="3000")
            ready = (lambda home=home: lab.make_due(home)) if due else (lambda: None)
            times.append(time_pairs(here, name, base, env, 11 if mode == "log" else PAIRS, ready))
        times += [time_pairs(here, name, "plain_click", here.env, PEER_PAIRS) for _, name in PEERS]
    rows = []
    for at, (what, *_) in enumerate((*OURS, *PEERS)):
        count, (added, ratio) = counts[at], times[at]
        own = at < len(OURS)
        promised = OURS[at][5] if own else None
        rows.append(
            [
                ("otel-usage: " if own else "") + what,
                "no valgrind" if count is None else f"{count:+,}",
                lab.ok(count, promised) if promised else "",
                f"{added * 1e3:+.1f}",
                lab.ok(added * 1e3, WALL_MS) if promised else "",
                f"{ratio:.2f}",
                "not yet" if own and sender is None else f"{sender[0]:.2f}" if own and OURS[at][3] == "on" else "-",
                "not yet" if own and sender is None else f"{sender[1]:.0f}" if own and OURS[at][3] == "on" else "-",
            ]
        )
    lab.table(
        "Foreground: what is added to one run of the same program, the endpoint being healthy",
        ["", "instructions", "", "wall ms", "", "ratio", "sender CPU s", "sender MB"],
        rows,
        [
            f"Promised: recorded ≤ {RECORDED:,} instructions, off ≤ {OFF:,}, both ≤ {WALL_MS:.0f} ms.",
            f"Wall: median of {PAIRS} pairs of runs (others {PEER_PAIRS}). The sender works later, in the background, for all runs",
            "of 10 s at once; others work in the program.",
        ],
    )


if __name__ == "__main__":
    main()
