"""``otel-usage run``: record a program that knows nothing of us.

ALGORITHM

A Python program records itself, if its Python is one that we can run in. This process becomes the program (``exec``: same
process id, same terminal), with a folder of ours first on PYTHONPATH. The interpreter imports ``sitecustomize.py`` from
there at start-up, which takes the folder away again and attaches a recorder; see ``startup/run/sitecustomize.py``.

Any other program runs as a child: its exit code and duration are recorded.

To start a program costs its user time, so what is not needed is not imported: settings are checked where something was
given that needs it, and argparse is asked for help and for errors alone.

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

import marshal
import os
import sys
from collections.abc import Sequence

from ..consent.gate import decide
from .python_program import can_run_us, interpreter_of, is_interpreter, is_python, module_of, version_of, which

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STARTUP = os.path.join(PACKAGE, "startup", "run")  # holds the sitecustomize.py
ROOT = os.path.dirname(PACKAGE)  # where `otel_usage` can be imported from
BRAKE = "OTEL_USAGE_CHILD"  # as in recording/sender_start.py, which is not loaded for a program that records itself
PLAIN_ADDRESSES = ("https://", "http://127.0.0.1:", "http://localhost:", "http://[::1]:")  # that need no check


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
    parser.add_argument("program", nargs="...", help="==SUPPRESS==")  # argparse.REMAINDER, argparse.SUPPRESS
    parser.set_defaults(call=call)


def call(args: argparse.Namespace) -> int:
    """Run the program as argparse has understood the command line."""
    words = args.program[1:] if args.program[:1] == ["--"] else args.program
    return run_program(args.app or "", args.to or "", words)


def read_command_line(words: Sequence[str]) -> tuple[str, str, list[str]] | None:
    """Return (app, destination, the program's words); None if argparse shall look: for help, and for what is wrong."""
    values = {"--app": "", "--to": ""}
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "--":
        name, equals, value = rest.pop(0).partition("=")
        if name not in values or not (equals or rest):
            return None
        values[name] = value if equals else rest.pop(0)
    return values["--app"], values["--to"], rest[1:] if rest[:1] == ["--"] else rest


def run_program(app: str, destination: str, words: list[str]) -> int:
    """Run the program; become it, if it is Python. Raises SettingError. Source of 126 and 127: POSIX, shells."""
    if not words:
        print("otel-usage: no program to run; write it after --, e.g. otel-usage run -- mycli report", file=sys.stderr)
        return 2
    path = which(words[0])
    if path is None:
        print(f"otel-usage: {words[0]!r} is not a program on PATH", file=sys.stderr)
        return 127
    settings = _settings_for(app, destination, path, words)
    if app or not (destination == "" or (destination.startswith(PLAIN_ADDRESSES) and destination[8:].isascii())):
        from ..settings.check import check_settings

        check_settings(settings)
    if BRAKE in os.environ:
        os.execv(path, words)
    if is_python(path, words) and can_run_us(interpreter_of(path, words)[0]):
        python_path = os.environ.get("PYTHONPATH")
        # Format 2 of marshal is one that every Python 3 reads: the program's interpreter may be another than ours.
        handover = marshal.dumps((settings, ROOT), 2).hex()
        own_path = "" if python_path is None else f":{python_path}"
        environ = {**os.environ, "OTEL_USAGE_RUN": f"{os.getpid()}:{handover}{own_path}"}
        environ["PYTHONPATH"] = os.pathsep.join([STARTUP, *([python_path] if python_path else [])])
        os.execve(path, words, environ)
    return _supervise(path, words, settings)


def _settings_for(app: str, destination: str, path: str, words: list[str]) -> dict[str, Any]:
    """Return the settings that the program would give to `init`, if it knew of us."""
    module = module_of(words[1:]) if is_interpreter(path) else ""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789._-"
    name = "".join([c if c in letters else "-" for c in (module or os.path.basename(path)).lower()]).lstrip("._-")
    name = app or name[:64] or "program"
    destinations: dict[str, str] | None = None
    if destination:
        exporter, equals, address = destination.partition("=")
        destinations = {exporter: address} if equals and "/" not in exporter else {"otlp": destination}
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
    import signal

    from ..recording.recorder import Recorder

    decision = decide(settings["app"], "opt-in", 1, os.environ)
    if decision.layer == "default":
        decision.mode = "on"
    recorder = None if decision.mode == "off" else Recorder(settings, decision, None).begin()
    early_signals: list[int] = []  # that came before there was a child to pass them on to
    child = 0

    def pass_on(signal_number: int, _frame: object) -> None:
        if not child:
            early_signals.append(signal_number)
        else:
            _send_signal(child, signal_number)

    for signal_number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signal_number) != signal.SIG_IGN:  # under nohup the child ignores it as well
            signal.signal(signal_number, pass_on)
    try:
        # Python ignores these two; the child is to have them as it would have them without us.
        child = os.posix_spawn(path, words, os.environ, setsigdef=[signal.SIGPIPE, signal.SIGXFSZ])
    except OSError as exc:
        print(f"otel-usage: {path!r} can't be run: {exc.strerror}", file=sys.stderr)
        return 126
    for signal_number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(signal_number, signal.SIG_IGN)  # the terminal tells the child itself
    for early_signal in early_signals:
        _send_signal(child, early_signal)
    status = _wait_for(child)
    child = 0  # its number is free now: nothing may be sent to it any more
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
    """Send a signal to the child *pid*, unless it is gone."""
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError:
        pass


def _wait_for(pid: int) -> int:
    """Wait for the child *pid*; return its exit code, or the signal that ended it, negative. Stop when it is stopped."""
    import signal

    while True:
        _, status = os.waitpid(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status)
        if os.WSTOPSIG(status) == signal.SIGSTOP:  # the others come from the terminal, which stops us as well
            os.kill(os.getpid(), signal.SIGSTOP)
            _send_signal(pid, signal.SIGCONT)
