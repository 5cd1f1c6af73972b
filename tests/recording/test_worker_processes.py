"""Workers are not runs, whoever started them: forks made in C, pools of other libraries, sub-interpreters, reloaders."""

import sys

import pytest

from ..hosts import INTERPRETERS, version_of

HEAD = """
import os, sys
import otel_usage
schema = {"n": {"kind": "count", "why": "x", "fields": {"where": ["parent", "child"]}}, "did": {"why": "x"}}
usage = otel_usage.init("prog", version="1.4", consent="opt-in", schema=schema)
usage.command("scan")
"""


def counted(host, where):
    return host.counts.get(("usage.count.n", (("usage.field.where", where),)), 0)


C_FORK = """
import ctypes
fork = ctypes.PyDLL(None).fork
"""


@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
def test_forks_made_in_c(host, python):
    """A child of a fork that Python does not know is no run, and reports nothing of its parent's."""
    source = (
        HEAD
        + C_FORK
        + """
usage.count("n", 4, where="parent"); usage.action("did")
for _ in range(3):
    pid = fork()
    if pid == 0:
        usage.count("n", where="child"); usage.flush()
        sys.exit(7)
    os.waitpid(pid, 0)
usage.count("n", where="parent")
"""
    )
    ended = host.run(source, python=python, flags=("-W", "ignore"))

    assert (0, 0) == (ended.status, host.the_run.ending[0]), ended.err.decode()
    assert (5, 3) == (counted(host, "parent"), counted(host, "child"))
    assert 1 == sum(span.attributes["usage.kind"] == "action" for span in host.spans)
    assert [] == host.files("open")


@pytest.mark.parametrize("end", ["sys.exit(7)", "usage.shutdown(); sys.exit(7)", "os._exit(7)", "1 / 0", "pass"])
def test_a_child_that_outlives_its_parent(host, end):
    """The parent ends first, as a server's that daemonises does: its own end is what is reported."""
    source = (
        HEAD
        + C_FORK
        + f"""
read, write = os.pipe()
if fork() == 0:
    os.close(write); os.read(read, 1)  # until the parent has ended
    usage.count("n", where="child"); usage.flush()
    sys.stderr.close(); sys.stderr = open(os.devnull, "w")
    {end}
else:
    sys.exit(4)
"""
    )
    process = host.start(source)
    process.communicate(timeout=30)  # ends when the child's streams are closed, too

    assert 4 == process.returncode
    assert ["scan"] == [run.command for run in host.runs]
    assert 4 == host.the_run.ending[0]
    assert 1 == counted(host, "child")


def test_a_worker_that_locks_were_held_for(host):
    """A fork made while another thread holds our lock: the child records with a lock of its own."""
    source = (
        HEAD
        + C_FORK
        + """
import threading
with usage.action("did") as did:
    events, held, done = usage._events(), threading.Event(), threading.Event()
    def hold():
        with events.lock:
            held.set(); done.wait()
    thread = threading.Thread(target=hold); thread.start(); held.wait()
    pid = fork()
    if pid == 0:
        did.set(x=1); usage.count("n", where="child"); usage.error("did"); usage.flush(); usage.shutdown()
        os._exit(0)
    os.waitpid(pid, 0)
    done.set(); thread.join()
"""
    )
    assert 0 == host.run(source).status
    assert 1 == counted(host, "child")


POOLS = {
    "billiard spawn": """
import billiard
if __name__ == "__main__":
    context = billiard.get_context("spawn")
    child = context.Process(target=work); child.start(); child.join()
""",
    "billiard fork": """
import billiard
child = billiard.get_context("fork").Process(target=work); child.start(); child.join()
""",
    "multiprocess spawn": """
import multiprocess
if __name__ == "__main__":
    child = multiprocess.get_context("spawn").Process(target=work); child.start(); child.join()
""",
    "multiprocess forkserver": """
import multiprocess
if __name__ == "__main__":
    child = multiprocess.get_context("forkserver").Process(target=work); child.start(); child.join()
""",
    "loky": """
import job, loky
if __name__ == "__main__":
    loky.get_reusable_executor(max_workers=2).submit(job.work).result()
""",
    "spawn pool": """
import multiprocessing
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.apply(work); pool.close(); pool.join()
""",
}


