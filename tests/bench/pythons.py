"""What a run costs on every Python we support: instructions added, ours against the same program without us.

Each Python gets an environment of its own, build/bench-python-3.X, with our wheel and click in it. One that is not on
the machine is printed as skipped; `sh tests/bench/unpack-python.sh 3.14` unpacks Debian's beside the system.
"""

import glob
import os
import shutil
import subprocess
import sys

from . import lab

VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
# Promised, in instructions: recorded with the sender's start, and the label that says which agent ran the program. Click may
# cost CLICK more.
RECORDED = {"3.10": 4_700_000, "3.11": 4_400_000, "3.12": 5_600_000, "3.13": 5_200_000, "3.14": 5_200_000}
CLICK, OFF = 300_000, 1_700_000
PLACES = ("~/.pyenv/versions/{0}.*/bin/python", "build/python{0}/usr/bin/python{0}", "/opt/python{0}/usr/bin/python{0}")


def interpreter(version):
    """Return the path of a Python of *version*, None if there is none."""
    found = [path for place in PLACES for path in sorted(glob.glob(os.path.expanduser(place.format(version))))]
    return os.path.abspath(found[-1]) if found else shutil.which("python" + version)


def prepare(version, python):
    """Make the environment of one Python and return (its interpreter, its folder of start scripts)."""
    folder = os.path.join(lab.ROOT, "build", "bench-python-" + version)
    own = os.path.join(folder, "bin", "python")
    if not os.path.exists(own):
        try:
            subprocess.run([python, "-m", "venv", folder], check=True, capture_output=True)
        except subprocess.CalledProcessError:  # Debian's has no ensurepip
            subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
    wheels = os.path.join(lab.ROOT, "build", "bench-wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    if not os.path.isdir(wheels):
        subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", wheels, lab.ROOT], check=True)
    install = [*pip, "--python", own, "install", "-q"]
    subprocess.run([*install, "click>=8.1"], check=True)
    subprocess.run([*install, "--force-reinstall", "--no-deps", *glob.glob(wheels + "/*.whl")], check=True)
    code = "import os, sysconfig; print(sysconfig.get_path('purelib'), os.path.dirname(os.__file__))"
    library, standard = subprocess.check_output([own, "-I", "-c", code], text=True).split()
    benchcli = os.path.join(library, "benchcli")
    shutil.rmtree(benchcli, ignore_errors=True)
    shutil.copytree(os.path.join(lab.HERE, "programs"), benchcli, ignore=shutil.ignore_patterns("__pycache__"))
    for name in os.listdir(benchcli):
        if name.endswith(".py"):
            with open(os.path.join(folder, "bin", f"bench-{name}"), "w", encoding="utf-8") as file:
                file.write(lab.SCRIPT.format(name=name[:-3]))
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for where in (library, standard):
        subprocess.run([own, "-m", "compileall", "-qq", where], check=False, capture_output=True, env=env)
    return own, os.path.join(folder, "bin")


def measure(here, python, scripts):
    """Return {(program, mode): instructions in each phase}."""

    def job(name, mode, phase):
        script = os.path.join(scripts, f"bench-{name}.py")
        env = {**here.env, "BENCH_PHASE": str(phase)}
        if mode:
            home = here.home()
            env = here.ours(home, mode, BENCH_PHASE=str(phase), OTEL_USAGE_SEND_DELAY_S="3000")
            if mode == "on":  # not the first run, and a sender is due
                subprocess.run([python, script, *lab.ARGV], env=env, check=True, stdout=subprocess.DEVNULL)
                lab.make_due(home)
        return lab.instructions(name, env, python=python, script_path=script)

    rows = [("plain_" + kind, "") for kind in ("argparse", "click")]
    rows += [("ours_" + kind, mode) for kind in ("argparse", "click") for mode in ("on", "off")]
    jobs = [(name, mode, phase) for name, mode in rows for phase in lab.PHASES]
    counts = dict(zip(jobs, lab.together([lambda job_=each: job(*job_) for each in jobs])))  # noqa: B905
    here.end_senders()
    return {row: [counts[(*row, phase)] for phase in lab.PHASES] for row in rows}


def main():
    """Print the table."""
    rows = []
    shutil.rmtree(os.path.join(lab.ROOT, "build", "bench-wheel"), ignore_errors=True)
    with lab.Lab() as here:
        for version in VERSIONS:
            python = interpreter(version)
            if python is None or not shutil.which("valgrind"):
                rows.append([version, "skipped: " + ("no valgrind" if python else "not on this machine")])
                continue
            counts = measure(here, *prepare(version, python))
            row = [subprocess.check_output([python, "-V"], text=True).split()[1]]
            for kind, mode, limit in (
                ("argparse", "on", RECORDED[version]),
                ("click", "on", RECORDED[version] + CLICK),
                ("argparse", "off", OFF),
                ("click", "off", OFF),
            ):
                added = [a - b for a, b in zip(counts[f"ours_{kind}", mode], counts[f"plain_{kind}", ""])]  # noqa: B905
                mean = sum(added) / len(added)
                row += [f"{mean / 1e6:.2f} ({min(added) / 1e6:.2f}-{max(added) / 1e6:.2f})", lab.ok(mean, limit)]
            rows.append(row)
    lab.table(
        "Foreground on every Python: million instructions added, mean over five phases of the collector (least-most)",
        ["Python", "argparse, recorded", "", "click, recorded", "", "argparse, off", "", "click, off", ""],
        rows,
        [
            "Promised, recorded with the sender's start: "
            + ", ".join(f"{version} ≤ {limit / 1e6}" for version, limit in RECORDED.items())
            + f"; click at most {CLICK / 1e6} more; off ≤ {OFF / 1e6}."
        ],
    )


if __name__ == "__main__":
    main()
