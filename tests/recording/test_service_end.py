"""How a service ends is known where it can be known: by its own word, by the next start's look, by what the system says."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from ..hosts import INTERPRETERS, Host, version_of
from .test_service_process import kinds, program, starts

HANDLES = "signal.signal(signal.SIGTERM, lambda *a: sys.exit(0))\n"
LOOKS = "usage._recorder.service.look_at_s = 0.0; work()\n"
DIES = "os.kill(os.getpid(), signal.SIGKILL)\n"


def crashes(host: Host) -> list[dict[str, object]]:
    host.adopt()
    spans = [span for span in host.spans if span.name == "crash"]
    return [{key: value for key, value in span.attributes.items() if key != "usage.kind"} for span in spans]


def life(host: Host) -> list[str]:
    """Return what the newest start says of itself."""
    newest = max((host.spool / "starts").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    return newest.read_text().splitlines()


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
def test_who_handles_sigterm_and_left_no_word_has_crashed(host: Host, python: str) -> None:
    """The next start says so, once: how cannot be known. A second such end on that day is counted."""
    for _ in range(3):
        host.run(program(HANDLES + LOOKS + DIES), start_new_session=True, python=python)

    assert [{}] == crashes(host)
    assert {("usage.dropped", (("reason", "repeated"),)): 1} == host.counts
    assert 3 == len(starts(host))


WITHOUT = {
    "SIGTERM is not handled": LOOKS + DIES,
    "nobody has looked yet": HANDLES + DIES,
    "it stopped in order": HANDLES + LOOKS + "os.kill(os.getpid(), signal.SIGTERM)\n",
    "it said shutdown": HANDLES + LOOKS + "usage.shutdown()\nos._exit(0)\n",
    "another boot": HANDLES + "from otel_usage.recording import service_end\nservice_end._boot = lambda: 'other'\n" + LOOKS + DIES,
    "it ignores SIGTERM": "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + LOOKS + DIES,
}  # fmt: skip


@pytest.mark.parametrize("how", WITHOUT)
def test_what_cannot_be_known_is_no_crash(host: Host, how: str) -> None:
    """An upgrade ends a process by SIGTERM: where that shows nowhere, nothing is said."""
    host.run(program(WITHOUT[how]), start_new_session=True)
    host.run(program("os._exit(0)\n"), start_new_session=True)

    assert [] == crashes(host)
    assert 2 == len(starts(host))


@pytest.mark.parametrize("locked", [True, False])
def test_who_still_runs_has_not_crashed(host: Host, locked: bool) -> None:
    """Another start on the same disk, while the first one lives: also if the host has closed our descriptor."""
    more = "" if locked else "os.close(usage._recorder.service.life.descriptor)\n"
    living = host.start(
        program(HANDLES + LOOKS + more + "print(1, flush=True)\ntime.sleep(60)\n"), start_new_session=True
    )
    assert living.stdout is not None
    living.stdout.readline()
    host.run(program("os._exit(0)\n"), start_new_session=True)
    living.kill()
    living.communicate()

    assert [] == crashes(host)
    host.run(program("os._exit(0)\n"), start_new_session=True)
    assert [{}] == crashes(host)


@pytest.mark.parametrize("wrapper", [["nice"], ["timeout", "--foreground", "50"], ["sh", "-c", '"$@"; true', "sh"]])
def test_what_starts_a_service_does_not_lead_it(host: Host, wrapper: list[str]) -> None:
    """The service stops, whatever has started it and waits for it in the same group of processes, as ``uv run`` does."""
    command = [*wrapper, *host.command(program("sys.exit(0)\n"), ())]
    subprocess.run(command, env=host.environ, cwd=host.tmp, check=True, capture_output=True, start_new_session=True)
    host.adopt()

    assert 1 == kinds(host).count("stop")


GROUP = "from otel_usage.recording import service_end, lasting\nservice_end.GROUPS = (os.environ['T_GROUP'],)\n"


def test_killed_for_want_of_memory(host: Host) -> None:
    """Where the system has killed another process of its control group meanwhile, the signal is known."""
    group = host.tmp / "memory.events"
    group.write_text("low 0\noom 1\noom_kill 1\noom_group_kill 0\n")
    patched = program("").replace(
        "usage = otel_usage.init", "from otel_usage.recording import recorder\n" + GROUP + "usage = otel_usage.init"
    )
    host.run(patched + HANDLES + LOOKS + DIES, env={"T_GROUP": str(group)}, start_new_session=True)
    group.write_text("low 0\noom 2\noom_kill 2\noom_group_kill 0\n")
    host.run(patched + "os._exit(0)\n", env={"T_GROUP": str(group)}, start_new_session=True)

    assert [{"usage.signal": "SIGKILL"}] == crashes(host)


@pytest.mark.parametrize("container", [True, False])
def test_a_worker_that_was_killed_for_want_of_memory(host: Host, container: bool) -> None:
    """Who lives says so, in a container, whose processes are the service's; elsewhere they may be anybody's."""
    group = host.tmp / "memory.events"
    group.write_text("oom_kill 1\n")
    source = (
        GROUP
        + f"lasting.in_container = lambda: {container}\n"
        + """
