"""How long one command takes when the place its telemetry goes to is well, dead, silent, slow or unknown."""

import contextlib
import random
import time

from . import lab

RATIO = 1.05  # promised, to the same with a healthy endpoint
ROUNDS, ROUNDS_S = 101, 75  # as many as fit into the time
PEER_ROUNDS = 3  # they mostly wait
LIMIT_S = 30.0
PAUSE_S = 0.03
CONDITIONS = (
    # (what, manner of the sink, through a pipe)
    ("healthy", "healthy", False),
    ("refused", "refused", False),
    ("silent", "silent", False),
    ("after 5 s", "slow", False),
    ("DNS fails", "dns", False),
    ("healthy, | cat", "healthy", True),
)
UNTOUCHED = ("healthy", "silent", "healthy, | cat")  # measured for the program that is not instrumented, too
PEERS = (
    ("OpenTelemetry SDK, batch, OTLP/HTTP", "otel_sdk"),
    ("contrib click instrumentation", "otel_click"),
    ("segment-analytics-python", "segment_sdk"),
    ("posthog", "posthog_sdk"),
)


def time_ours(here):
    """Return {(what, condition): [seconds]} of our program, and of the one that is not instrumented; our instructions.

    In every condition a sender is at work on the endpoint while the runs are timed, and every run starts another,
    which sleeps.
    """
    entries = []
    for what, manner, pipe in CONDITIONS:
        home = here.warm_home(due=True)
        env = here.ours(home, OTEL_USAGE_SEND_DELAY_S="0", BENCH_ENDPOINT=here.endpoint(manner))
        lab.timed("ours_click", env)
        env["OTEL_USAGE_SEND_DELAY_S"] = "3000"
        entries.append((("otel-usage", what), "ours_click", env, home, pipe))
        if what == CONDITIONS[0][0]:  # twice: all others are divided by it
            entries.append((("otel-usage", what), "ours_click", env, home, pipe))
        if what in UNTOUCHED:
            entries.append((("nothing", what), "plain_click", env, None, pipe))
    time.sleep(2)  # the senders have reached their endpoints
    working = here.senders()
    times = {entry[0]: [] for entry in entries}
    chance = random.Random(1)
    start = time.monotonic()
    for at in range(-1, ROUNDS):
        if time.monotonic() - start > ROUNDS_S:
            break
        here.end_senders(but=working)
        for key, name, env, home, pipe in chance.sample(entries, len(entries)):
            if home:
                lab.make_due(home)
            time.sleep(PAUSE_S)
            seconds, _ = lab.timed(name, env, pipe=pipe)
            if at >= 0:
                times[key].append(seconds)
    counts = lab.together(
        [
            lambda entry=entry: lab.instructions(entry[1], entry[2], pipe=entry[4])
            for entry in {entry[0]: entry for entry in entries}.values()
            if entry[3] and not lab.make_due(entry[3])
        ]
    )
    here.end_senders()
    return times, counts


def time_peers(here):
    """Return {(what, condition): [seconds]}; None for a run that was ended at LIMIT_S."""

    def one(name, manner, pipe):
        env = {**here.env, "BENCH_ENDPOINT": here.endpoint(manner)}
        return lab.timed(name, env, pipe=pipe, limit_s=LIMIT_S)[0]

    times = {}
    waits = []
    for what, name in PEERS:
        for condition, manner, pipe in CONDITIONS:
            if manner == "healthy":  # short: one at a time
                times[what, condition] = [one(name, manner, pipe) for _ in range(PEER_ROUNDS)]
            else:
                waits.append(((what, condition), name, manner, pipe))
    found = lab.together([lambda wait=wait: one(*wait[1:]) for wait in waits], workers=4)
    for (key, *_), seconds in zip(waits, found):  # noqa: B905
        times[key] = [seconds]
    return times


def main():
    """Print the tables."""
    with lab.Lab() as here, contextlib.ExitStack() as stack:
        stack.callback(here.end_senders)
        times, counts = time_ours(here)
        times.update(time_peers(here))
    heads = [what for what, *_ in CONDITIONS]
    medians = {key: None if None in found else lab.median(found) for key, found in times.items()}
    rows, ratios = [], []
    for what in ("otel-usage", *[what for what, _ in PEERS], "nothing"):
        seconds = [medians.get((what, condition), "") for condition in heads]
        against = [one and one / seconds[0] for one in seconds]
        rows.append(
            [what, *[one if one == "" else f">{LIMIT_S:.0f}" if one is None else f"{one:.3f}" for one in seconds]]
        )
        cells = [
            one if one == "" else f">{LIMIT_S / seconds[0]:.0f}" if one is None else f"{one:.2f}" for one in against
        ]
        if what == "otel-usage":
            cells = [f"{cell} {lab.ok(one, RATIO)}" for cell, one in zip(cells, against)]  # noqa: B905
        ratios.append([what, *cells])
    if None not in counts:
        # What does not depend on the machine: the program executes the same, whatever the endpoint does.
        ratios.insert(
            1, ["  instructions of it", *[f"{one / counts[0]:.3f} {lab.ok(one / counts[0], RATIO)}" for one in counts]]
        )
    rounds = len(times["otel-usage", "silent"])
    lab.table("Exit delay: wall time of one command in seconds, by the state of the endpoint", ["", *heads], rows)
    lab.table(
        "Exit delay: ratio to healthy",
        ["", *heads],
        ratios,
        [
            f"Promised: ≤ {RATIO}. Ours: medians of {rounds} runs, a sender being at work on that endpoint meanwhile.",
            f"Others: median of {PEER_ROUNDS} where healthy, else one run, ended after {LIMIT_S:.0f} s. Nothing: the",
            "same program without instrumentation; its ratios are the noise, and what a pipe costs any program.",
        ],
    )


if __name__ == "__main__":
    main()
