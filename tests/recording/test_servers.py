"""Services behind real servers: what was answered was counted, to the unit, however the server and its workers end.

uvicorn, gunicorn and Celery here; others in the bench. All of one start is one start, with one line in the log, and no run.
"""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ..hosts import Host, until
from ..spools import Sink

pytest.importorskip("gunicorn")
pytest.importorskip("uvicorn")
pytest.importorskip("celery")

APP = """
import os
import otel_usage
schema = {"n": {"kind": "count", "why": "x"}, "did": {"why": "x"}}
usage = otel_usage.init("prog", version="1.4", consent="opt-in", schema=schema, service=True,
                        destinations={"otlp": os.environ.get("T_SINK", "http://127.0.0.1:9")})

def wsgi(environ, start_response):
    usage.count("n")
    usage.action("did")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]

async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    usage.count("n")
    usage.action("did")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""
CELERY = """
import os, sys
from app import usage
import celery
folder = os.environ["T_FOLDER"]
app = celery.Celery("tasks", broker="filesystem://")
app.conf.update(broker_transport_options={"data_folder_in": folder, "data_folder_out": folder, "control_folder": folder},
                worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)
@app.task
def work(n):
    usage.count("n")
    usage.action("did")
    open(f"{folder}/done.{n}", "w").close()
"""
GUNICORN = ("-m", "gunicorn", "--no-control-socket", "-b", "unix:{socket}", "--graceful-timeout", "5")
SERVERS = {
    "uvicorn": ("-m", "uvicorn", "app:asgi", "--uds", "{socket}"),
    "uvicorn, workers": ("-m", "uvicorn", "app:asgi", "--uds", "{socket}", "--workers", "2"),
    "gunicorn": (*GUNICORN, "-w", "2", "app:wsgi"),
    "gunicorn, preload": (*GUNICORN, "-w", "2", "--preload", "app:wsgi"),
    "gunicorn, threads": (*GUNICORN, "-w", "1", "--threads", "3", "app:wsgi"),
    "gunicorn, uvicorn's workers": (*GUNICORN, "-w", "2", "-k", "uvicorn.workers.UvicornWorker", "app:asgi"),
    "gunicorn, recycling": (*GUNICORN, "-w", "2", "--max-requests", "4", "app:wsgi"),
}
# Tried where they are installed, with the slow ones.
OTHERS = {
    "gunicorn, gevent": (*GUNICORN, "-w", "2", "-k", "gevent", "app:wsgi"),
    "gunicorn, gevent, preload": (*GUNICORN, "-w", "2", "-k", "gevent", "--preload", "app:wsgi"),
    "hypercorn": ("-m", "hypercorn", "-b", "unix:{socket}", "-w", "2", "app:asgi"),
    "granian": ("-m", "granian", "--interface", "asgi", "--uds", "{socket}", "--workers", "2", "--respawn-failed-workers", "app:asgi"),
    "uwsgi": ("-c", "import pyuwsgi, sys; pyuwsgi.run(['--http-socket', '{socket}', '--master', '--processes', '2', '--module', "
              "'app:wsgi', '--die-on-term', '--enable-threads'])"),
    "uwsgi, without threads": ("-c", "import pyuwsgi, sys; pyuwsgi.run(['--http-socket', '{socket}', '--master', '--processes', '2', "
                               "'--module', 'app:wsgi', '--die-on-term'])"),
}  # fmt: skip
ENDS = ("SIGTERM", "SIGINT", "a worker is killed")
LINE = b"prog: usage data is on"


class Over(http.client.HTTPConnection):
    """A connection by a socket of the file system."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=20)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self.path)


def ask(path: str) -> int | None:
    """Return the process that answered a request, None if none did."""
    connection = Over(path)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        return int(answer.read()) if answer.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ou") as short:  # the path of a socket is short
        (Path(short) / "app.py").write_text(APP)
        (Path(short) / "tasks.py").write_text(CELERY)
        yield Path(short)


def serve(host: Host, folder: Path, command: tuple[str, ...], **env: str) -> tuple[subprocess.Popen[bytes], Any]:
    log = (folder / "log").open("wb")
    words = [word.replace("{socket}", str(folder / "s")) for word in command]
    more = os.environ.get("PYTHONPATH", "")
    environ = {**host.environ, "PYTHONPATH": f"{folder}:{host.environ['PYTHONPATH']}:{more}", **env}
    process = subprocess.Popen(
        [sys.executable, *words], cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        start_new_session=True,
    )  # fmt: skip
    return process, log