usage._recorder.service.live()
for n in (1, 2, 2, 3):
    open(os.environ["T_GROUP"], "w").write(f"oom_kill {n}\\n")
    usage._recorder.service.look_at_s = 0.0
    work()
os._exit(0)
"""
    )
    host.run(program(source), env={"T_GROUP": str(group)}, start_new_session=True)

    assert ([{"usage.signal": "SIGKILL"}] if container else []) == crashes(host)


def test_a_stop_is_one_of_the_process_that_leads(host: Host) -> None:
    """Workers end in order too: that is no end of the service."""
    source = """
for i in range(3):
    if os.fork() == 0:
        sys.exit(0)
    os.wait()
"""
    host.run(program(source), start_new_session=True)

    assert ["start", "stop"] == kinds(host)
    assert "ended" == life(host)[-1]


def test_shutdown_is_a_stop(host: Host) -> None:
    """A program whose handler leaves by ``os._exit`` can say so before."""
    host.run(program("usage.shutdown()\nusage.shutdown()\n"), start_new_session=True)

    assert ["start", "stop"] == kinds(host)


HANGS = """
from otel_usage.recording import heartbeat
heartbeat.ANSWER_S = 0.05
never = threading.Event()
usage.snapshot(lambda: never.wait())
service = usage._recorder.service
for day in range(3):
    heartbeat.time = lambda: 1_800_000_000.0 + day * 86_400
    service.heartbeat.due_s = 0.0
    work()
print([thread.name for thread in threading.enumerate()].count("otel-usage snapshot"), flush=True)
"""


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
def test_a_snapshot_that_never_answers(host: Host, python: str) -> None:
    """Heartbeats go without it, it is asked by one thread alone, and the program ends as if there were none."""
    ended = host.run(program(HANGS), start_new_session=True, flags=("-W", "error"), python=python)

    assert (0, b"1\n") == (ended.status, ended.out)
    assert ["start", "heartbeat", "heartbeat", "heartbeat", "stop"] == kinds(host)
    assert {("usage.dropped", (("reason", "snapshot"),)): 3} == host.counts


@pytest.mark.parametrize("raised", ["SystemExit(3)", "KeyboardInterrupt", "ValueError('s3cret')", "GeneratorExit"])
def test_a_snapshot_that_raises_shows_nowhere(host: Host, raised: str) -> None:
    """Whatever it raises, in the thread that asks it."""
    source = f"""
def say():
    raise {raised}
usage.snapshot(say)
usage._recorder.service.heartbeat.due_s = 0.0
work()
"""
    ended = host.run(program(source), start_new_session=True)

    assert (0, 1) == (ended.status, ended.err.count(b"\n")), ended.err
    assert ["start", "heartbeat", "stop"] == kinds(host)


def test_off_and_on_between_two_hand_overs(host: Host) -> None:
    """What is counted afterwards is counted, and heartbeats come."""
    source = """
usage.count("n"); usage.action("did")
import subprocess
for word in ("off", "on"):
    subprocess.run([sys.executable, "-m", "otel_usage.cli", word, "--app", "prog"], check=True, stdout=subprocess.DEVNULL)
