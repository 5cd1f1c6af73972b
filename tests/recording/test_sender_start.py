"""The start of a sender, where that is not a matter of course: odd import paths, no interpreter, contained processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ..hosts import cells_in, until
from ..spools import Sink, sink  # noqa: F401  a fixture
from ..users import User, senders, settled

PROGRAM = """
import os, pathlib, sys
{}
import otel_usage
usage = otel_usage.init("prog", version="1.4", consent="opt-in", destinations={{"otlp": os.environ["T_SINK"]}})
usage.command("scan")
"""
PATHS = {
    "a path object": "sys.path.append(pathlib.Path('/x'))",
    "bytes": "sys.path.insert(0, b'/x')",
    "a number": "sys.path.append(7)",
    "None": "sys.path.append(None)",
    "a text of a class that answers nothing": """
class Path(str):
    def no(self, *_): raise RuntimeError("asked")
    __getitem__ = __repr__ = __eq__ = __len__ = __bool__ = no
    __hash__ = str.__hash__
sys.path.append(Path("/x"))""",
    "relative, in a folder that is gone": """
os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")
sys.path += ["", "lib"]""",
    "a tuple": "sys.path = tuple(sys.path)",
}


@pytest.mark.parametrize("path", PATHS)
def test_an_odd_import_path(user: User, sink: Sink, path: str) -> None:  # noqa: F811
    """Whatever stands in sys.path, the run is delivered."""
    env = {"PROG_TELEMETRY": "on", "T_SINK": sink.address, "OTEL_USAGE_SENDER": "", "OTEL_USAGE_SEND_DELAY_S": "0"}

    ended = user.run(PROGRAM.format(PATHS[path]), env=env)

    assert (0, b"") == (ended.status, ended.err)
    until(lambda: sink.told)
    settled(user)


@pytest.mark.parametrize("python", ["''", "None", "'/no/such/python'", "'/etc/passwd'"])
def test_no_interpreter_to_start_it_with(user: User, python: str) -> None:
    """The run waits, `status` says why, the next run does not try again, and what waits is bounded."""
    env = {"PROG_TELEMETRY": "on", "T_SINK": "http://127.0.0.1:9", "OTEL_USAGE_SENDER": ""}
    source = (
        PROGRAM.format(f"sys.executable = {python}")
        + "from otel_usage.recording import folders\nfolders.trim.__defaults__ = (2,)\n"
    )

    for _ in range(4):
        assert b"" == user.run(source, env=env).err
        (user.spool / "wake").touch()  # an hour has passed
        assert 0 < len(user.files()) <= 3
    user.run(source, env=env)
    said = user.ours("status", "--app", "prog", **env).out

    assert b"no Python that can be started" in b" ".join(said.split()), said


def contained(*words: str) -> list[str]:
    """Return the command line that runs *words* as a child of process 1 in a PID namespace of their own."""
    return ["unshare", "--pid", "--fork", "--mount-proc", *words]


@pytest.mark.skipif(
    subprocess.run(contained("true"), capture_output=True, check=False).returncode != 0, reason="no namespaces here"
)
@pytest.mark.parametrize("way", ["process 1", "a child of process 1"])
def test_a_container_without_marks(user: User, sink: Sink, way: str) -> None:  # noqa: F811
    """Nothing of Docker or Kubernetes is to be seen: it is waited for, and what was recorded arrives before the end."""
    program = user.tmp / "work" / "host.py"
    program.write_text(
        PROGRAM.format(
            "time = __import__('otel_usage.recording.sender_start').recording.sender_start\ntime.INLINE_S = 20"
        )
    )
    words = [sys.executable, str(program)]
    if way != "process 1":
        words = ["sh", "-c", '"$@"; true', "sh", *words]
    env = {**user.environ, "PROG_TELEMETRY": "on", "T_SINK": sink.address, "OTEL_USAGE_SENDER": ""}

    ended = subprocess.run(contained(*words), env=env, cwd=user.tmp / "work", capture_output=True, check=False)

    assert (0, b"", True) == (ended.returncode, ended.stderr, bool(sink.told))
    assert [] == user.files()


@pytest.mark.parametrize(
    ("pid", "ppid", "environ", "init", "inline"),
    [
        (1, 0, {}, "python", True),
        (7, 1, {}, "sh", True),
        (7, 1, {}, "tini", True),
        (7, 1, {}, "systemd", False),
        (7, 1, {"INVOCATION_ID": "x"}, "systemd", True),
        (7, 6, {"INVOCATION_ID": "x"}, "systemd", False),
        (7, 6, {"KUBERNETES_SERVICE_HOST": "x"}, "sh", False),
        (7, 1, {}, None, False),
    ],
)
def test_who_ends_with_its_container(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    pid: int,
    ppid: int,
    environ: dict[str, str],
    init: str | None,
    inline: bool,
) -> None:
    """Process 1, its children where it is no machine's init, and the processes of systemd's units."""
    from otel_usage.recording import folders, sender_start

    class System:
        """Stands for os: another process's numbers, and another process 1."""

        O_RDONLY = sender_start.os.O_RDONLY
        read, close = staticmethod(sender_start.os.read), staticmethod(sender_start.os.close)
        getpid, getppid = staticmethod(lambda: pid), staticmethod(lambda: ppid)

        @staticmethod
        def open(path: str, flags: int) -> int:
            assert "/proc/1/comm" == path
            return real_open(tmp_path / "comm", flags)

    real_open = sender_start.os.open
    System.environ = environ  # type: ignore[attr-defined]
    if init is not None:
        (tmp_path / "comm").write_text(f"{init}\n")
    monkeypatch.setattr(sender_start, "os", System)
    monkeypatch.setattr(folders, "os", System)

    assert inline == sender_start._in_container()