def end(process: subprocess.Popen[bytes], sent: int) -> None:
    process.send_signal(sent)
    try:
        process.wait(20)
    finally:
        for kill in (signal.SIGKILL,):
            try:
                os.killpg(process.pid, kill)
            except ProcessLookupError:
                pass
        process.wait(5)


def check(host: Host, folder: Path, answered: int, stops: int) -> None:
    """What was answered is what was counted; one start, one line, no run; a stop where the process that leads is one of ours."""
    log = (folder / "log").read_bytes()
    until(lambda: host.adopt() or not host.files("open"))  # of processes that are just being killed
    counted = counted_in(host)
    kinds = [span.attributes["usage.kind"] for span in host.spans]

    assert (answered, answered) == (counted, kinds.count("action")), log.decode()
    assert (1, stops, 0) == (kinds.count("start"), kinds.count("stop"), kinds.count("run"))
    assert 1 == log.count(LINE), log.decode()
    assert {} == {name: n for (name, _), n in host.counts.items() if name == "usage.dropped"}


def needs(server: str) -> list[pytest.MarkDecorator]:
    module = "gevent" if "gevent" in server else server.partition(",")[0].replace("uwsgi", "pyuwsgi")
    return [SLOW, pytest.mark.skipif(find_spec(module) is None, reason=f"no {module}")]


SLOW = pytest.mark.skipif(not os.environ.get("OTEL_USAGE_SLOW"), reason="slow: OTEL_USAGE_SLOW=1")
# Elsewhere the app is imported by the workers alone: nobody knows that the service as a whole has stopped.
LED_BY_OURS = {"uvicorn", "gunicorn, preload", "gunicorn, gevent, preload"}
QUICK = {("uvicorn", "SIGTERM"), ("uvicorn, workers", ENDS[2]), ("gunicorn", ENDS[2]), ("gunicorn, preload", "SIGINT"),
         ("gunicorn, recycling", "SIGTERM")}  # fmt: skip
MATRIX = [pytest.param(server, how, marks=[] if (server, how) in QUICK else SLOW) for server in SERVERS for how in ENDS]
MATRIX += [pytest.param(server, how, marks=needs(server)) for server in OTHERS for how in ENDS]


@pytest.mark.parametrize(("server", "how"), MATRIX)
def test_what_was_answered_was_counted(host: Host, folder: Path, server: str, how: str) -> None:
    """Ten requests and more, then the end."""
    process, log = serve(host, folder, {**SERVERS, **OTHERS}[server])
    path = str(folder / "s")
    answered = 0

    def once() -> int | None:
        nonlocal answered
        by = ask(path)
        answered += by is not None
        return by

    try:
        until(once, 40)
        for _ in range(10):
            until(once)
        if how == "a worker is killed" and server != "uvicorn":
            worker = until(once)
            os.kill(worker, signal.SIGKILL)
            for _ in range(3 if server != "hypercorn" else 0):  # which starts no other
                until(once, 40)
    finally:
        end(
            process,
            signal.SIGINT
            if how == "SIGINT"
            else signal.SIGKILL
            if server in ("uvicorn", "granian") and how == ENDS[2]  # granian does not end any more, with or without us
            else signal.SIGTERM,
        )
        log.close()
    leads = server in LED_BY_OURS and (how != "a worker is killed" or server != "uvicorn")
    check(host, folder, answered, int(leads))


CELERYS = ("-m", "celery", "-A", "tasks", "worker", "-c", "2", "--max-tasks-per-child", "3", "-l", "warning", "--without-gossip",
           "--without-mingle", "--without-heartbeat")  # fmt: skip


def send_tasks(host: Host, folder: Path, n: int) -> None:
    """Put *n* tasks into Celery's queue."""
    send = "import sys; sys.path.insert(0, '.')\nimport os; os.environ['PROG_TELEMETRY'] = 'off'\nimport tasks\n"
    send += f"for n in range({n}): tasks.work.delay(n)\n"
    environ = {
        **host.environ,
        "PYTHONPATH": f"{folder}:{host.environ['PYTHONPATH']}",
        "T_FOLDER": str(folder / "queue"),
    }
    subprocess.run([sys.executable, "-c", send], cwd=folder, env=environ, check=True, capture_output=True)


