"""Forks, threads, tasks, daemons: one run per program, and every count arrives once."""

import os

import pytest

from ..hosts import INTERPRETERS, Host, version_of

HEAD = """
import atexit, os, sys, time
import otel_usage
schema = {"n": {"kind": "count", "why": "x", "fields": {"where": ["parent", "child"]}}, "did": {"why": "x"}}
usage = otel_usage.init("prog", version="1.4", consent="opt-in", schema=schema)
usage.command("scan")
"""


def count(host: Host, where: str) -> int:
    return host.counts.get(("usage.count.n", (("usage.field.where", where),)), 0)


FORKS = {
    # leaves through the interpreter's end
    "fork": """
if os.fork() == 0:
    usage.count("n", where="child")
    sys.exit(5)
os.wait()
""",
    # leaves by os._exit, having flushed
    "fork and flush": """
if os.fork() == 0:
    usage.count("n", where="child")
    usage.flush()
    os._exit(5)
os.wait()
""",
    "multiprocessing fork": """
import multiprocessing
def work(): usage.count("n", where="child")
child = multiprocessing.get_context("fork").Process(target=work)
child.start(); child.join()
""",
    "multiprocessing pool": """
import multiprocessing
def work(n): usage.count("n", where="child")
with multiprocessing.get_context("fork").Pool(1) as pool:
    pool.map(work, [1]); pool.close(); pool.join()
""",
    "fork in a fork": """
if os.fork() == 0:
    if os.fork() == 0:
        usage.count("n", where="child")
        sys.exit(0)
    os.wait()
    sys.exit(0)
os.wait()
""",
    "fork in a thread": """
import threading, warnings
def work():
    if os.fork() == 0:
        usage.count("n", where="child")
        usage.flush()
        os._exit(0)
    os.wait()
thread = threading.Thread(target=work)
thread.start(); thread.join()
""",
}


@pytest.mark.parametrize("how", FORKS)
def test_children_are_no_runs_and_their_counts_arrive(host, how):
    """A forked child is no run; what it counts is written once, to a file of its own, as is its parent's."""
    ended = host.run(
        HEAD + "usage.count('n', 3, where='parent')\n" + FORKS[how] + "\nsys.exit(4)\n", flags=("-W", "ignore")
    )

    assert (4, 4) == (ended.status, host.the_run.ending[0]), ended.err.decode()
    host.adopt()
    assert (3, 1) == (count(host, "parent"), count(host, "child"))
    assert (1, 1) == (len(host.files("new", ".metrics.jsonl")), len(host.files("cells", ".cells")))
    assert [] == host.files("open")


def test_actions_of_children_belong_to_the_run(host):
    """What a child did hangs under its parent's run."""
    host.run(HEAD + "if os.fork() == 0:\n usage.action('did')\n sys.exit(0)\nos.wait()\nusage.action('did')\n")
    actions = [span for span in host.spans if span.attributes["usage.kind"] == "action"]

    assert 2 == len(actions)
    assert {(host.the_run.ids[0], host.the_run.ids[1])} == {(a.ids[0], a.ids[2]) for a in actions}
    assert 2 == len({a.ids[1] for a in actions})


def test_children_that_do_nothing_write_nothing(host):
    """A child without counts leaves no file, and does not touch its parent's."""
    host.run(HEAD + "for _ in range(5):\n if os.fork() == 0: sys.exit(1)\n os.wait()\n")

    assert 1 == len(host.files("new"))
    assert 0 == host.the_run.ending[0]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_started_anew_are_no_runs(host, method):
    """A multiprocessing worker that imports the main module is no run; what it counts arrives."""
    source = f"""{HEAD}
import multiprocessing
def work(): usage.count("n", where="child")
if __name__ == "__main__":
    child = multiprocessing.get_context("{method}").Process(target=work)
    child.start(); child.join()
    print(child.exitcode)
    usage.count("n", where="parent")
"""
    ended = host.run(source)

    assert b"0\n" == ended.out, ended.err.decode()
    assert "scan" == host.the_run.command
    host.adopt()
    assert (1, 1) == (count(host, "parent"), count(host, "child"))
    assert [] == host.files("open")


DAEMON = (
    HEAD
    + """
usage.count("n", 2, where="parent")
usage.flush()
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.closerange(0, 1024)
for name in ("a", "b", "c"):
    assert os.open(name, os.O_RDWR | os.O_CREAT) < 3
for number in range(3, 160):
    os.dup2(os.open("data", os.O_RDWR | os.O_CREAT), number)
usage.count("n", where="child")
sys.exit(0)
"""
)


def test_a_daemon(host):
    """A program that daemonises keeps counting; its run ended when it left the terminal; its files are intact."""
    process = host.start(DAEMON)
    process.communicate(timeout=30)
    from ..hosts import until

    until(lambda: count(host, "child"))

    assert 2 == count(host, "parent")
    assert (0, "success", None) == host.the_run.ending
    assert [] == host.stubs
    assert b"" == (host.tmp / "work" / "data").read_bytes()


REUSE = {
    "closes all, and opens files": """
os.closerange(3, 4096)
files = [open(f"data{n}", "w+b") for n in range(200)]
for file in files: file.write(b"mine"); file.flush()
""",
    "closes ours, and puts a file there": """
for number in range(100, 200):
    try: os.close(number)
    except OSError: pass
file = os.open("data0", os.O_RDWR | os.O_CREAT); os.write(file, b"mine")
for number in range(100, 200): os.dup2(file, number)
""",
    "closes all": "os.closerange(3, 4096)\n",
}


