"""Where benchmarks are run: an environment of their own, a loopback sink, throw-away folders, clocks and tables.

The environment, build/bench-venv, holds our package as users get it (a wheel, not a checkout), the peers we are
measured beside, and the programs of tests/bench/programs as the package `benchcli`, all with bytecode written.
"""

import contextlib
import hashlib
import json
import os
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
VENV = os.path.join(ROOT, "build", "bench-venv")
PYTHON = os.path.join(VENV, "bin", "python")
PEERS = ["click>=8.1", "opentelemetry-instrumentation-click>=0.51b0", "-r", "requirements-bench.txt"]
PEER_NAMES = (
    "click",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-click",
    "posthog",
    "segment-analytics-python",
)
ARGV = ["report", "upload", "--format", "html", "march"]
# What a program is started with: as pip writes it into bin/, but for `phase`. When the garbage collector runs depends
# on how many objects there are; that alone moves the cost of a run by a quarter million instructions, and by two million
# where the middle generation falls within it. So instructions are averaged over PHASES: so many objects more at the start.
SCRIPT = """import os, sys
phase = [[] for _ in range(int(os.environ["BENCH_PHASE"]))]
from benchcli.{name} import main
if __name__ == "__main__":
    sys.exit(main())
"""
# The young generation comes round every 700 objects, the middle one every 11 times that (gc.get_threshold of 3.10 to 3.13).
# Five phases, evenly spread over both cycles: 1540 is a fifth of 7700, and 140, a fifth of 700, more than a multiple of 700.
PHASES = (0, 1540, 3080, 4620, 6160)


# -- the environment ----------------------------------------------------------------------------------------------


def _digest(*folders):
    """Return a hash of the Python files in *folders*, of how a wheel is made of them, and of the interpreter."""
    found = hashlib.sha256(sys.version.encode())
    with open(os.path.join(ROOT, "hatch_build.py"), "rb") as file:
        found.update(file.read())
    for folder in folders:
        for where, _, names in sorted(os.walk(os.path.join(ROOT, folder))):
            for name in sorted(names):
                if name.endswith((".py", ".toml", ".txt")):
                    path = os.path.join(where, name)
                    with open(path, "rb") as file:
                        found.update(path.encode() + file.read())
    return found.hexdigest()