service = usage._recorder.service
service.flush_at_s = 0.0
work()
usage.count("n", 5); usage.action("did")
service.heartbeat.due_s = 0.0
work()
sys.exit(0)
"""
    ended = host.run(program(source), start_new_session=True)
    host.adopt()

    assert 0 == ended.status, ended.err.decode()
    assert 5 == sum(n for (name, _), n in host.counts.items() if name == "usage.count.n")
    assert ["action", "heartbeat", "stop"] == kinds(host)
    host.run(program("os._exit(0)\n"), start_new_session=True)
    assert ("restart", None) == starts(host)[-1]


def test_log_mode_leaves_no_zombie(host: Host) -> None:
    """Each hand-over prints what would be sent, and its child is reaped."""
    source = """
for i in range(3):
    usage.action("did")
    usage.flush()
def states():
    children = [open(f"/proc/self/task/{n}/children").read() for n in [threading.main_thread().native_id]]
    return "".join(children).split()
end = time.monotonic() + 30
while states() and time.monotonic() < end:
    time.sleep(0.01)
print(states(), flush=True)
os._exit(0)
"""
    ended = host.run(program(source, destinations={}), env={"PROG_TELEMETRY": "log"}, start_new_session=True)

    assert b"[]\n" == ended.out, ended.err.decode()


@pytest.mark.parametrize("server", ["uvicorn", "uvicorn, with a handler of its own"])
def test_uvicorn_says_when_it_stops(host: Host, server: str) -> None:
    """It ends by the signal that stopped it, without any of our code: the stop is recorded before, and once."""
    pytest.importorskip("uvicorn")
    source = """
import asyncio, uvicorn
usage._recorder.service.live(); usage._recorder.service.live()
async def app(scope, receive, send):
    pass
class Server(uvicorn.Server):
    async def main_loop(self):
        usage.count("n")
        os.kill(os.getpid(), signal.SIGTERM)
        await super().main_loop()
Server(uvicorn.Config(app, port=0, lifespan="off", log_level="critical")).run()
"""
    handler = "signal.signal(signal.SIGTERM, lambda *a: sys.exit(3))\n" if "handler" in server else ""
    ended = host.run(program(handler + source), start_new_session=True)

    assert (3 if handler else -signal.SIGTERM) == ended.status, ended.err.decode()
    assert ["start", "stop"] == kinds(host)


def test_files_that_others_remove_meanwhile(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes tidy one folder: what is gone is gone."""
    from otel_usage.recording.claims import claim, list_oldest_first, remove_all

    folder = str(host.tmp / "work")
    for n in range(3):
        assert claim(f"{folder}/day.{n}", "x")
        assert not claim(f"{folder}/day.{n}", "y")
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: [*real(path), "day.gone"])

    assert ["day.0", "day.1", "day.2"] == list_oldest_first(folder, ("day.",))
    remove_all(folder, ["day.gone", "day.0", "day.0"])
    assert ["day.1", "day.2"] == list_oldest_first(folder, ("day.",))


def test_what_a_run_and_a_worker_do_not_load(host: Host) -> None:
    """A neighbour in ``open/`` costs a run no listing of all; a service's further processes load nothing that only speaks."""
    plain = "import sys, otel_usage\notel_usage.init('prog', version='1', consent='opt-in')\n"
    first = host.start(plain + "print(1, flush=True)\nsys.stdin.read()\n", stdin=subprocess.PIPE)
    assert first.stdout is not None
    first.stdout.readline()
    second = plain + "print('otel_usage.recording.folders' in sys.modules)\n"
    ended = host.run("-c", second)
    first.communicate(b"")
    assert b"False\n" == ended.out, ended.err

    worker = "print('otel_usage.consent.due' in sys.modules, flush=True)\n"
    source = (
        worker + "if len(sys.argv) < 2:\n    import subprocess\n    subprocess.run([sys.executable, __file__, 'x'])\n"
    )
    assert b"True\nFalse\n" == host.run(program(source), start_new_session=True).out
