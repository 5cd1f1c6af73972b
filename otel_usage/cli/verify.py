"""``otel-usage verify``: prove that off is off.

Ring 1 (background). Runs a program twice, in the environment at hand: with us, and with an inert module in our place.
What only the first run did, is ours. Watched from inside by an audit hook, and by strace where there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .run import is_python

TRAP = Path(__file__).parent.parent / "trap"
OURS = str(Path(__file__).parent.parent)
KINDS = ("socket", "lookup", "process", "file")

# Audit events, and what they are. Source: CPython, Doc/library/audit_events.
_AUDITED = {
    "socket.__new__": "socket", "socket.connect": "socket", "socket.sendto": "socket", "socket.bind": "socket",
    "socket.getaddrinfo": "lookup", "socket.gethostbyname": "lookup", "socket.gethostbyaddr": "lookup",
    "socket.getnameinfo": "lookup",
    "subprocess.Popen": "process", "os.posix_spawn": "process", "os.exec": "process", "os.fork": "process",
    "os.forkpty": "process", "os.spawn": "process", "os.system": "process", "os.startfile": "process",
    "open": "file", "os.mkdir": "file", "os.rename": "file", "os.remove": "file", "os.rmdir": "file", "os.link": "file",
    "os.symlink": "file", "os.truncate": "file", "os.utime": "file", "os.chmod": "file", "os.chown": "file",
    "os.listdir": "file", "os.scandir": "file", "os.chdir": "file", "os.lockf": "file", "fcntl.lockf": "file",
}  # fmt: skip
_CALLS = {
    "socket": "socket", "connect": "socket", "sendto": "socket", "sendmsg": "socket", "bind": "socket",
    "fork": "process", "vfork": "process", "execve": "process", "execveat": "process", "clone": "process",
    "clone3": "process", "memfd_create": "file",
}  # fmt: skip
# What differs from run to run by chance: numbers, hexadecimal, what tempfile makes.
_CHANCE = re.compile(
    rf"(?<=tmp)[a-z0-9_]{{8}}|(?<={re.escape(tempfile.gettempdir())}/)[a-z0-9_]{{8}}\b|0x[0-9a-f]+|[0-9a-f]{{8,}}|\d+"
)


@dataclass
class Found:
    """What a program did only because of us. foreign: (kind, what); allowed: our code, and the stored choice."""

    foreign: list[tuple[str, str]] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    watchers: list[str] = field(default_factory=list)
    codes: tuple[int, int] = (0, 0)

    @property
    def clean(self) -> bool:
        """True if off is off."""
        return not self.foreign and self.codes[0] == self.codes[1]


def add(commands: Any) -> None:
    """Add the sub-command."""
    told = commands.add_parser(
        "verify",
        help="prove that off is off, e.g. in your own CI",
        usage="otel-usage verify [--json] -- PROGRAM [ARGUMENT ...]",
        description="Run PROGRAM (a Python program) as it is and without us, watch what it does, and fail (exit code 1) on"
        " any socket, DNS lookup, process or file that only appears with us. Say off first, as your users would: "
        "MYCLI_TELEMETRY=off otel-usage verify -- mycli --help. It runs more than once: choose a harmless command.",
    )
    told.add_argument("--json", action="store_true", help="for machines")
    told.add_argument("program", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    told.set_defaults(call=call)


def call(told: argparse.Namespace) -> int:
    """Compare, and say what was found: 0 if off is off, 1 if not."""
    words = told.program[1:] if told.program[:1] == ["--"] else told.program
    if not words:
        print(
            "otel-usage: no program to verify; write it after --, e.g. otel-usage verify -- mycli --help",
            file=sys.stderr,
        )
        return 2
    path = shutil.which(words[0])
    if path is None or not is_python(path, words):
        print(f"otel-usage: {words[0]!r} is not a Python program on PATH", file=sys.stderr)
        return 2
    found = compare([path, *words[1:]])
    if told.json:
        print(
            json.dumps(
                {
                    "clean": found.clean,
                    "watched_by": found.watchers,
                    "only_with_us": found.foreign,
                    "allowed": found.allowed,
                    "exit_codes": found.codes,
                },
                indent=2,
            )
        )
        return 0 if found.clean else 1
    name = " ".join(words)
    if found.clean:
        counts = ", ".join(f"0 {kind}{'es' if kind == 'process' else 's'}" for kind in KINDS)
        print(f"off is off: with us, `{name}` does nothing that it does not do without us ({counts})")
    else:
        print(f"off is NOT off: only with us, `{name}` does this:")
        for kind, what in found.foreign:
            print(f"  {kind:8} {what}")
        if found.codes[0] != found.codes[1]:
            print(f"  exit code {found.codes[0]}, without us {found.codes[1]}")
    print(f"watched by: {', '.join(found.watchers)}")
    if found.allowed:
        print(f"allowed: reading our own code and where a choice may be kept ({', '.join(found.allowed)})")
    return 0 if found.clean else 1


def compare(command: Sequence[str], environ: Mapping[str, str] | None = None, strace: str | None = "strace") -> Found:
    """Return what *command*, a Python program, does only with us. environ: its environment, default this process's.

    strace: the program to watch from outside with too, if it is there. The program runs up to five times.
    """
    environ = dict(os.environ if environ is None else environ)
    found = Found(watchers=["audit hook"])
    with tempfile.TemporaryDirectory(prefix="otel-usage-verify-") as folder:
        log = os.path.join(folder, "log")
        code, ours = _audited(command, environ, log, inert=False)
        bare, theirs = _audited(command, environ, log, inert=True)
        again = _audited(command, environ, log, inert=True)[1]
        found.codes = (code, bare)
        _judge(found, ours, {_shape(event) for event in [*theirs, *again]}, environ)
        tracer = shutil.which(strace) if strace else None
        if tracer is not None and _traced([tracer], [sys.executable, "-c", ""], environ, log, False) is not None:
            found.watchers.append("strace")
            seen = _traced([tracer], command, environ, log, False) or []
            without = _traced([tracer], command, environ, log, True) or []
            _judge(found, seen, {_shape(event) for event in without}, environ)
    return found


def _judge(
    found: Found, ours: Iterable[tuple[str, str]], theirs: set[tuple[str, str]], environ: Mapping[str, str]
) -> None:
    from .. import MACHINE, getter, home

    root = home(getter(environ))
    choice = re.compile(re.escape(root) + r"/[^/]+/consent") if root else None
    for kind, what in ours:
        if _shape((kind, what)) in theirs or (kind, what) in found.foreign:
            continue
        reads = kind == "file" and what.startswith("read ")
        path = what.partition(" ")[2]
        if reads and (path + "/").startswith(OURS + "/") and not path.startswith(str(TRAP)):
            label = "our code"
        elif reads and ((choice and choice.fullmatch(path)) or path.startswith(MACHINE + "/")):
            label = path
        else:
            found.foreign.append((kind, what))
            continue
        if label not in found.allowed:
            found.allowed.append(label)


def _shape(event: tuple[str, str]) -> tuple[str, str]:
    return event[0], _CHANCE.sub("*", event[1])


def _environ(environ: Mapping[str, str], log: str, inert: bool) -> dict[str, str]:
    path = environ.get("PYTHONPATH")
    told = {**environ, "OTEL_USAGE_TRAP": json.dumps([log, inert, path])}
    told["PYTHONPATH"] = os.pathsep.join([str(TRAP), *([path] if path else [])])
    return told


def _audited(
    command: Sequence[str], environ: Mapping[str, str], log: str, inert: bool
) -> tuple[int, list[tuple[str, str]]]:
    """Run *command* under the audit hook; return its exit code and what it did: (kind, what)."""
    open(log, "wb").close()
    ended = subprocess.run(
        command, env=_environ(environ, log, inert), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    events = []
    with open(log, encoding="utf-8", errors="replace") as file:
        for line in file:
            event, _, what = line.rstrip("\n").partition("\t")
            if event in _AUDITED:
                events.append((_AUDITED[event], what))
    return ended.returncode, events


def _traced(
    tracer: Sequence[str], command: Sequence[str], environ: Mapping[str, str], log: str, inert: bool
) -> list[tuple[str, str]] | None:
    """Run *command* under strace; return what it did, None if it can't be traced here."""
    unused = os.path.join(os.path.dirname(log), "unused")
    options = ["-f", "-qq", "-y", "-s", "256", "-e", "trace=network,process,file,memfd_create", "-o", log]
    open(log, "wb").close()
    ended = subprocess.run(
        [*tracer, *options, "--", *command],
        env=_environ(environ, unused, inert),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    with open(log, encoding="utf-8", errors="replace") as file:
        lines = file.readlines()
    if not lines:
        return None if ended.returncode else []
    return [event for line in lines if (event := _event(line)) is not None]


def _event(line: str) -> tuple[str, str] | None:
    """Return (kind, what) of one line of strace, None if it is of no interest."""
    match = re.match(r"(?:\d+\s+)?(\w+)\((.*)", line)
    if match is None:
        return None
    call, rest = match.groups()
    if call in _CALLS:
        words = re.findall(r'"([^"]*)"', rest)
        thread = call in ("clone", "clone3") and "CLONE_THREAD" in rest
        return None if thread else (_CALLS[call], " ".join([call, *words[:2]]))
    found = re.search(r'"([^"]*)"', rest)
    if found is None or call in ("exit_group", "wait4", "kill", "tgkill", "getcwd"):
        return None
    writes = call not in (
        "open",
        "openat",
        "stat",
        "lstat",
        "newfstatat",
        "statx",
        "access",
        "faccessat",
        "faccessat2",
        "readlink",
        "readlinkat",
        "statfs",
    )
    writes = writes or any(mark in rest for mark in ("O_WRONLY", "O_RDWR", "O_CREAT"))
    return "file", f"{'write' if writes else 'read'} {found.group(1)}"