REAPERS = {
    "a handler that reaps whatever there is": """
def reap(*_):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]: pass
    except ChildProcessError: pass
signal.signal(signal.SIGCHLD, reap)""",
    "children that nobody waits for": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
}


@pytest.mark.parametrize("reaper", REAPERS)
def test_a_program_that_reaps_every_child(user: User, sink: Sink, reaper: str) -> None:  # noqa: F811
    """It takes the shell that starts our sender before we see it end: no sender is missing, and one is started, not several."""
    program = PROGRAM.replace('["T_SINK"]}}', '["T_SINK"]}}, schema={{"n": {{"kind": "count", "why": "x"}}}}')
    source = (
        program.format("import signal") + REAPERS[reaper] + "\nfor _ in range(3):\n usage.count('n'); usage.flush()\n"
    )
    env = {"PROG_TELEMETRY": "on", "T_SINK": sink.address, "OTEL_USAGE_SENDER": "", "OTEL_USAGE_SEND_DELAY_S": "3"}

    ended = user.run(source, env=env)

    assert (0, b"") == (ended.status, ended.err)
    assert "" == (user.spool / "wake").read_text()
    assert 1 == len(senders(user))
    settled(user)
    assert 3 == sink.points()["usage.count.n", ""]


def test_a_token_that_can_not_be_read_loses_no_count(user: User) -> None:
    """Whether a sender could be started decides nothing about what a worker has counted."""
    source = PROGRAM.replace('["T_SINK"]}}', '["T_SINK"]}}, schema={{"n": {{"kind": "count", "why": "x"}}}}').format("")
    source += "if os.fork() == 0:\n usage.count('n', 2); usage.count('n'); os._exit(0)\nos.wait()\n"
    env = {
        "PROG_TELEMETRY": "on",
        "T_SINK": "http://127.0.0.1:9",
        "OTEL_USAGE_SENDER": "",
        "OTEL_USAGE_SEND_DELAY_S": "3000",
    }
    user.run(PROGRAM.format(""), env={**env, "OTEL_USAGE_SENDER": "none"})
    (user.spool / "wake").unlink(missing_ok=True)
    (user.spool / "wake").symlink_to(user.tmp / "nowhere" / "at all")

    ended = user.run(source, env=env)

    counted = [n for file in (user.spool / "cells").iterdir() for _, _, n in cells_in(file)]
    assert (0, b"", [3]) == (ended.status, ended.err, counted)
