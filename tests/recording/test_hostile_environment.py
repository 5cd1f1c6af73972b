"""Where nothing can be kept, the program is as it would be without us: same output, same end, and soon."""

import os
import shutil
import subprocess
import sys
import time
from unittest import mock

import pytest

from otel_usage.recording import folders as spool

from ..hosts import Host, until

LIMITS = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\nimport signal\n"
HEAD = """
import sys
import otel_usage
schema = {"n": {"kind": "count", "why": "x"}, "did": {"why": "x"}}
usage = otel_usage.init("prog", version="1.4", consent="opt-in", schema=schema)
import argparse
parser = argparse.ArgumentParser("prog")
parser.add_subparsers().add_parser("report")
parser.parse_args()
usage.count("n"); usage.action("did"); usage.flush()
print("out"); print("err", file=sys.stderr)
sys.exit(3)
"""
FINE = (3, b"out\n", b"err\n")
root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")


def run(host: Host, source: str = HEAD, **options):
    started = time.monotonic()
    ended = host.run(source, "report", **options)
    assert time.monotonic() - started < 20
    return ended.status, ended.out, ended.err


@root
@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv")
def test_a_home_that_cannot_be_written(host):
    """A folder without write permission, and no power to ignore it."""
    (host.tmp / "work" / "host.py").write_text(HEAD)
    host.home.chmod(0o555)

    done = subprocess.run(
        ["setpriv", "--bounding-set", "-dac_override", "--inh-caps", "-dac_override", sys.executable, "host.py", "report"],
        cwd=host.tmp / "work", env=host.environ, capture_output=True, check=False,
    )  # fmt: skip

    assert FINE == (done.returncode, done.stdout, done.stderr)
    assert not (host.home / "prog").exists()


def test_folders_are_made_in_an_order_that_others_can_count_on(tmp_path):
    """``open/`` is made last: a program that finds it may end before the one that makes it goes on."""
    made = []

    with mock.patch("os.mkdir", lambda path, mode: made.append(path)):
        spool.make_spool("/h", "/h/1")

    assert ["/h/1", "/h/1/new", "/h/1/open"] == made[-3:]


def test_a_home_on_a_file_system_without_writing(host):
    """A folder in which nobody can make anything."""
    assert FINE == run(host, env={"OTEL_USAGE_HOME": "/proc/self/otel"})


@pytest.mark.parametrize(
    "env",
    [
        {"HOME": None, "OTEL_USAGE_HOME": None},
        {"HOME": "", "OTEL_USAGE_HOME": None},
        {"HOME": "relative", "OTEL_USAGE_HOME": None},
        {"HOME": "/nonexistent/home", "OTEL_USAGE_HOME": "/dev/null/x"},
        {"OTEL_USAGE_HOME": "\udcff\udcfe"},
        {"OTEL_USAGE_HOME": "x" * 5000},
        {"XDG_STATE_HOME": "relative", "OTEL_USAGE_HOME": None, "HOME": "/proc/1"},
    ],
    ids=str,
)
def test_a_home_folder_that_makes_no_sense(host, env):
    """No home folder, or one that makes no sense."""
    before = os.path.exists(os.path.expanduser("~/.local/state/otel-usage"))

    assert FINE == run(host, env=env)
    if not before and env.get("HOME") is None and "HOME" in env and os.path.expanduser("~") == "/root":
        made = os.path.expanduser("~/.local/state/otel-usage/prog")  # the password file's home folder
        subprocess.run(["rm", "-rf", made], check=False)


@root
@pytest.mark.parametrize("what", ["home", "app", "spool"])
def test_a_folder_of_somebody_elses(host, what):
    """Root running with a user's HOME leaves no root-owned file there, and the reverse."""
    folder = {"home": host.home, "app": host.home / "prog", "spool": host.spool}[what]
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, 65534, 65534)
    if what == "home":
        (host.home / "debug").rmdir()

    got = run(host)

    assert FINE == got
    assert what == "spool" or [] == host.files("new") + host.files("open")
    assert what != "home" or not (host.home / "prog").exists()


@pytest.mark.parametrize("size", [0, 1, 100, 600])
@pytest.mark.parametrize("ready", [False, True])
def test_a_full_disk(host, size, ready):
    """Nothing half-written stays: what lies in ``new/`` is whole, and what does not fit is gone."""
    if ready:
        run(host)
        host.clear() if size == 1 else None
    before = len(host.runs)
    source = LIMITS.format(size=size) + "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n" + HEAD

    got = run(host, source, env={"PYTHONDONTWRITEBYTECODE": "1"})  # Python itself keeps half-written bytecode

    assert FINE == got
    assert before <= len(host.runs) <= before + 1  # `runs` reads every line: torn ones fail
    assert all(b"" == f.read_bytes() or f.read_bytes().endswith(b"\n") for f in host.files("open"))
    assert [] == [f for f in host.files("open") if f.name.startswith(".")]


