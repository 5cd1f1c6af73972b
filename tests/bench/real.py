"""What a run costs in real programs: instructions added by `init`, the garbage collector off on both sides.

Seven programs of others, each started by a script of a few lines as pip writes it, once without us and once with two lines
more. The collector is off, so that its phase does not count: what is left is ours, and what the program's size makes of it.

Large programs hash many objects by their address: where those lie moves hf's own count by up to five million. So counts are
taken in several LAYOUTS, so many objects more at the start, each with us and without. What is judged is the median of these
pairs' differences: where one of a pair meets an unlucky layout, its difference says nothing. The spread is printed beside it.
"""

import os
import subprocess
import sys

from . import lab

RECORDED, OFF = 7_000_000, 1_600_000  # promised
REQUIREMENTS = "sqlite-utils==3.38 yamllint==1.37.1 pre-commit==4.3.0 black==25.9.0 typer==0.19.2 huggingface_hub==1.0.1 django==5.2.7"
# (program, framework, module, function, arguments)
PROGRAMS = (
    ("sqlite-utils", "click", "sqlite_utils.cli", "cli", ["memory", "select 1"]),
    ("yamllint", "argparse", "yamllint.cli", "run", ["{folder}/f.yml"]),
    ("pre-commit", "argparse", "pre_commit.main", "main", ["sample-config"]),
    ("black", "click", "black", "patched_main", ["-q", "-c", "a = 1"]),
    ("typer", "typer", "typer.cli", "main", ["--version"]),
    ("hf", "typer", "huggingface_hub.cli.hf", "main", ["version"]),
    ("django-admin", "argparse", "django.core.management", "execute_from_command_line", ["startproject", "--help"]),
)
LAYOUTS = (0, 777, 1555, 2222, 5000)
SCRIPT = """import gc, os, sys
gc.disable()
layout = [[] for _ in range(int(os.environ["BENCH_PHASE"]))]
{init}
from {module} import {function}
if __name__ == "__main__":
    sys.argv[0] = "real"
    sys.exit({function}())
"""
INIT = 'import otel_usage\notel_usage.init("real", version="1", consent="opt-in")'


def prepare():
    """Make the environment, and return (its interpreter, its folder of start scripts)."""
    folder = os.path.join(lab.ROOT, "build", "bench-real")
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    subprocess.run([*pip, *REQUIREMENTS.split()], check=True)
    wheels = os.path.join(folder, "wheel")
    subprocess.run([*pip[:-2], "wheel", "-q", "--no-deps", "-w", wheels, lab.ROOT], check=True)
    newest = max(os.listdir(wheels), key=lambda name: os.path.getmtime(os.path.join(wheels, name)))
    subprocess.run([*pip, "--force-reinstall", "--no-deps", os.path.join(wheels, newest)], check=True)
    for name, _framework, module, function, _argv in PROGRAMS:
        for way, init in (("plain", ""), ("ours", INIT)):
            with open(os.path.join(folder, "bin", f"{way}-{name}.py"), "w", encoding="utf-8") as file:
                file.write(SCRIPT.format(init=init, module=module, function=function))
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([python, "-m", "compileall", "-qq", folder], check=False, capture_output=True, env=env)
    return python, os.path.join(folder, "bin")


def main():
    """Print the table."""
    python, scripts = prepare()
    with lab.Lab() as here:
        with open(os.path.join(here.folder, "f.yml"), "w", encoding="utf-8") as file:
            file.write("---\na: 1\n")

        def job(name, argv, mode, layout):
            argv = [word.format(folder=here.folder) for word in argv]
            script = os.path.join(scripts, f"{'ours' if mode else 'plain'}-{name}.py")
            env = {**here.env, "BENCH_PHASE": str(layout)}
            if mode:
                home = here.home()
                more = {"BENCH_PHASE": str(layout), "REAL_TELEMETRY": mode, "OTEL_USAGE_SEND_DELAY_S": "3000"}
                env = here.ours(home, mode, **more)
                if mode == "on":  # not the first run, and a sender is due
                    subprocess.run([python, script, *argv], env=env, check=False, capture_output=True)
                    lab.make_due(home, "real")
            return lab.instructions(name, env, argv, python=python, script_path=script)

        jobs = [
            (name, argv, mode, n) for name, _, _, _, argv in PROGRAMS for mode in ("", "on", "off") for n in LAYOUTS
        ]
        results = lab.together([lambda each=each: job(*each) for each in jobs])
        counts = {(name, mode, n): count for (name, _, mode, n), count in zip(jobs, results, strict=True)}
        here.end_senders()
    rows = []
    for name, framework, *_ in PROGRAMS:
        row = [name, framework, f"{sum(counts[name, '', n] for n in LAYOUTS) / len(LAYOUTS) / 1e6:.0f}"]
        for mode, limit in (("on", RECORDED), ("off", OFF)):
            added = [counts[name, mode, n] - counts[name, "", n] for n in LAYOUTS]
            middle = lab.median(added)
            row += [f"{middle / 1e6:.2f} ({min(added) / 1e6:.2f} to {max(added) / 1e6:.2f})", lab.ok(middle, limit)]
        rows.append(row)
    lab.table(
        "Real programs, CPython " + sys.version.split()[0] + ": million instructions added, collector off",
        ["", "framework", "the program's own", "recorded", "", "off", ""],
        rows,
        [f"Promised: recorded, a sender started, ≤ {RECORDED / 1e6:.0f}; off ≤ {OFF / 1e6}."],
    )


if __name__ == "__main__":
    main()
