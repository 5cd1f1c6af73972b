"""A user who has said nothing about telemetry yet, with or without a terminal, and the program ``every_switch.py``."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .hosts import Ended, Host, until
from .spools import Sink

PROGRAM = "every_switch.py"


class User(Host):
    """A user of ``prog``. Nothing is switched on or off."""

    def __post_init__(self) -> None:
        super().__post_init__()
        del self.environ["PROG_TELEMETRY"]

    @property
    def folder(self) -> Path:
        """Where everything of ``prog`` is kept."""
        return self.home / self.app

    @property
    def kept(self) -> list[str]:
        """Every file and folder of ours, but for the debug folder that tests need."""
        return sorted(
            str(path.relative_to(self.home))
            for path in self.home.rglob("*")
            if path.relative_to(self.home).parts[0] != "debug"
        )

    @property
    def choice(self) -> list[str]:
        """The words of the stored choice."""
        return (self.folder / "consent").read_text().split()

    def choose(self, mode: str, since: int = 1, policy: int = 1) -> None:
        """Store a choice as if made earlier."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "consent").write_text(f"{mode} {since} {policy}\n")

    def prog(self, *argv: str, **env: str | None) -> Ended:
        """Run the program; nobody is at a terminal."""
        return self.run(PROGRAM, *argv, env=env)

    def sends(self, sink: Sink, *argv: str, **env: str | None) -> Ended:
        """Run the program with a real sender behind it."""
        return self.prog(
            *argv, **{"T_SINK": sink.address, "OTEL_USAGE_SENDER": "detached", "OTEL_USAGE_SEND_DELAY_S": "0", **env}
        )

    def ours(self, *argv: str, **env: str | None) -> Ended:
        """Run the ``otel-usage`` command."""
        return self.run("-m", "otel_usage.cli", *argv, env=env)

    def on_terminal(self, *argv: str, typed: str = "", program: str = PROGRAM, **env: str | None) -> Ended:
        """Run the program with all streams on one terminal, on which *typed* is entered once a question is asked."""
        master, slave = os.openpty()
        process = self.start(program, *argv, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        shown, end = b"", time.monotonic() + 30
        while time.monotonic() < end:
            if select.select([master], [], [], 0.01)[0]:
                try:
                    part = os.read(master, 4096)
                except OSError:  # the other side is closed
                    break
                if not part:
                    break
                shown += part
                if typed and shown.rstrip().endswith((b"?", b"]")):
                    os.write(master, typed.encode())
                    typed = ""
            elif process.poll() is not None:
                break
        status = process.wait(30)
        os.close(master)
        return Ended(status, shown.replace(b"\r\n", b"\n"), b"")


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    """A fresh user. Fails the test if the foreground swallowed a fault of its own."""
    made = User(tmp_path)
    yield made
    assert "" == made.faults


def senders(user: User) -> list[int]:
    """Return the processes that send for this user."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (
                str(user.home).encode() in (entry / "environ").read_bytes()
                and b"\0otel-usage\0" in (entry / "cmdline").read_bytes()
            ):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def settled(user: User) -> None:
    """Wait until no sender is left."""
    until(lambda: not senders(user))


def python(code: str, *argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a few lines of Python."""
    return subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=False, **options)


def asked(user: User, verb: str, *words: str, **env: str | None) -> Any:
    """Return what ``otel-usage VERB --json`` prints, as Python has it."""
    ended = user.ours(verb, "--app", "prog", "--json", *words, **env)
    assert (0, b"") == (ended.status, ended.err)
    return json.loads(ended.out)


def sent_once(user: User, sink: Sink) -> None:
    """Have one report recorded and sent."""
    user.choose("on")
    user.sends(sink, "report")
    until(lambda: sink.ids() and sink.points())
    settled(user)