@pytest.mark.parametrize("how", ["warm shutdown", pytest.param("a worker is killed", marks=SLOW)])
def test_celerys_pool(host: Host, folder: Path, how: str) -> None:
    """Twenty tasks in processes that are recycled after three each, and leave by ``os._exit``."""
    tasks = folder / "queue"
    tasks.mkdir()
    process, log = serve(host, folder, CELERYS, T_FOLDER=str(tasks))
    try:
        send_tasks(host, folder, 20)
        until(lambda: len(list(tasks.glob("done.*"))) == 20, 60)
        if how == "a worker is killed":
            tasks_of = Path(f"/proc/{process.pid}/task").glob("*/children")
            children = [int(child) for path in tasks_of for child in path.read_text().split()]
            os.kill(children[0], signal.SIGKILL)
    finally:
        end(process, signal.SIGTERM if how == "warm shutdown" else signal.SIGKILL)
        log.close()
    check(host, folder, 20, int(how == "warm shutdown"))


def kill_at_random(host: Host, folder: Path, server: str, trial: int) -> tuple[int, int, int]:
    """Kill all of a server at once, while requests come; return how many were answered, were cut off, and were counted."""
    process, log = serve(host, folder, SERVERS[server])
    path = str(folder / "s")
    answered = cut_off = 0
    killer = threading.Timer(random.Random(trial).uniform(0.05, 0.6), os.killpg, (process.pid, signal.SIGKILL))
    try:
        until(lambda: ask(path), 40)
        answered = 1
        killer.start()
        while killer.is_alive() and not cut_off:
            by = ask(path)
            answered, cut_off = answered + (by is not None), cut_off + (by is None)
    finally:
        if killer.is_alive():
            killer.join()
        process.wait(5)
        log.close()
    return answered, cut_off, counted_in(host)


def counted_in(host: Host) -> int:
    """Return how often was counted."""
    return sum(n for (name, _), n in host.counts.items() if name == "usage.count.n")


def kill_celery_at_random(host: Host, folder: Path, trial: int) -> tuple[int, int, int]:
    """Kill all of Celery at once, while it works; return how many tasks were done, may have been under way, and were counted."""
    tasks = folder / "queue"
    tasks.mkdir()
    process, log = serve(host, folder, CELERYS, T_FOLDER=str(tasks))
    send_tasks(host, folder, 200)
    try:
        until(lambda: any(tasks.glob("done.*")), 60)
        process.poll()
        end_s = time.monotonic() + random.Random(trial).uniform(0.0, 0.5)
        until(lambda: time.monotonic() > end_s)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)
        log.close()
    until(lambda: host.adopt() or not host.files("open"))
    return len(list(tasks.glob("done.*"))), 2, counted_in(host)


@SLOW
@pytest.mark.parametrize("trial", range(20))
@pytest.mark.parametrize("server", [*SERVERS, "celery"])
def test_killed_at_a_random_moment(host: Host, folder: Path, server: str, trial: int) -> None:
    """Everything at once, while requests come: what was answered was counted, and what was not may have been, once each."""
    celery = server == "celery"
    kill = kill_celery_at_random(host, folder, trial) if celery else kill_at_random(host, folder, server, trial)
    answered, cut_off, counted = kill

    assert answered <= counted <= answered + cut_off


def test_counted_is_sent(host: Host, folder: Path) -> None:
    """Real senders, by the hour that is a second here: everything arrives once, while the server lives and after it was killed."""
    sink = Sink()
    wait: Callable[[Callable[[], Any], float], Any] = until
    try:
        env = {"T_SINK": sink.address, "OTEL_USAGE_SENDER": "", "OTEL_USAGE_SEND_DELAY_S": "0"}
        text = APP.replace("service=True,", "service=True, flush_s=0.5,")
        (folder / "app.py").write_text(text)
        process, log = serve(host, folder, SERVERS["gunicorn"], **env)
        path = str(folder / "s")
        try:
            wait(lambda: ask(path), 40)
            answered = 1
            for _ in range(3):
                answered += sum(ask(path) is not None for _ in range(4))
                wait(lambda n=answered: sink.points().get(("usage.count.n", ""), 0) == n, 60)
            answered += sum(ask(path) is not None for _ in range(4))
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)
            log.close()
        source = "import app; app.usage.flush(); import time; time.sleep(0.1)\nimport os; os._exit(0)\n"
        environ = {**host.environ, **env, "PYTHONPATH": f"{folder}:{host.environ['PYTHONPATH']}"}
        subprocess.run([sys.executable, "-c", source], env=environ, cwd=folder, check=True, capture_output=True)
        wait(lambda: sink.points().get(("usage.count.n", ""), 0) == answered, 60)
        wait(lambda: sum(one["attributes"]["usage.kind"] == "action" for one in sink.spans()) == answered, 60)
    finally:
        sink.close()
    assert len(set(sink.ids())) == len(sink.ids())
