"""What a run costs with each framework: instructions added, recorded and off, to a small program on it.

The programs are those of tests/programs/frameworks, with the package as the wheel has it, and with one that does nothing in
its place. The collector of garbage is off in all of them: when it runs depends on how many objects a framework has, and would
move the cost of a run by millions. No sender is started: that costs the same with every framework.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

from . import lab

PROGRAMS = os.path.join(lab.ROOT, "tests", "programs")
NO_GC = "import gc\ngc.disable()\n"  # a sitecustomize.py
# {program of tests/programs/frameworks: what it is given, so that a command and its options are recorded}
RUNS = {
    "argparse": "add --n 0",
    "click": "go --n 0",
    "absl": "--name=x",
    "asyncclick": "--debug sync",
    "cleo": "cache list --to x",
    "cliff": "server list --deep",
    "cyclopts": "db migrate x --dry-run",
    "django": "makemessages --all --no-wrap",
    "docopt": "ship x move 1 2 --speed=9",
    "fire": "add 1 --b=5",
    "invoke": "b --fast",
    "knack": "abc list --n x",
    "optparse": "-d --name x",
    "plumbum": "-v remote add --name x",
}


def count(argv, env):
    """Return the instructions of a run, its children's not counted."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, *argv]
    done = subprocess.run(command, env=env, cwd=env["HOME"], capture_output=True, text=True, timeout=1200, check=False)
    own = re.search(r"==(\d+)== Callgrind", done.stderr)
    return int(dict(re.findall(r"==(\d+)== Collected : (\d+)", done.stderr))[own[1]])


def added(framework, folder):
    """Return the instructions that are added to the program on *framework*: (recorded, off, the program's own)."""
    argv = [os.path.join(PROGRAMS, "frameworks", f"{framework}_program.py"), *RUNS[framework].split()]
    env = {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "OTEL_USAGE_SENDER": "none",
        "HOME": folder,
    }
    env["OTEL_USAGE_HOME"] = os.path.join(folder, framework)
    counts = []
    for package, mode in ((os.path.join(PROGRAMS, "without"), "off"), ("wheel", "on"), ("wheel", "off")):
        place = os.path.join(folder, package) if package == "wheel" else package
        own = {**env, "PROG_TELEMETRY": mode, "PYTHONPATH": os.pathsep.join([os.path.join(folder, "no_gc"), place])}
        subprocess.run([sys.executable, *argv], env=own, cwd=folder, capture_output=True, check=False)  # warm
        counts.append(count(argv, own))
    plain, recorded, off = counts
    return recorded - plain, off - plain, plain


def main():
    """Print the table."""
    if not shutil.which("valgrind"):
        print("\nframeworks: no valgrind, skipped")
        return
    names = os.environ.get("BENCH_FRAMEWORKS", ",".join(RUNS)).split(",")
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps"]
        subprocess.run([*pip, "--no-build-isolation", "--target", os.path.join(folder, "wheel"), lab.ROOT], check=True)
        os.mkdir(os.path.join(folder, "no_gc"))
        with open(os.path.join(folder, "no_gc", "sitecustomize.py"), "w", encoding="ascii") as file:
            file.write(NO_GC)
        counts = lab.together([lambda name=name: added(name, folder) for name in names])
    rows = [[name, *(f"{number / 1e6:.2f}" for number in numbers)] for name, numbers in zip(names, counts, strict=True)]
    lab.table(
        "Each framework: million instructions added to one run, without the sender's start",
        ["framework", "recorded", "off", "the program itself"],
        rows,
    )


if __name__ == "__main__":
    main()
