"""Services whose work comes from queues, clocks and a development server: what was done was counted, to the unit.

Celery is in test_servers.py. Of these Django is tried always, the others where they are installed, with the slow ones:
``pip install dramatiq rq apscheduler fakeredis hypercorn granian pyuwsgi``.
"""

from __future__ import annotations

import os
import signal
import socket
import urllib.request
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from ..hosts import Host, until
from .test_servers import LINE, SLOW, check, end, folder, serve

__all__ = ["folder"]

DONE = """
def did(n):
    usage.count("n")
    usage.action("did")
    open(f"{os.environ['T_FOLDER']}/done.{os.getpid()}.{n}", "w").close()
"""
DRAMATIQ = """
import os, dramatiq
from dramatiq.brokers.stub import StubBroker
from app import usage
broker = StubBroker()
dramatiq.set_broker(broker)
""" + DONE + """
@dramatiq.actor(max_retries=0)
def work(n):
    did(n)
for n in range(10):  # each worker's own: the broker is in its memory
    work.send(n)
"""  # fmt: skip
APSCHEDULER = """
import os, datetime
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.executors.pool import ProcessPoolExecutor
from app import usage
""" + DONE + """
if __name__ == "__main__":
    scheduler = BlockingScheduler(executors={"default": {"type": "threadpool", "max_workers": 2}, "apart": ProcessPoolExecutor(2)})
    for n in range(20):
        scheduler.add_job(did, args=(n,), executor="apart" if n % 2 else "default", misfire_grace_time=60)
    scheduler.start()
"""  # fmt: skip
RQ = """
import fakeredis, rq
from tasks import did
class Connection(fakeredis.FakeStrictRedis):  # in this process's memory; each task is done by a process that is forked for it
    def client_info(self):
        return {"addr": "-"}
connection = Connection()
queue = rq.Queue(connection=connection)
for n in range(20):
    queue.enqueue(did, n)
rq.Worker([queue], connection=connection).work()
"""
TASKS = "import os\nfrom app import usage\n" + DONE
DJANGO = """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "manage")
from app import usage
SECRET_KEY, DEBUG, ROOT_URLCONF, ALLOWED_HOSTS, INSTALLED_APPS = "x", True, "manage", ["*"], []
def view(request):
    from django.http import HttpResponse
    usage.count("n")
    usage.action("did")
    return HttpResponse(str(os.getpid()))
from django.urls import path
urlpatterns = [path("", view)]
if __name__ == "__main__":
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
"""
QUEUES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "dramatiq": ("dramatiq", DRAMATIQ, ("-m", "dramatiq", "-p", "2", "-t", "2", "work")),
    "apscheduler": ("apscheduler", APSCHEDULER, ("work.py",)),
    "rq": ("fakeredis", RQ, ("work.py",)),
}


def needs(queue: str) -> list[pytest.MarkDecorator]:
    module = QUEUES[queue][0]
    return [SLOW, pytest.mark.skipif(find_spec(module) is None, reason=f"no {module}")]


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("queue", [pytest.param(queue, marks=needs(queue)) for queue in QUEUES])
def test_what_was_done_was_counted(host: Host, folder: Path, queue: str, how: str) -> None:
    """Twenty tasks in threads and processes of whatever kind, then the end."""
    _, source, command = QUEUES[queue]
    (folder / "work.py").write_text(source)
    (folder / "tasks.py").write_text(TASKS)
    process, log = serve(host, folder, command, T_FOLDER=str(folder))
    try:
        until(lambda: len(list(folder.glob("done.*"))) == 20, 60)
        until(lambda: LINE in (folder / "log").read_bytes())  # dramatiq's workers write by way of their parent
    finally:
        end(process, getattr(signal, how))
        log.close()
    stops = sum(
        span.name == "stop" for span in (host.adopt() or host.spans)
    )  # whoever leads may be ours, and handle it
    assert stops <= (how == "SIGTERM")
    check(host, folder, 20, stops)


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "its child is killed", "a file has changed"])
def test_djangos_runserver(host: Host, folder: Path, how: str) -> None:
    """The server with its reloader is one start, whichever of its processes end and begin anew."""
    pytest.importorskip("django")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "manage.py").write_text(DJANGO)
    process, log = serve(host, folder, ("manage.py", "runserver", "--skip-checks", f"127.0.0.1:{port}"))
    answered = 0

    def once() -> int:
        nonlocal answered
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
                by = int(answer.read())
        except OSError:
            return 0
        answered += 1
        return by

    wait: Callable[[Callable[[], object], float], object] = until
    stops = 1
    try:
        first = wait(once, 60)
        for _ in range(5):
            wait(once, 20)
        if how == "a file has changed":
            later_ns = (folder / "app.py").stat().st_mtime_ns

            def has_changed() -> bool:
                nonlocal later_ns
                later_ns += 10**9  # it may not have looked at the file before
                os.utime(folder / "app.py", ns=(later_ns, later_ns))
                return once() not in (0, first)

            wait(has_changed, 60)
        elif how == "its child is killed":
            os.kill(int(str(first)), signal.SIGKILL)  # the server ends with the child's status
            process.wait(20)
    finally:
        end(process, signal.SIGINT if how == "SIGINT" else signal.SIGTERM)
        log.close()
    check(host, folder, answered, stops)
