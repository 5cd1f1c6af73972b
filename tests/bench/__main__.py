"""Run the benchmarks named, or all: `python -m tests.bench [name ...]`."""

import importlib
import importlib.util
import os
import platform
import sys
import time
import traceback

from . import lab

NAMES = (
    "foreground",
    "pythons",
    "frameworks",
    "real",
    "outside",
    "exit_delay",
    "running",
    "services",
    "drain",
    "model",
    "chaos",
    "exporters",
    "relay",
    "attack",
    "collector",
    "prometheus",
    "questions",
    "pages",
    "weight",
    "secrets",
)


def machine():
    """Return what was measured on, as lines."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return [
        f"machine  {model}, {os.cpu_count()} cores; load {' '.join(f'{one:.1f}' for one in os.getloadavg())}",
        f"python   {platform.python_implementation()} {platform.python_version()}",
        f"system   {platform.platform()}",
        f"peers    {lab.versions()}",
        f"date     {time.strftime('%Y-%m-%d')}",
    ]


def used_s():
    """Return the CPU seconds that the machine has used, and those of ours."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system, _idle, _wait, irq, soft, steal = map(int, file.readline().split()[1:9])
    except (OSError, ValueError):
        return 0.0, 0.0
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK"), sum(os.times()[:4])


def others(before, start):
    """Return the line that tells what else the machine did since."""
    machine_s, own_s = (now - then for now, then in zip(used_s(), before, strict=True))
    share = max(0.0, machine_s - own_s) / ((time.monotonic() - start) * (os.cpu_count() or 1))
    judged = "instructions hold, times do not" if share > 0.1 else "quiet enough"
    return f"others   used {share:.0%} of the machine meanwhile: {judged}"


def main(names):
    """Return the exit code: 0, or 1 if a benchmark failed to run. A promise not kept is printed, and no failure."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    lab.prepare()
    results = []
    began, used = time.monotonic(), used_s()
    for name in names or NAMES:
        start = time.monotonic()
        try:
            if importlib.util.find_spec(f"{__package__}.{name}") is None:
                print(f"\n{name}: not there, skipped")
                results.append((name, "skipped"))
                continue
            importlib.import_module(f"{__package__}.{name}").main()
            results.append((name, f"{time.monotonic() - start:.0f} s"))
        except Exception:  # the others are still worth running
            traceback.print_exc()
            results.append((name, "FAILED"))
    print("\n" + "\n".join([*machine(), others(used, began)]))
    print("took     " + ", ".join(f"{name} {result}" for name, result in results))
    return int(any(result == "FAILED" for _, result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
