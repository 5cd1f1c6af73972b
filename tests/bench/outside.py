"""Real programs, run twice without us and once with: what differs, and what was recorded.

The programs are those of requirements-dev.txt that know nothing of us. `make bench-outside`; a further program is a row.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

from . import lab

# (program, its arguments, the command that it truly is, the exit code that it truly has: None for whatever it is). {} is a folder to work in.
PROGRAMS = (
    ("http", ["--version"], "(root)", 0),
    ("http", ["--nonsense"], "(root)", 1),
    ("sqlite-utils", ["--version"], "(root)", 0),
    ("sqlite-utils", ["create-table", "{}/a.db", "t", "id", "integer"], "create-table", 0),
    ("sqlite-utils", ["tables", "{}/none.db"], "tables", None),
    ("fastapi", ["--help"], "(root)", 0),
    ("ruff", ["--version"], "(unknown)", 0),  # not Python: that it ran, and how it ended
    ("mypy", ["--version"], "(root)", 0),
)


def run(command, folder, env):
    """Return (exit code, standard output, standard error, files) of a run in an empty *folder*."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    ended = subprocess.run(command, cwd=folder, env=env, capture_output=True, timeout=60, check=False)
    files = sorted(os.path.join(where, name) for where, _, names in os.walk(folder) for name in names)
    return ended.returncode, ended.stdout, ended.stderr, files


def recorded(home):
    """Return the (command, exit code) pairs of all runs that wait in *home*."""
    pairs = []
    for where, _, names in os.walk(home):
        for name in names:
            if name.endswith(".traces.jsonl"):
                with open(os.path.join(where, name), encoding="utf-8") as file:
                    text = file.read()
                for line in text.splitlines():
                    for span in json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]:
                        values = {pair["key"]: pair["value"] for pair in span["attributes"]}
                        code = values.get("process.exit.code", {}).get("intValue")
                        pairs.append((values["usage.command"]["stringValue"], None if code is None else int(code)))
    return pairs


def main():
    """Print the table."""
    rows = []
    folder_of_programs = os.path.dirname(sys.executable)
    with tempfile.TemporaryDirectory() as folder:
        work, home = os.path.join(folder, "work"), os.path.join(folder, "home")
        env = {"PATH": f"{folder_of_programs}:/usr/bin:/bin", "HOME": folder, "LANG": "C.UTF-8", "TERM": "dumb"}
        for program, arguments, command, code in PROGRAMS:
            path = os.path.join(folder_of_programs, program)
            if not os.path.exists(path):
                rows.append([program, " ".join(arguments), "not installed: skipped"])
                continue
            argv = [path, *[argument.format(work) for argument in arguments]]
            first, second = run(argv, work, env), run(argv, work, env)
            shutil.rmtree(home, ignore_errors=True)
            ours = {**env, "OTEL_USAGE_HOME": home, "OTEL_USAGE_SENDER": "none"}
            with_us = run([os.path.join(folder_of_programs, "otel-usage"), "run", "--", *argv], work, ours)
            same = "same" if with_us == second else "itself differs" if first != second else "DIFFERENT"
            runs = recorded(home)
            truth = [] if command is None else [(command, second[0] if code is None else code)]
            right = "right" if runs == truth else f"WRONG: {runs} is {truth}"
            rows.append([program, " ".join(arguments), same, right])
    lab.table("Programs that know nothing of us, by `otel-usage run`", ["", "arguments", "unchanged", "recorded"], rows)


if __name__ == "__main__":
    main()
