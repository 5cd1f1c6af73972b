"""Run the benchmarks named, or all: `python -m tests.bench [name ...]`."""

import importlib
import importlib.util
import os
import platform
import sys
import time
import traceback

from . import lab

NAMES = ("foreground", "exit_delay", "running", "drain", "exporters", "relay", "collector")


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


def main(names):
    """Return the exit code: 0, or 1 if a benchmark failed to run. A promise not kept is printed, and no failure."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    lab.prepare()
    results = []
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
    print("\n" + "\n".join(machine()))
    print("took     " + ", ".join(f"{name} {result}" for name, result in results))
    return int(any(result == "FAILED" for _, result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
