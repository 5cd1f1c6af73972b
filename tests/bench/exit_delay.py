"""How long one command takes when the place its telemetry goes to is well, dead, silent, slow or unknown."""

import contextlib
import random
import time

from . import lab

RATIO = 1.05  # promised, to the same with a healthy endpoint
ROUNDS = 31
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
PEERS = (
    ("OpenTelemetry SDK, batch, OTLP/HTTP", "otel_sdk"),
    ("contrib click instrumentation", "otel_click"),
    ("segment-analytics-python", "segment_sdk"),
    ("posthog", "posthog_sdk"),
)


def time_ours(here):
    """Return {(what, condition): [seconds]} of our program, and of the one that is not instrumented.

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
        entries.append((("nothing", what), "plain_click", env, None, pipe))
    time.sleep(2)  # the senders have reached their endpoints
    working = here.senders()
    times = {entry[0]: [] for entry in entries}
    chance = random.Random(1)
    for at in range(-1, ROUNDS):
        here.end_senders(but=working)
        for key, name, env, home, pipe in chance.sample(entries, len(entries)):
            if home:
                lab.make_due(home)
            time.sleep(PAUSE_S)
            seconds, _ = lab.timed(name, env, pipe=pipe)
            if at >= 0:
                times[key].append(seconds)
    here.end_senders()
    return times


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
        times = {**time_ours(here), **time_peers(here)}
    heads = ["seconds", *[what for what, *_ in CONDITIONS]]
    rows, ratios = [], []
    for what in ("otel-usage", *[what for what, _ in PEERS], "nothing"):
        medians = [
            None if None in times[what, condition] else lab.median(times[what, condition])
            for condition, *_ in CONDITIONS
        ]
        rows.append([what, *[f">{LIMIT_S:.0f}" if one is None else f"{one:.3f}" for one in medians]])
        against = [None if one is None else one / medians[0] for one in medians]
        cells = [f">{LIMIT_S / medians[0]:.0f}" if one is None else f"{one:.2f}" for one in against]
        if what == "otel-usage":
            # A pipe costs every program something: what it costs ours is compared with what it costs none.
            plain = lab.median(times["nothing", CONDITIONS[-1][0]]) / lab.median(times["nothing", CONDITIONS[0][0]])
            judged = [*against[:-1], against[-1] / max(1.0, plain)]
            cells = [f"{cell} {lab.ok(one, RATIO)}" for cell, one in zip(cells, judged)]  # noqa: B905
        ratios.append([what, *cells])
    lab.table("Exit delay: wall time of one command, by the state of the endpoint", heads, rows)
    lab.table(
        "Exit delay: ratio to healthy",
        ["", *heads[1:]],
        ratios,
        [
            f"Promised: ≤ {RATIO}. Ours: median of {ROUNDS} runs, a sender being at work on that endpoint meanwhile; others:",
            f"median of {PEER_ROUNDS} where healthy, else one run, ended after {LIMIT_S:.0f} s. The row of nothing shows the noise, and",
            "what a pipe costs any program.",
        ],
    )


if __name__ == "__main__":
    main()