def _pip(*arguments):
    subprocess.run(
        [PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", *arguments], cwd=ROOT, check=True
    )


def prepare():
    """Make the environment, or bring it up to date with the checkout. Fast if nothing changed."""
    stamps = os.path.join(VENV, "stamps.json")
    had = {}
    with contextlib.suppress(OSError, ValueError), open(stamps, encoding="utf-8") as file:
        had = json.load(file)
    with open(os.path.join(ROOT, "requirements-bench.txt"), encoding="utf-8") as file:
        peers = sys.version + file.read() + repr(PEERS)
    want = {
        "peers": peers,
        "ours": _digest("otel_usage", "exporters"),
        "programs": _digest("tests/bench/programs") + SCRIPT,
    }
    if had == want:
        return
    if not os.path.exists(PYTHON):
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    if had.get("ours") != want["ours"] or had.get("peers") != want["peers"]:
        _pip("--upgrade", *PEERS, ".")
        _pip("--force-reinstall", "--no-deps", ".")
    benchcli = os.path.join(library(), "benchcli")
    shutil.rmtree(benchcli, ignore_errors=True)
    programs = os.path.join(HERE, "programs")
    shutil.copytree(programs, benchcli, ignore=shutil.ignore_patterns("__pycache__"))
    for name in os.listdir(programs):
        if name.endswith(".py"):
            with open(script(name[:-3]), "w", encoding="utf-8") as file:
                file.write(SCRIPT.format(name=name[:-3]))
    for folder in (library(), os.path.dirname(os.__file__)):
        # Some packages ship files of other Pythons that do not compile: no matter.
        subprocess.run([PYTHON, "-m", "compileall", "-qq", folder], check=False, capture_output=True)
    with open(stamps, "w", encoding="utf-8") as file:
        json.dump(want, file)


def library():
    """Return the environment's site-packages."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return subprocess.check_output([PYTHON, "-I", "-c", code], text=True).strip()


def script(name):
    """Return the path of the start script of the program *name*."""
    return os.path.join(VENV, "bin", "bench-" + name + ".py")


def versions():
    """Return the peers' versions, as one line."""
    code = "import importlib.metadata as m,sys; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
    return subprocess.check_output([PYTHON, "-I", "-c", code, *PEER_NAMES], text=True).strip()


# -- the laboratory -----------------------------------------------------------------------------------------------


class Lab:
    """A sink and folders for one benchmark; as a context manager it leaves nothing behind.

    env: what programs are given; nothing of ours is inherited, no CI variable, no PYTHONDONTWRITEBYTECODE.
    ports: of the sink, by manner (healthy, slow, silent, refused).
    """

    def __init__(self, *, sink_core=None):
        self.pin = ["taskset", "-c", str(sink_core)] if sink_core is not None and shutil.which("taskset") else []
        self._homes = 0

    def __enter__(self):
        prepare()
        self.folder = tempfile.mkdtemp(prefix="otel-usage-bench-")
        command = [*self.pin, sys.executable, "-I", os.path.join(HERE, "sink.py")]
        self.sink = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ports = json.loads(self.sink.stdout.readline())
        self.env = {
            "PATH": os.path.join(VENV, "bin") + ":/usr/bin:/bin",
            "HOME": self.folder,
            "LANG": "C.UTF-8",
            "OTEL_USAGE_SENDER": "detached",  # in a container too
            "BENCH_ENDPOINT": self.endpoint("healthy"),
            "BENCH_PHASE": "0",
        }
        return self

    def __exit__(self, *_):
        self.end_senders()
        self.sink.stdin.close()
        self.sink.wait(10)
        self.sink.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def endpoint(self, manner):
        """Return the address of the sink's port of that manner; "dns" is a name that cannot be resolved."""
        return "https://bench.invalid" if manner == "dns" else f"http://127.0.0.1:{self.ports[manner]}"

    def stats(self):
        """Return what the sink took: ``{path: [requests, bytes, runs]}``."""
        with urllib.request.urlopen(self.endpoint("healthy") + "/stats", timeout=10) as answer:
            return json.load(answer)

    def requests(self):
        """Return how many requests the sink took."""
        return sum(count for count, *_ in self.stats().values())

    def home(self):
        """Return a state folder that does not exist yet."""
        self._homes += 1
        return os.path.join(self.folder, f"home{self._homes}")

    def ours(self, home, mode="on", **more):
        """Return the environment of a program of ours whose state is in *home*."""
        return {**self.env, "MYCLI_TELEMETRY": mode, "OTEL_USAGE_HOME": home, **more}

    def senders(self):
        """Return the process ids of the senders our programs left, known by the state folder in their environment."""
        mark = b"OTEL_USAGE_HOME=" + self.folder.encode() + b"/home"
        found = []
        for entry in os.listdir("/proc") if os.path.isdir("/proc") else []:
            if entry.isdigit():
                with contextlib.suppress(OSError), open(f"/proc/{entry}/environ", "rb") as file:
                    told = file.read()
                    if mark in told and b"OTEL_USAGE_CHILD=" in told:
                        found.append(int(entry))
        return found

    def end_senders(self, but=()):
        """End the senders our programs left, except some."""
        for pid in self.senders():
            if pid not in but:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def warm_home(self, *, due):
        """Return a state folder that was used before; due: the next run is to start a sender."""
        home = self.home()
        timed("ours_click", self.ours(home, OTEL_USAGE_SEND_DELAY_S="3000"))
        if due:
            make_due(home)
        return home

    def captured_sender(self, env):
        """Run our program once and return the sender it would have started: (argv, env, file with its input)."""
        told = os.path.join(self.folder, f"sender{time.monotonic_ns()}")
        folder = told + ".path"
        os.mkdir(folder)
        with open(os.path.join(folder, "sitecustomize.py"), "w", encoding="utf-8") as file:
            file.write(CAPTURE.format(told=told))
        command = [PYTHON, script("ours_click"), *ARGV]
        subprocess.run(command, env={**env, "PYTHONPATH": folder}, check=True, stdout=subprocess.DEVNULL)
        with open(told + ".json", encoding="utf-8") as file:
            argv, environ = json.load(file)
        environ.pop("PYTHONPATH", None)
        return argv, environ, told


# A sitecustomize, with a posix_spawn that writes down what it was asked for. Not a program that runs ours: it would not be
# recorded, as a program that another one imports is not.
CAPTURE = """
import os
def spawn(path, argv, env, *, file_actions=(), **more):
    source = next(action[1] for action in file_actions if action[0] == os.POSIX_SPAWN_DUP2 and action[2] == 0)
    with open({told!r}, "wb") as sink:
        while part := os.read(source, 65536):
            sink.write(part)
            if os.fstat(source).st_mode & 0o170000 == 0o010000 and len(part) < 65536:
                break
    import json
    text = {{os.fsdecode(name): os.fsdecode(value) for name, value in env.items()}}
    with open({told!r} + ".json", "w") as sink:
        json.dump([list(argv), text], sink)
    return os.spawnv(os.P_NOWAIT, "/bin/true", ["true"])
os.posix_spawn = spawn
"""


def token(home, app="mycli"):
    """Return the path of the token that says when the next sender may be started."""
    return os.path.join(home, app, "1", "wake")


def make_due(home, app="mycli"):
    """Have the next run of *app* in *home* start a sender."""
    os.utime(token(home, app), (time.time() - 60,) * 2)


# -- clocks -------------------------------------------------------------------------------------------------------


def wall(argv, env, *, limit_s=60.0, pipe=False):
    """Return (seconds *argv* takes, seconds of CPU, exit status); None as the status if it was ended at *limit_s*.

    pipe: its output goes through ``cat``, and the clock stops when both have ended.
    """
    null = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    quiet = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)]
    start = time.perf_counter()
    if pipe:
        source, sink = os.pipe()
        cat = os.posix_spawn("/bin/cat", ["cat"], env, file_actions=[(os.POSIX_SPAWN_DUP2, source, 0), *null])
        os.close(source)
        pid = os.posix_spawn(argv[0], argv, env, file_actions=[*quiet, (os.POSIX_SPAWN_DUP2, sink, 1)])
        os.close(sink)
    else:
        pid, cat = os.posix_spawn(argv[0], argv, env, file_actions=[*quiet, *null]), None
    # pidfd: to be told of the end at once, but not to wait for ever.
    watched, late = os.pidfd_open(cat or pid), False
    try:
        late = not select.select([watched], [], [], limit_s)[0]
        if late:
            os.kill(pid, signal.SIGKILL)
    finally:
        os.close(watched)
    _, status, usage = os.wait4(pid, 0)
    if cat:
        os.waitpid(cat, 0)
    seconds = time.perf_counter() - start
    return seconds, usage.ru_utime + usage.ru_stime, None if late else os.waitstatus_to_exitcode(status)