@pytest.mark.parametrize("how", POOLS)
def test_pools(host, how):
    """Workers of every implementation of processes are parts of their parent's run; what they record arrives."""
    pytest.importorskip(how.split()[0] if " pool" not in how else "multiprocessing")
    source = HEAD + "def work(): usage.count('n', where='child'); usage.flush()\n"
    (host.tmp / "work" / "job.py").write_text(source)  # a worker of loky's does not import the main module
    source += POOLS[how]
    ended = host.run(source, flags=("-W", "ignore"))

    assert 0 == ended.status, ended.err.decode()
    assert ["scan"] == [run.command for run in host.runs]
    assert 1 == counted(host, "child")
    assert [] == host.files("open")


@pytest.mark.parametrize(
    "python", [p for p in INTERPRETERS if version_of(p).startswith(("3.12", "3.13"))], ids=version_of
)
@pytest.mark.parametrize("how", ["code", "an import"])
def test_sub_interpreters(host, python, how):
    """What runs in a sub-interpreter is a worker's: no run, and its counts arrive."""
    inside = "import prog_module" if how == "an import" else HEAD + "usage.count('n', where='child'); usage.flush()"
    (host.tmp / "work" / "prog_module.py").write_text(HEAD + "usage.count('n', where='child'); usage.flush()\n")
    source = (
        HEAD
        + f"""
try:
    import _interpreters as interpreters
    run = interpreters.exec
except ImportError:
    import _xxsubinterpreters as interpreters
    run = interpreters.run_string
sys.path.insert(0, os.getcwd())
one = interpreters.create()
print(run(one, {"import sys; sys.path[:] = "!r} + repr(sys.path) + {chr(10) + inside!r}))
interpreters.destroy(one)
"""
    )
    ended = host.run(source, python=python)

    assert (0, b"None\n") == (ended.status, ended.out), ended.err.decode()
    assert ["scan"] == [run.command for run in host.runs]
    assert 1 == counted(host, "child")


RELOADER = """
import subprocess
if os.environ.get("{variable}") != "true":
    words = [sys.executable, *sys.argv]
    for _ in range(2):
        code = subprocess.run(words, env={{**os.environ, "{variable}": "true"}}).returncode
        assert code == 3, code
    sys.exit(0)
usage.count("n", where="child")
{inside}
sys.exit(3)
"""


@pytest.mark.parametrize("variable", ["WERKZEUG_RUN_MAIN", "RUN_MAIN"])
def test_reloaders(host, variable):
    """A reloader's children are parts of one run, which ends as the program that the user started ends."""
    ended = host.run(HEAD + RELOADER.format(variable=variable, inside=""), "serve", "--debug")

    assert 0 == ended.status, ended.err.decode()
    assert [0] == [run.ending[0] for run in host.runs]
    assert 2 == counted(host, "child")


def test_a_program_that_a_reloaded_program_starts(host):
    """It inherits the reloader's variable, and is a run of its own all the same."""
    (host.tmp / "work" / "other.py").write_text(HEAD.replace("scan", "other"))
    inside = "subprocess.run([sys.executable, 'other.py', 'x'])"
    host.run(HEAD + RELOADER.format(variable="RUN_MAIN", inside=inside), "serve")

    assert ["other", "other", "scan"] == sorted(run.command for run in host.runs)


def test_a_program_that_the_program_starts(host):
    """A child that is a program of its own, of the same app or not, is a run: somebody asked for it."""
    source = HEAD + "import subprocess\nif len(sys.argv) == 1: subprocess.run([sys.executable, __file__, 'again'])\n"
    host.run(source)

    assert 2 == len(host.runs)


if sys.platform == "win32":
    pytest.skip("no fork", allow_module_level=True)