JUMPS = {
    "to the future": "real = time.time_ns\ntime.time_ns = lambda: real() + (10**18 if len(t) > 3 else 0)\n",
    "to the past": "real = time.time_ns\ntime.time_ns = lambda: real() - 10**18\n",
    "before 1970": "time.time_ns = lambda: -5\ntime.time = lambda: -5e-9\n",
    "back and forth": "import itertools\nc = itertools.cycle([10**18, 5])\ntime.time_ns = lambda: next(c)\n",
}


@pytest.mark.parametrize("jump", JUMPS)
def test_a_clock_that_jumps(host, jump):
    """No run takes less than no time, and every line is one that a receiver can read."""
    source = "import time\nt = []\n" + JUMPS[jump] + HEAD

    got = run(host, source)

    assert FINE == got
    for span in host.spans:
        assert span.start_ns <= span.end_ns
    assert "report" == host.the_run.command


def test_many_waiting_files(host):
    """With 100,000 records waiting and no sender, a run ends soon, and their number is bounded."""
    run(host)
    new = host.spool / "new"
    (template,) = host.files("new", ".metrics.jsonl")
    for number in range(100_000):
        os.link(template, new / f"{number:016x}-{number:016x}.metrics.jsonl") if number % 30_000 else (
            (new / f"{number:016x}-x.jsonl").write_bytes(b""),
            template := new / f"{number:016x}-x.jsonl",
        )

    started = time.monotonic()
    got = run(host)

    assert FINE == got
    assert time.monotonic() - started < 15
    assert len(os.listdir(new)) <= 10_002
    assert "report" == host.runs[-1].command


def test_many_waiting_files_cost_a_run_nothing(host):
    """Where a sender is due, nobody lists the folder: a run's system calls are as many as ever."""
    run(host)
    new, token = host.spool / "new", host.spool / "wake"
    token.touch()
    os.utime(token, (time.time() + 600, time.time() + 600))
    for number in range(2000):
        (new / f"{number:016x}-x.jsonl").touch()

    got = run(host, env={"OTEL_USAGE_SENDER": "detached"})

    assert FINE == got
    assert len(os.listdir(new)) > 2000


def test_a_folder_that_vanishes(host):
    """The whole state folder is removed while the program runs."""
    source = HEAD.replace("usage.count", f"import shutil; shutil.rmtree({str(host.spool)!r})\nusage.count", 1)

    assert FINE == run(host, source)


def test_files_where_folders_should_be(host):
    """The spool's place is taken by files."""
    (host.home / "prog").mkdir()
    for name in ("1", "wake"):
        (host.home / "prog" / name).write_text("x")

    assert FINE == run(host)


def test_links_where_files_should_be(host):
    """A dangling link in the place of the consent file is no consent, and no error."""
    (host.home / "prog").mkdir()
    (host.home / "prog" / "consent").symlink_to("/nonexistent")

    assert FINE == run(host)


def test_a_host_that_breaks_the_library(host):
    """A program that replaces functions we use notices nothing."""
    source = HEAD + ""
    breaks = "import os, time\ndef no(*a, **k): raise RuntimeError('broken')\n"
    for name in ("os.open", "os.rename", "os.urandom", "os.fstat", "time.time_ns", "os.pwrite"):
        (host.home / "debug").exists() and (host.home / "debug").rmdir()
        late = source.replace("import argparse", f"{breaks}{name} = no\nimport argparse", 1)
        early = f"{breaks}import argparse, traceback\n{name} = no\n" + source if name[:4] == "time" else source

        assert FINE == run(host, late), name
        assert FINE == run(host, early), name


def test_a_spawn_that_fails(host):
    """A sender that can't be started is none of the program's business."""
    breaks = "import os\ndef no(*a, **k): raise PermissionError(13, 'no')\nos.posix_spawn = no\n"

    got = run(host, breaks + HEAD, env={"OTEL_USAGE_SENDER": "detached"})

    assert FINE == got
    assert "report" == host.the_run.command


def test_recursion_at_its_limit(host):
    """A program out of stack ends as it would."""
    source = HEAD.replace("usage.count", "def f(): f()\ntry: f()\nexcept RecursionError: pass\nusage.count", 1)

    assert FINE == run(host, source)


def test_a_run_in_the_middle_of_another(host):
    """Programs of the same app at the same time keep to their own files."""
    processes = [host.start(HEAD, "report") for _ in range(12)]
    for process in processes:
        process.communicate(timeout=60)

    assert 12 == len({run.ids for run in host.runs})
    until(lambda: not host.files("open"))


if sys.platform == "win32":
    pytest.skip("POSIX", allow_module_level=True)