def timed(name, env, **more):
    """Return the seconds that the program *name* takes, and those of CPU; (None, None) if it was ended.

    Raises RuntimeError if the program fails.
    """
    seconds, cpu_s, status = wall([PYTHON, script(name), *ARGV], env, **more)
    if status not in (0, None):
        raise RuntimeError(f"{name} ended with {status}")
    return (None, None) if status is None else (seconds, cpu_s)


def instructions(name, env, arguments=ARGV, *, pipe=False, python=None, script_path=None):
    """Return the instructions that the program *name* takes, its children's not counted. None without valgrind.

    pipe: its output goes into a pipe. python, script_path: of another environment than the usual one.
    """
    if not shutil.which("valgrind"):
        return None
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command += [python or PYTHON, script_path or script(name), *arguments]
    done = subprocess.run(
        command,
        env={**env, "PYTHONHASHSEED": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if pipe else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=600,
    )
    own = re.search(r"==(\d+)== Callgrind", done.stderr)
    counts = dict(re.findall(r"==(\d+)== Collected : (\d+)", done.stderr))
    if done.returncode or not own:
        raise RuntimeError(f"{name} ended with {done.returncode}: {done.stderr[-2000:]}")
    return int(counts[own[1]])


def cost(argv, env, stdin=os.devnull, *, core=None):
    """Run *argv* and return what it cost: ``{"status", "wall_s", "cpu_s", "peak_mb"}``."""
    if core is not None and shutil.which("taskset"):
        argv = [shutil.which("taskset"), "-c", str(core), *argv]
    told = json.dumps({"argv": argv, "env": env, "stdin": stdin})
    child = [sys.executable, "-I", "-S", os.path.join(HERE, "child.py")]
    done = subprocess.run(child, input=told, capture_output=True, text=True, timeout=600, check=True)
    return json.loads(done.stdout)


def together(jobs, workers=2):
    """Return the results of *jobs*, functions without arguments, run in *workers* threads at a time."""
    results, waiting = [None] * len(jobs), list(enumerate(jobs))

    def work():
        while True:
            try:
                at, job = waiting.pop(0)
            except IndexError:
                return
            try:
                results[at] = job()
            except Exception as problem:
                results[at] = problem

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


median = statistics.median


# -- tables -------------------------------------------------------------------------------------------------------


def ok(value, limit):
    """Return "ok" if *value* is at most *limit*, else "OVER"; "" if there is no value."""
    return "" if value is None else "ok" if value <= limit else "OVER"


def table(title, heads, rows, notes=()):
    """Print *rows* as one readable table. The first column is text, the others are right-aligned."""
    cells = [[*map(str, row), *[""] * (len(heads) - len(row))] for row in [heads, *rows]]
    widths = [max(len(row[at]) for row in cells) for at in range(len(heads))]
    print(f"\n{title}\n")
    for number, row in enumerate(cells):
        padded = [cell.rjust(width) if at else cell.ljust(width) for at, (cell, width) in enumerate(zip(row, widths))]  # noqa: B905
        print("  " + "  ".join(padded).rstrip())
        if not number:
            print("  " + "  ".join("-" * width for width in widths))
    for note in notes:
        print("  " + note)
    sys.stdout.flush()