@pytest.mark.parametrize("how", REUSE)
@pytest.mark.parametrize("end", ["sys.exit(4)", "pass", "usage.count('n', where='parent'); sys.exit(4)"])
def test_a_host_that_closes_descriptors_it_does_not_own(host, how, end):
    """We find our file again, and write into none of the host's."""
    ended = host.run(HEAD + REUSE[how] + end + "\n")

    assert b"" == ended.err
    assert ended.status == host.the_run.ending[0]
    for file in (host.tmp / "work").glob("data*"):
        assert b"mine" == file.read_bytes()
    assert [] == host.files("open")


def test_a_descriptor_of_the_hosts_at_our_number(host):
    """A host that already uses the number that we like keeps it."""
    source = "import os\nos.dup2(os.open('mine', os.O_RDWR | os.O_CREAT), 127)\n" + HEAD + "os.write(127, b'mine')\n"

    ended = host.run(source)

    assert (0, b"") == (ended.status, ended.err)
    assert b"mine" == (host.tmp / "work" / "mine").read_bytes()
    assert "scan" == host.the_run.command


def test_a_low_limit_of_descriptors_is_no_problem(host):
    """A limit below the number that we like is no problem, nor is none left."""
    source = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))\n" + HEAD

    assert 0 == host.run(source).status
    assert "scan" == host.the_run.command

    host.clear()
    use_up = "import os\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
    use_up += "try:\n while True: os.dup(0)\nexcept OSError: pass\n"
    (host.tmp / "work" / "sitecustomize.py").write_text("")
    imports = "import resource, otel_usage, otel_usage.recording.recorder, otel_usage.recording.folders, otel_usage.recording.failure, traceback\n"
    ended = host.run(imports + use_up + HEAD + "sys.exit(3)\n")
    assert (3, b"") == (ended.status, ended.err)
    assert [] == host.runs


def test_counts_in_threads(host):
    """Counts made in many threads at once are all there."""
    source = (
        HEAD
        + """
import threading
sys.setswitchinterval(1e-6)
def work():
    for _ in range(2000): usage.count("n", where="parent")
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    )
    host.run(source)

    assert 16000 == count(host, "parent")


def test_counts_in_signal_handlers(host):
    """A handler may count while the code that it interrupts is counting: nobody waits for himself."""
    source = (
        HEAD
        + """
import signal
handled = 0
def handler(*args):
    global handled
    handled += 1
    usage.count("n", where="child"); usage.action("did")
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 5e-4, 5e-4)
n = 0
while handled < 200:
    usage.count("n", where="parent"); n += 1
signal.setitimer(signal.ITIMER_REAL, 0)
print(n, handled)
"""
    )
    n, handled = map(int, host.run(source).out.split())

    assert n == count(host, "parent")
    assert handled - 20 <= count(host, "child") <= handled  # the first may interrupt the import of what counts


def test_actions_in_tasks(host):
    """Actions of asyncio tasks that overlap are told apart."""
    source = (
        HEAD
        + """
import asyncio
async def work():
    with usage.action("did"):
        await asyncio.sleep(0)
async def main(): await asyncio.gather(*[work() for _ in range(20)])
asyncio.run(main())
"""
    )
    host.run(source)
    actions = [span for span in host.spans if span.attributes["usage.kind"] == "action"]

    assert 20 == len({a.ids[1] for a in actions})
    assert all(a.start_ns <= a.end_ns for a in actions)


def test_init_again(host):
    """`init` again returns the first handle; for another app it returns another one, which is a guest in this program."""
    source = (
        HEAD
        + """
again = otel_usage.init("prog", version="1.4", consent="opt-in", schema=schema)
other = otel_usage.init("other", version="2", consent="opt-in", schema=schema)
other.count("n", where="parent"); other.command("wrong"); other.shutdown()
print(again is usage, other is usage, other.recording, usage.recording)
"""
    )
    ended = host.run(source)

    assert b"True False False True\n" == ended.out
    assert ["scan"] == [run.command for run in host.runs]
    assert {} == host.counts
    assert not (host.home / "other").exists()


def test_after_shutdown_nothing_is_recorded(host):
    """`shutdown` ends the run; calls after it do nothing, and the exit writes nothing more."""
    source = """
usage.count("n", where="parent")
usage.shutdown()
usage.count("n", where="parent"); usage.action("did"); usage.flush(); usage.shutdown()
print(usage.recording)
sys.exit(3)
"""
    ended = host.run(HEAD + source)

    assert (3, b"False\n") == (ended.status, ended.out)
    assert 1 == len(host.runs)
    assert 1 == count(host, "parent")


def test_init_in_a_thread(host):
    """`init` may be called in any thread; the run is the main program's."""
    source = """
import sys, threading
def work():
    import otel_usage
    usage = otel_usage.init("prog", version="1", consent="opt-in")
    usage.command("scan")
thread = threading.Thread(target=work); thread.start(); thread.join()
sys.exit(6)
"""
    ended = host.run(source)

    assert 6 == ended.status
    assert (6, "failure", "SystemExit") == host.the_run.ending


if not hasattr(os, "fork"):
    pytest.skip("no fork", allow_module_level=True)


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
def test_threads_that_record_first_at_the_same_time(host, python):
    """What records is loaded with the first count: threads that come meanwhile lose none of theirs."""
    source = (
        HEAD
        + """
import threading
sys.setswitchinterval(1e-6)
together = threading.Barrier(16)
def work():
    together.wait()
    usage.action("did")
    for _ in range(50): usage.count("n", where="child")
threads = [threading.Thread(target=work) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    )
    for _ in range(3):
        host.clear()
        host.run(source, python=python)

        assert 800 == count(host, "child")
        assert 16 == sum(span.attributes["usage.kind"] == "action" for span in host.spans)
