"""A program that only ever dies by signals: what it leaves is sent when it is started again."""

import os
import signal
import subprocess

import pytest

from ..hosts import until
from ..spools import sink  # noqa: F401  a fixture
from ..users import senders, settled

PROGRAM = """
import os, signal, sys
import otel_usage
usage = otel_usage.init("prog", version="1.4", consent="opt-in", destinations={"otlp": os.environ["T_SINK"]},
    schema={"n": {"kind": "count", "why": "x"}, "did": {"why": "x"}}, sender=os.environ.get("T_SENDER", "detached"))
usage.command("serve")
if os.fork() == 0:  # a worker: what it records is written through
    usage.count("n"); usage.action("did")
    os._exit(0)
os.wait()
usage.count("n"); usage.action("did"); usage.flush()
print("up", flush=True)
sys.stdin.read()
"""
NOTHING_ELSE = PROGRAM.replace("if os.fork()", "if os.environ.get('T_WORKER') and os.fork()").replace(
    "os.wait()\nusage.count", "if os.environ.get('T_WORKER'): os.wait()\nif os.environ.get('T_WORKER'): usage.count"
)


def killed(user, program, number, **env):
    """Start the program, and end it by a signal once it serves."""
    process = user.start(program, env=env, stdin=subprocess.PIPE, flags=("-W", "ignore"))
    assert b"up\n" == process.stdout.readline(), process.stderr.read()
    os.kill(process.pid, number)
    process.communicate(timeout=20)
    assert -number == process.returncode


def of_kind(sink, kind):  # noqa: F811
    return [span["spanId"] for span in sink.spans() if span["attributes"]["usage.kind"] == kind]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_program_that_is_always_killed(user, sink, number):  # noqa: F811
    """Five starts: each action, count and unfinished run arrives, once. The last run's stub comes with the next start."""
    env = {"PROG_TELEMETRY": "on", "T_SINK": sink.address, "OTEL_USAGE_SENDER": "", "OTEL_USAGE_SEND_DELAY_S": "0"}
    env["T_WORKER"] = "1"
    for _ in range(5):
        killed(user, NOTHING_ELSE, number, **env)
    until(lambda: 4 <= len(of_kind(sink, "run")))
    settled(user)
    user.run("import otel_usage\notel_usage.init('prog', version='1.4', consent='opt-in')\n", env=env)
    settled(user)
    user.start(NOTHING_ELSE, env={**env, "T_WORKER": ""}).communicate(timeout=20)
    until(lambda: 5 <= len([s for s in sink.spans() if s["attributes"].get("usage.outcome") == "unfinished"]))
    settled(user)

    unfinished = [s["spanId"] for s in sink.spans() if s["attributes"].get("usage.outcome") == "unfinished"]
    actions = of_kind(sink, "action")
    assert (5, 5) == (len(unfinished), len(set(unfinished)))
    assert (10, 10) == (len(actions), len(set(actions)))
    assert 10 == sum(n for (name, _), n in sink.points().items() if name == "usage.count.n")


def test_a_run_and_nothing_else(user, sink):  # noqa: F811
    """No worker, no action: nothing but the next start could start a sender, and it does."""
    env = {"PROG_TELEMETRY": "on", "T_SINK": sink.address, "OTEL_USAGE_SENDER": "", "OTEL_USAGE_SEND_DELAY_S": "0"}
    killed(user, NOTHING_ELSE, signal.SIGKILL, **env)
    assert [] == sink.told

    killed(user, NOTHING_ELSE, signal.SIGKILL, **env)
    until(lambda: of_kind(sink, "run"))
    settled(user)
    ids = of_kind(sink, "run")  # of the second too, if it was dead when the sender looked
    assert len(ids) == len(set(ids))


def test_a_container_is_not_kept_waiting(user, sink):  # noqa: F811
    """Where a sender is waited for at the end, it is not at the start; and the program has no child that it did not start."""
    source = NOTHING_ELSE.replace(
        "print(", "try: os.waitpid(-1, os.WNOHANG); print('a child')\nexcept ChildProcessError: pass\nprint("
    )
    env = {"PROG_TELEMETRY": "on", "T_SINK": sink.address, "OTEL_USAGE_SENDER": "inline"}
    killed(user, source, signal.SIGKILL, **env)
    process = user.start(source, env=env, stdin=subprocess.PIPE)
    assert b"up\n" == process.stdout.readline()

    assert [] == sink.told  # it sleeps for its ten seconds: nobody has waited
    process.communicate(timeout=20)
    until(lambda: 2 == len(of_kind(sink, "run")))  # the one at the end sends both
    for pid in senders(user):
        os.kill(pid, signal.SIGKILL)


def test_processes_that_live(user, sink):  # noqa: F811
    """A second process of the program finds the first one's file, which is locked, and starts no sender for it."""
    env = {"PROG_TELEMETRY": "on", "T_SINK": sink.address, "OTEL_USAGE_SENDER": "", "OTEL_USAGE_SEND_DELAY_S": "0"}
    first = user.start(NOTHING_ELSE, env=env, stdin=subprocess.PIPE)
    assert b"up\n" == first.stdout.readline()
    killed(user, NOTHING_ELSE, signal.SIGKILL, **env)

    assert not (user.spool / "wake").exists()
    first.communicate(timeout=20)
    settled(user)


@pytest.mark.parametrize("what", ["pipe", "link", "folder", "nothing to read"])
def test_odd_files_are_no_leftovers(user, what):
    """They neither keep the program waiting, nor start a sender."""
    folder = user.spool / "open"
    folder.mkdir(parents=True)
    path = folder / "0000-1.traces.jsonl"
    {
        "pipe": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to("/etc/passwd"),
        "folder": path.mkdir,
        "nothing to read": lambda: os.symlink("/nowhere", path),
    }[what]()
    env = {"PROG_TELEMETRY": "on", "T_SINK": "http://127.0.0.1:9", "OTEL_USAGE_SENDER": ""}
    killed(user, NOTHING_ELSE, signal.SIGKILL, **env)

    assert not (user.spool / "wake").exists()


def test_what_nobody_sends_is_bounded(host):
    """The oldest files of dead processes make room, and are counted; one whose process lives stays, however old."""
    spool = host.spool / "local"
    (spool / "open").mkdir(parents=True)
    (spool / "new").mkdir()
    for number in range(70):
        os.close(os.open(spool / "open" / f"{number:016x}-00.traces.jsonl", os.O_CREAT))
    living = os.open(spool / "open" / f"{3:016x}-00.traces.jsonl", os.O_RDWR)
    os.lockf(living, os.F_TLOCK, 0)

    program = "import otel_usage.recording.folders as folders\nfolders.MAX_WAITING = 50\n"
    program += "import otel_usage\notel_usage.init('prog', version='1', consent='opt-in')\n"
    host.run(program, env={"PROG_TELEMETRY": "local"})
    left = sorted(int(path.name[:16], 16) for path in (spool / "open").iterdir())

    assert [3, *range(21, 70)] == left  # 21 were too many, with the program's own file
    assert "20" == (spool / "trimmed").read_text().strip()
    os.close(living)
