"""Run a Python program and return what it did: seen from inside by an audit hook, from outside by strace.

Ring 1 (background). What is inside the program is in otel_usage/trap/.
"""

from __future__ import annotations

import marshal
import os
import re
import subprocess
import sys
from ast import literal_eval
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .. import __version__

TRAP = str(Path(__file__).parent.parent / "trap")

# Audit events, and what they are. Source: CPython, Doc/library/audit_events.
_AUDITED = {
    "socket.__new__": "socket", "socket.connect": "socket", "socket.sendto": "socket", "socket.sendmsg": "socket",
    "socket.bind": "socket",
    "socket.getaddrinfo": "lookup", "socket.gethostbyname": "lookup", "socket.gethostbyaddr": "lookup",
    "socket.getnameinfo": "lookup",
    "subprocess.Popen": "process", "os.posix_spawn": "process", "os.exec": "process", "os.fork": "process",
    "os.forkpty": "process", "os.spawn": "process", "os.system": "process", "os.startfile": "process",
    "open": "file", "os.mkdir": "file", "os.rename": "file", "os.remove": "file", "os.rmdir": "file", "os.link": "file",
    "os.symlink": "file", "os.truncate": "file", "os.utime": "file", "os.chmod": "file", "os.chown": "file",
    "os.listdir": "file", "os.scandir": "file", "os.chdir": "file", "os.lockf": "file", "fcntl.lockf": "file",
    "sqlite3.connect": "file",
}  # fmt: skip
_CALLS = {
    "socket": "socket", "connect": "socket", "sendto": "socket", "sendmsg": "socket", "sendmmsg": "socket",
    "bind": "socket",
    "fork": "process", "vfork": "process", "execve": "process", "execveat": "process", "clone": "process",
    "clone3": "process", "memfd_create": "file",
}  # fmt: skip
_LOOKS = {
    "open", "openat", "openat2", "stat", "lstat", "stat64", "lstat64", "newfstatat", "fstatat64", "statx", "access",
    "faccessat", "faccessat2", "readlink", "readlinkat", "statfs",
}  # fmt: skip
_IGNORED = {
    "accept", "accept4", "getpeername", "getsockname", "getsockopt", "listen", "recvfrom", "recvmmsg", "recvmsg",
    "setsockopt", "shutdown", "socketpair", "exit", "exit_group", "getcwd", "kill", "tgkill", "wait4", "waitid",
}  # fmt: skip


class Event(NamedTuple):
    """One thing that a program did. kind: ``socket``, ``lookup``, ``process``, ``file`` or ``exit``.

    words: how and with what: ``read /etc/hosts``, ``socket.connect ('127.0.0.1', 80)``.
    """

    kind: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.words)

    @property
    def reads(self) -> bool:
        """True if it only looks at a file or folder."""
        return self.kind == "file" and self.words[0] == "read"


@dataclass(frozen=True)
class Init:
    """What the program told `otel_usage.init`. flag: its option that says off, if it was given."""

    app: str
    consent: str
    policy: int
    service: bool
    flag: str


@dataclass
class Ran:
    """What one run did. last: the last line on its stderr; packages: where otel_usage was found."""

    code: int
    last: str
    blind: bool = False
    events: list[Event] = field(default_factory=list)
    inits: list[Init] = field(default_factory=list)
    packages: set[str] = field(default_factory=set)


def audited(
    command: Sequence[str], environ: Mapping[str, str], log: str, *, inert: bool, absent: Sequence[str] = ()
) -> Ran:
    """Run *command* under the audit hook. inert: without us; absent: files that it shall not see."""
    open(log, "wb").close()
    ended = _run(command, _environ(environ, log, inert, absent))
    lines = ended.stderr.decode(errors="replace").split("\n")
    ran = Ran(ended.returncode, next((line for line in reversed(lines) if line.strip()), ""))
    ran.blind = os.path.isdir(log + ".blind")
    with open(log, encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            event, *words = line.rstrip("\n").split("\t")
            if event == "init":
                ran.inits.append(Init(*literal_eval(words[0])))
            elif event == "package":
                ran.packages.add(words[0])
            elif event in _AUDITED and not any(word.startswith(TRAP) for word in words):
                looks = event in ("open", "os.listdir", "os.scandir")  # have said already whether they read or write
                ran.events.append(Event(_AUDITED[event], (*words,) if looks else (event, *words)))
    ran.events.append(Event("exit", ("code", str(ended.returncode))))
    return ran


def traced(
    tracer: str,
    command: Sequence[str],
    environ: Mapping[str, str],
    log: str,
    *,
    inert: bool,
    absent: Sequence[str] = (),
) -> list[Event] | None:
    """Run *command* under strace; return what it did, None if it can't be traced here."""
    unused = log + ".unused"
    options = ["-f", "-qq", "-y", "-s", "1024", "-e", "trace=network,process,file,memfd_create", "-o", log]
    open(log, "wb").close()
    ended = _run([tracer, *options, "--", *command], _environ(environ, unused, inert, absent))
    with open(log, encoding="utf-8", errors="replace") as file:
        lines = file.readlines()
    if not lines:
        return None if ended.returncode else []
    found = [event for line in lines if (event := _event(line)) is not None]
    return [event for event in found if not any(word.startswith((TRAP, log)) for word in event.words)]


def can_trace(tracer: str, environ: Mapping[str, str], log: str) -> bool:
    """True if *tracer* is allowed to trace; in many containers it is not."""
    return traced(tracer, [sys.executable, "-c", ""], environ, log, inert=False) is not None


def _run(command: Sequence[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False)


def _environ(environ: Mapping[str, str], log: str, inert: bool, absent: Sequence[str]) -> dict[str, str]:
    told = {**environ, "OTEL_USAGE_TRAP": marshal.dumps((log, inert, __version__, list(absent)), 2).hex()}
    told["PYTHONPATH"] = os.pathsep.join([TRAP, *([environ["PYTHONPATH"]] if environ.get("PYTHONPATH") else [])])
    return told


def _event(line: str) -> Event | None:
    """Return what one line of strace says, None if it is of no interest."""
    match = re.match(r"(?:\d+\s+)?(\w+)\((.*)", line)
    if match is None:
        return None
    call, rest = match.groups()
    texts = re.findall(r'"((?:[^"\\]|\\.)*)"', rest)
    kind = _CALLS.get(call)
    if kind == "socket":
        address = re.search(r"\{sa_family=[^}]*\}", rest)
        return Event(kind, (call, address.group() if address else rest.partition(")")[0] if call == "socket" else ""))
    if kind is not None:
        thread = call in ("clone", "clone3") and "CLONE_THREAD" in rest
        return None if thread else Event(kind, (call, *texts))
    if not texts or not texts[0] or call in _IGNORED:  # no name: an open file is looked at
        return None
    looks = call in _LOOKS and not any(mark in rest for mark in ("O_WRONLY", "O_RDWR", "O_CREAT"))
    return Event("file", ("read" if looks else "write", *texts))
