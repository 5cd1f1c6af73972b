"""``otel-usage run``: record a program that knows nothing of us.

ALGORITHM

A Python program records itself. This process becomes the program (``exec``: same process id, same terminal), with a
folder of ours first on PYTHONPATH. The interpreter imports ``sitecustomize.py`` from there at start-up, which takes the
folder away again and attaches a recorder; see ``startup/run/sitecustomize.py``.

Any other program runs as a child.

1. Begin a run, if it may be recorded, and pass SIGTERM and SIGHUP on from now on.
2. Start the child. From here on SIGINT and SIGQUIT are ignored: the terminal sends them to the child itself.
3. Wait for the child, and stop whenever it is stopped, so that a shell's job control works.
4. Write the run with the child's exit code, and end as the child ended: by the same signal or the same code.

RACES

1. A signal comes before there is a child. It is remembered, and passed on once the child has started.
2. A signal comes after the child has ended. Its process id stays reserved until we have waited for it, and we forget
   the child right after that: a few instructions, in which the number can't come round again.
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
from pathlib import Path
from typing import Any

from ..consent.gate import decide
from ..recording.recorder import Recorder
from ..recording.sender_start import BRAKE
from ..settings.check import check_settings
from .python_program import is_interpreter, is_python, module_of, version_of

STARTUP = Path(__file__).parent.parent / "startup" / "run"  # holds the sitecustomize.py
ROOT = Path(__file__).parent.parent.parent  # where `otel_usage` can be imported from


def add(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "run",
        help="record a program that knows nothing of us",
        usage="otel-usage run [--app NAME] [--to DESTINATION] -- PROGRAM [ARGUMENT ...]",
        description="Run PROGRAM and record its run: a Python program's command, options and outcome, any other's exit "
        "code and duration. PROGRAM sees no difference. What its user has switched off stays off.",
    )
    parser.add_argument("--app", metavar="NAME", help="name to record it under; default: the program's")
    parser.add_argument(
        "--to",
        metavar="DESTINATION",
        help="an OTLP address, or NAME=ADDRESS for another exporter; default: what OTEL_* variables say",
    )
    parser.add_argument("program", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(call=call)


def call(args: argparse.Namespace) -> int:
    """Run the program; become it, if it is Python."""
    words = args.program[1:] if args.program[:1] == ["--"] else args.program
    if not words:
        print("otel-usage: no program to run; write it after --, e.g. otel-usage run -- mycli report", file=sys.stderr)
        return 2
    path = shutil.which(words[0])
    if path is None:
        print(f"otel-usage: {words[0]!r} is not a program on PATH", file=sys.stderr)
        return 127
    settings = _settings_for(args, path, words)
    check_settings(settings)
    if BRAKE.decode() in os.environ:
        os.execv(path, words)
    if is_python(path, words):
        python_path = os.environ.get("PYTHONPATH")
        # Format 2 of marshal is one that every Python 3 reads: the program's interpreter may be another than ours.
        handover = marshal.dumps((settings, str(ROOT), python_path), 2).hex()
        environ = {**os.environ, "OTEL_USAGE_RUN": handover}
        environ["PYTHONPATH"] = os.pathsep.join([str(STARTUP), *([python_path] if python_path else [])])
        os.execve(path, words, environ)
    return _supervise(path, words, settings)


def _settings_for(args: argparse.Namespace, path: str, words: list[str]) -> dict[str, Any]:
    """Return the settings that the program would give to `init`, if it knew of us."""
    module = module_of(words[1:]) if is_interpreter(path) else ""
    name = args.app or re.sub(r"[^a-z0-9._-]", "-", (module or Path(path).name).lower()).lstrip("._-") or "program"
    destinations: dict[str, str] | None = None
    if args.to:
        exporter, equals, address = args.to.partition("=")
        destinations = {exporter: address} if equals and "/" not in exporter else {"otlp": args.to}
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


def _supervise(path: str, words: list[str], settings: dict[str, Any]) -> int:
    """Run any other program as a child, pass signals on, and end as it ended."""
    decision = decide(settings["app"], "opt-in", 1, os.environ)
    if decision.layer == "default":
        decision.mode = "on"
    recorder = None if decision.mode == "off" else Recorder(settings, decision, None).begin()
    early_signals: list[int] = []  # that came before there was a child to pass them on to
    child: subprocess.Popen[bytes] | None = None

    def pass_on(signal_number: int, _frame: object) -> None:
        if child is None:
            early_signals.append(signal_number)
        else:
            _send_signal(child.pid, signal_number)

    for signal_number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signal_number) != signal.SIG_IGN:  # under nohup the child ignores it as well
            signal.signal(signal_number, pass_on)
    try:
        child = subprocess.Popen(words, executable=path)
    except OSError as exc:
        print(f"otel-usage: {path!r} can't be run: {exc.strerror}", file=sys.stderr)
        return 126
    for signal_number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(signal_number, signal.SIG_IGN)  # the terminal tells the child itself
    for early_signal in early_signals:
        _send_signal(child.pid, early_signal)
    status = _wait_for(child.pid)
    child = None  # its number is free now: nothing may be sent to it any more
    if recorder is not None:
        code = status if status >= 0 else 128 - status
        outcome = "success" if code == 0 else "interrupted" if status == -signal.SIGINT else "failure"
        recorder.run.command_path = ["(unknown)"]
        recorder.run.ended = (code, outcome, "_OTHER" if code else "")
        recorder.finish()
    if status < 0:
        if -status != signal.SIGKILL:  # which nobody can handle
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def _send_signal(pid: int, signal_number: int) -> None:
    """Send a signal to the child *pid*, unless it is gone.

    Not by `Popen.send_signal`: that polls first, and a child that has just ended would be waited for there, so that
    `_wait_for` never learned how it ended.
    """
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError:
        pass


def _wait_for(pid: int) -> int:
    """Wait for the child *pid*; return its exit code, or the signal that ended it, negative. Stop when it is stopped."""
    while True:
        _, status = os.waitpid(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status)
        if os.WSTOPSIG(status) == signal.SIGSTOP:  # the others come from the terminal, which stops us as well
            os.kill(os.getpid(), signal.SIGSTOP)
            _send_signal(pid, signal.SIGCONT)
