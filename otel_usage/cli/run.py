"""``otel-usage run``: record a program that knows nothing of us.

Ring 1 (background).
"""

from __future__ import annotations

import argparse
import marshal
import os
import re
import shutil
import signal
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from .. import decide
from ..recorder import BRAKE, Recorder
from ..schema import check_settings

BOOT = Path(__file__).parent.parent / "boot"
ROOT = Path(__file__).parent.parent.parent


def add(commands: Any) -> None:
    """Add the sub-command."""
    told = commands.add_parser(
        "run",
        help="record a program that knows nothing of us",
        usage="otel-usage run [--app NAME] [--to DESTINATION] -- PROGRAM [ARGUMENT ...]",
        description="Run PROGRAM and record its run: a Python program's command, options and outcome, any other's exit "
        "code and duration. PROGRAM sees no difference. What its user has switched off stays off.",
    )
    told.add_argument("--app", metavar="NAME", help="name to record it under; default: the program's")
    told.add_argument(
        "--to",
        metavar="DESTINATION",
        help="an OTLP address, or NAME=ADDRESS for another exporter; default: what OTEL_* variables say",
    )
    told.add_argument("program", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    told.set_defaults(call=call)


def call(told: argparse.Namespace) -> int:
    """Run the program; become it, if it is Python."""
    words = told.program[1:] if told.program[:1] == ["--"] else told.program
    if not words:
        print("otel-usage: no program to run; write it after --, e.g. otel-usage run -- mycli report", file=sys.stderr)
        return 2
    path = shutil.which(words[0])
    if path is None:
        print(f"otel-usage: {words[0]!r} is not a program on PATH", file=sys.stderr)
        return 127
    settings = _settings(told, path, words)
    check_settings(settings)
    if BRAKE.decode() in os.environ:
        os.execv(path, words)
    if is_python(path, words):
        python_path = os.environ.get("PYTHONPATH")
        told_child = marshal.dumps((settings, str(ROOT), python_path), 2).hex()
        environ = {**os.environ, "OTEL_USAGE_RUN": told_child}
        environ["PYTHONPATH"] = os.pathsep.join([str(BOOT), *([python_path] if python_path else [])])
        os.execve(path, words, environ)
    return _watch(path, words, settings)


def _settings(told: argparse.Namespace, path: str, words: list[str]) -> dict[str, Any]:
    module = _options(words[1:])[1] if is_interpreter(path) else ""
    name = told.app or re.sub(r"[^a-z0-9._-]", "-", (module or Path(path).name).lower()).lstrip("._-") or "program"
    destinations: dict[str, str] | None = None
    if told.to:
        exporter, equals, address = told.to.partition("=")
        destinations = {exporter: address} if equals and "/" not in exporter else {"otlp": told.to}
    return {
        "app": name,
        "version": version_of(path, module),
        "consent": "opt-in",
        "destinations": destinations,
        "schema": {},
        "sender": "detached",
        "policy": 1,
        "about": "",
        "flush_s": 60.0,
        "attached": True,
        "python": sys.executable,  # the program's own may lack what the sender needs
        "path": [entry for entry in sys.path if entry.startswith("/")],
    }


def is_interpreter(path: str) -> bool:
    """True if *path* is a Python interpreter, by its name."""
    return re.fullmatch(r"python[0-9.]*", Path(path).name) is not None


def version_of(path: str, module: str) -> str:
    """Return the version of the distribution that installed the program, or the *module* that it runs.

    Looks beside the program, as its environment is seldom ours; "unknown" unless exactly one distribution claims it.
    """
    site = [str(folder) for folder in Path(path).absolute().parent.parent.glob("lib/python3*/site-packages")]
    found = set()
    if module:
        package = module.partition(".")[0]
        for known in distributions(name=package, path=site):
            if any(file.parts[0] in (package, package + ".py") for file in known.files or ()):
                found.add(known.version)
    else:
        for known in distributions(path=site):
            scripts = known.entry_points.select(group="console_scripts", name=Path(path).name)
            found |= {known.version for _ in scripts}
    version = (found.pop() or "") if len(found) == 1 else ""  # None: metadata without one
    return version if re.fullmatch(r"[0-9][0-9A-Za-z.+!_-]{0,63}", version) else "unknown"


def is_python(path: str, words: list[str]) -> bool:
    """True if *path* is a Python interpreter or script that will look at PYTHONPATH."""
    if is_interpreter(path):
        return not _isolated(words[1:])
    try:
        with open(path, "rb") as file:
            head = file.read(1024)
    except OSError:
        return False
    if not head.startswith(b"#!"):
        return False
    lines = head.split(b"\n")
    line = lines[0]
    if line.rstrip().endswith(b"/sh") and len(lines) > 1 and lines[1].startswith(b"'''exec'"):
        line = lines[1]  # what installers write when the interpreter's path is too long for a #! line
    found = re.search(rb"python[0-9.]*['\"]?(?:\s(.*))?$", line)
    return found is not None and not _isolated(os.fsdecode(found.group(1) or b"").split())


def _isolated(words: list[str]) -> bool:
    """True if Python's own options, at the start of *words*, have it ignore PYTHONPATH or start without `site`."""
    return not set("IES").isdisjoint(_options(words)[0])


def _options(words: list[str]) -> tuple[str, str]:
    """Return (letters of Python's own options at the start of *words*, the module that ``-m`` runs or "")."""
    letters, rest = "", iter(words)
    for word in rest:
        if word == "--check-hash-based-pycs":
            next(rest, None)
        if not word.startswith("-") or word == "-":
            break  # the program; what follows is its own
        for at, letter in enumerate(word[1:], 2):
            if letter == "m":
                return letters, word[at:] or next(rest, "")
            if letter == "c":
                return letters, ""
            if letter in "WX":  # the rest of the word, or the next one, is its value
                if at == len(word):
                    next(rest, None)
                break
            if letter == "-":
                break
            letters += letter
    return letters, ""


def _watch(path: str, words: list[str], settings: dict[str, Any]) -> int:
    """Run any other program as a child, pass signals on, and end as it ended."""
    decision = decide(settings["app"], "opt-in", 1, os.environ)
    if decision.layer == "default":
        decision.mode = "on"
    recorder = None if decision.mode == "off" else Recorder(settings, decision, None).begin()
    early: list[int] = []  # signals that came before there was a child to pass them on to
    child: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _frame: object) -> None:
        if child is None:
            early.append(number)
        else:
            _kill(child.pid, number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # under nohup the child ignores it as well
            signal.signal(number, pass_on)
    try:
        child = subprocess.Popen(words, executable=path)
    except OSError as exc:
        print(f"otel-usage: {path!r} can't be run: {exc.strerror}", file=sys.stderr)
        return 126
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # the terminal tells the child itself
    for late in early:
        _kill(child.pid, late)
    status = _ending(child.pid)
    child = None
    if recorder is not None:
        code = status if status >= 0 else 128 - status
        outcome = "success" if code == 0 else "interrupted" if status == -signal.SIGINT else "failure"
        recorder.run.words = ["(unknown)"]
        recorder.run.ended = (code, outcome, "_OTHER" if code else "")
        recorder.finish()
    if status < 0:
        if -status != signal.SIGKILL:  # which nobody can handle
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def _kill(pid: int, number: int) -> None:
    """Send a signal to the child *pid*, unless it is gone. Not by Popen, which polls, and might take its ending from us."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _ending(pid: int) -> int:
    """Wait for the child *pid* and return its exit code, or the signal that ended it, negative. Stop when it is stopped."""
    while True:
        _, status = os.waitpid(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status)
        if os.WSTOPSIG(status) == signal.SIGSTOP:  # the others come from the terminal, and to us as well
            os.kill(os.getpid(), signal.SIGSTOP)
            _kill(pid, signal.SIGCONT)
