"""How fast a sender clears a spool in which 100,000 runs wait, and with how much memory."""

import os
import re
import time

from . import lab

RUNS = 100_000
RATE, PEAK_MB = 5_000, 150  # promised: runs per second on one core, MB
SINK_CORE, SENDER_CORE = (1, 0) if (os.cpu_count() or 1) > 1 else (0, 0)


def fill(folder, runs):
    """Make copies of the one run that waits in *folder*, *runs* in all, each with ids and times of its own."""
    (only,) = os.listdir(folder)
    with open(os.path.join(folder, only), "rb") as file:
        text = file.read()
    text = text.replace(b"%", b"%%")
    parts = re.split(rb'("traceId":"|","spanId":"|"startTimeUnixNano":"|"endTimeUnixNano":")', text)
    rests = [re.sub(rb"^\w+", b"", part, count=1) for part in parts[2::2]]
    if len(rests) != 4:
        raise RuntimeError(f"not one span: {text!r}")
    shape = parts[0] + b"".join(
        key + value + rest
        for key, value, rest in zip(parts[1::2], (b"%032x", b"%016x", b"%d", b"%d"), rests)  # noqa: B905
    )
    now = time.time_ns()
    for at in range(1, runs):
        start = now - (runs - at) * 1_000_000
        trace = int.from_bytes(os.urandom(16), "big") | 1
        path = f"{folder}/{start:016x}-{at:016x}.traces.jsonl"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, shape % (trace, at, start, start + 900_000))
        os.close(descriptor)


def main():
    """Print the table."""
    with lab.Lab(sink_core=SINK_CORE) as here:
        home = here.home()
        argv, environ, told = here.captured_sender(here.ours(home, OTEL_USAGE_SEND_DELAY_S="0"))
        new = os.path.join(home, "mycli", "1", "new")
        fill(new, RUNS)
        cost = lab.cost(argv, environ, told, core=SENDER_CORE)
        left, stats = len(os.listdir(new)), here.stats()
    requests, size, arrived = stats.get("/v1/traces", [0, 0, 0])
    rate, cpu_rate = arrived / cost["wall_s"], arrived / cost["cpu_s"]
    lab.table(
        f"Drain: a sender on one core, {RUNS:,} runs waiting, a loopback receiver on another core",
        ["", "measured", "promised", ""],
        [
            ["runs arrived", f"{arrived:,}", f"{RUNS:,}", "ok" if arrived == RUNS and not left else "WRONG"],
            ["runs/s", f"{rate:,.0f}", f"≥ {RATE:,}", "ok" if rate >= RATE else "BELOW"],
            ["runs per CPU second", f"{cpu_rate:,.0f}", "", ""],
            ["seconds", f"{cost['wall_s']:.1f}", "", ""],
            ["CPU seconds", f"{cost['cpu_s']:.1f}", "", ""],
            ["peak memory, MB", f"{cost['peak_mb']:.0f}", f"≤ {PEAK_MB}", lab.ok(cost["peak_mb"], PEAK_MB)],
            ["requests", f"{requests:,}", "", ""],
            ["bytes per run", f"{size / max(1, arrived):,.0f}", "", ""],
            ["exit status of the sender", cost["status"], 0, lab.ok(cost["status"], 0)],
        ],
    )


if __name__ == "__main__":
    main()
