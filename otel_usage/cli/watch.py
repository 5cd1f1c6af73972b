"""Run a Python program and return what it did: seen from inside by an audit hook, from outside by strace.

The hook lies in ``startup/verify/``, a folder that is put on the program's PYTHONPATH; the variable OTEL_USAGE_TRAP tells
it what to do.

FORMAT  The hook's log has one line per audit event: words with tabs between them, the first the event's name. Two names
        are its own: ``init`` (the `InitCall` as a Python literal) and ``package`` (the folder where otel_usage lies).
        A folder ``<log>.blind`` says that the log could not be written to its end.
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

TRAP = str(Path(__file__).parent.parent / "startup" / "verify")  # the folder that is put on PYTHONPATH

# {audit event: kind of observation}. Source: CPython, Doc/library/audit_events.
_KIND_OF_AUDIT_EVENT = {
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
# {system call: kind of observation}; all others are of kind "file", if they name one.
_KIND_OF_SYSTEM_CALL = {
    "socket": "socket", "connect": "socket", "sendto": "socket", "sendmsg": "socket", "sendmmsg": "socket",
    "bind": "socket",
    "fork": "process", "vfork": "process", "execve": "process", "execveat": "process", "clone": "process",
    "clone3": "process", "memfd_create": "file",
}  # fmt: skip
# System calls that only look at a file. The three that open do so unless their flags say otherwise.
_READING_CALLS = {
    "open", "openat", "openat2", "stat", "lstat", "stat64", "lstat64", "newfstatat", "fstatat64", "statx", "access",
    "faccessat", "faccessat2", "readlink", "readlinkat", "statfs",
}  # fmt: skip
# System calls that strace lists with the others, and that do nothing of interest, though they may hold a text.
_IGNORED_CALLS = {
    "accept", "accept4", "getpeername", "getsockname", "getsockopt", "listen", "recvfrom", "recvmmsg", "recvmsg",
    "setsockopt", "shutdown", "socketpair", "exit", "exit_group", "getcwd", "kill", "tgkill", "wait4", "waitid",
}  # fmt: skip


class Observation(NamedTuple):
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
class InitCall:
    """What the program gave to `otel_usage.init`. flag: its option that says off, if that was typed; else ""."""

    app: str
    consent: str
    policy: int
    service: bool
    flag: str


@dataclass
class WatchedRun:
    """What one run did. last_line: of its stderr; packages: the folders where otel_usage was found.

    blind: the program could not be watched to its end.
    """

    exit_code: int
    last_line: str
    blind: bool = False
    observations: list[Observation] = field(default_factory=list)
    inits: list[InitCall] = field(default_factory=list)
    packages: set[str] = field(default_factory=set)


def run_audited(
    command: Sequence[str], environ: Mapping[str, str], log: str, *, inert: bool, absent: Sequence[str] = ()
) -> WatchedRun:
    """Run *command* under the audit hook. inert: without us; absent: files that it shall not see."""
    open(log, "wb").close()
    ended = _run_to_end(command, _with_trap(environ, log, inert, absent))
    lines = ended.stderr.decode(errors="replace").split("\n")
    run = WatchedRun(ended.returncode, next((line for line in reversed(lines) if line.strip()), ""))
    run.blind = os.path.isdir(log + ".blind")
    with open(log, encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            event, *words = line.rstrip("\n").split("\t")
            if event == "init":
                run.inits.append(InitCall(*literal_eval(words[0])))
            elif event == "package":
                run.packages.add(words[0])
            elif event in _KIND_OF_AUDIT_EVENT and not any(word.startswith(TRAP) for word in words):
                # The hook has replaced the names of these by "read" or "write" already.
                replaced = event in ("open", "os.listdir", "os.scandir")
                run.observations.append(
                    Observation(_KIND_OF_AUDIT_EVENT[event], tuple(words) if replaced else (event, *words))
                )
    run.observations.append(Observation("exit", ("code", str(ended.returncode))))
    return run


def run_traced(
    tracer: str,
    command: Sequence[str],
    environ: Mapping[str, str],
    log: str,
    *,
    inert: bool,
    absent: Sequence[str] = (),
) -> list[Observation] | None:
    """Run *command* under strace, *tracer*; return what it did, None if it can't be traced here.

    The hook is there too, for it puts the inert module in our place; what it logs is not looked at.
    """
    unused_log = log + ".unused"
    options = ["-f", "-qq", "-y", "-s", "1024", "-e", "trace=network,process,file,memfd_create", "-o", log]
    open(log, "wb").close()
    ended = _run_to_end([tracer, *options, "--", *command], _with_trap(environ, unused_log, inert, absent))
    with open(log, encoding="utf-8", errors="replace") as file:
        lines = file.readlines()
    if not lines:
        return None if ended.returncode else []
    observations = [observation for line in lines if (observation := _parse_strace(line)) is not None]
    return [seen for seen in observations if not any(word.startswith((TRAP, log)) for word in seen.words)]


def can_trace(tracer: str, environ: Mapping[str, str], log: str) -> bool:
    """True if *tracer* is allowed to trace; in many containers it is not."""
    return run_traced(tracer, [sys.executable, "-c", ""], environ, log, inert=False) is not None


def _run_to_end(command: Sequence[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False)


def _with_trap(environ: Mapping[str, str], log: str, inert: bool, absent: Sequence[str]) -> dict[str, str]:
    """Return *environ* with what makes the interpreter load the hook, and what the hook needs to know."""
    handover = marshal.dumps((log, inert, __version__, list(absent)), 2).hex()
    python_path = os.pathsep.join([TRAP, *([environ["PYTHONPATH"]] if environ.get("PYTHONPATH") else [])])
    return {**environ, "OTEL_USAGE_TRAP": handover, "PYTHONPATH": python_path}


def _parse_strace(line: str) -> Observation | None:
    """Return what one line of strace says, None if it is of no interest."""
    match = re.match(r"(?:\d+\s+)?(\w+)\((.*)", line)
    if match is None:
        return None
    call, rest = match.groups()
    texts = re.findall(r'"((?:[^"\\]|\\.)*)"', rest)
    kind = _KIND_OF_SYSTEM_CALL.get(call)
    if kind == "socket":
        address = re.search(r"\{sa_family=[^}]*\}", rest)
        family = rest.partition(")")[0] if call == "socket" else ""
        return Observation(kind, (call, address.group() if address else family))
    if kind is not None:
        is_thread = call in ("clone", "clone3") and "CLONE_THREAD" in rest
        return None if is_thread else Observation(kind, (call, *texts))
    if not texts or not texts[0] or call in _IGNORED_CALLS:  # no name: an open file is looked at
        return None
    reads = call in _READING_CALLS and not any(flag in rest for flag in ("O_WRONLY", "O_RDWR", "O_CREAT"))
    return Observation("file", ("read" if reads else "write", *texts))
