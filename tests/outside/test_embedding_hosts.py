"""Programs that run inside of another one's: IPython, coverage, greenlets, interpreters of one process, ``python -i``.

Each ends as it would without us, and its number is right, or left out. With OTEL_USAGE_SLOW=1, where they are installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..hosts import ROOT, Host

pytestmark = pytest.mark.skipif(not os.environ.get("OTEL_USAGE_SLOW"), reason="OTEL_USAGE_SLOW is not set")

INIT = """
import os, sys
import otel_usage
usage = otel_usage.init("prog", version="1", consent="opt-in", schema={"n": {"kind": "count", "why": "x"}})
"""
HEAD = INIT + 'usage.command("scan")\n'
GREEN = """
def work():
    usage.count("n"); green.sleep(0.01); usage.count("n")
"""
EVENTLET = "import eventlet as green; green.monkey_patch()\n"
GEVENT = "from gevent import monkey; monkey.patch_all()\nimport gevent as green\n"
# what is started: (words before the script, source, what is typed, exit code, codes that may be recorded, counts)
HOSTS = {
    "ipython, an exit": (["ipython"], HEAD + "usage.count('n'); sys.exit(3)", "", 3, (3, None), 1),
    "ipython, its end": (["ipython"], HEAD + "usage.count('n')", "", 0, (0, None), 1),
    "ipython, an exception": (["ipython"], HEAD + "usage.count('n'); 1 / 0", "", 1, (1, None), 1),
    "ipython, embedded": (
        ["python"],
        HEAD + "import IPython; usage.count('n'); IPython.embed(colors='nocolor'); sys.exit(4)",
        "usage.count('n')\nexit\n",
        4,
        (4, None),
        2,
    ),
    "python -i": (["python", "-i"], HEAD + "usage.count('n')", "import sys; sys.exit(3)\n", 3, (3, None), 1),
    "coverage": (["coverage", "run", "--data-file=c"], HEAD + "usage.count('n'); sys.exit(3)", "", 3, (3, None), 1),
    "gevent": (
        ["python"],
        GEVENT + HEAD + GREEN + "green.joinall([green.spawn(work) for _ in range(5)]); sys.exit(6)",
        "",
        6,
        (6, None),
        10,
    ),
    "eventlet": (
        ["python", "-W", "ignore"],
        EVENTLET + HEAD + GREEN + "[each.wait() for each in [green.spawn(work) for _ in range(5)]]; sys.exit(6)",
        "",
        6,
        (6, None),
        10,
    ),
}


@pytest.mark.parametrize("how", HOSTS)
def test_a_host_of_code(host: Host, how: str) -> None:
    """The exit code that the parent sees is the one recorded, or none is; each count is there, once."""
    words, source, typed, status, codes, n = HOSTS[how]
    module = {"ipython": "IPython", "python -i": "sys"}.get(how.partition(",")[0], how.partition(",")[0])
    pytest.importorskip(module)
    (host.tmp / "work" / "script.py").write_text(source)
    line = words[1:] if words[0] == "python" else [str(Path(sys.executable).parent / words[0]), *words[1:]]
    host.environ["IPYTHONDIR"] = str(host.tmp / "ipython")
    ended = subprocess.run(
        [sys.executable, *line, "script.py"],
        cwd=host.tmp / "work",
        env=host.environ,
        input=typed.encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert status == ended.returncode, ended
    assert "scan" == host.the_run.command
    assert host.the_run.ending[0] in codes
    assert n == host.counts[("usage.count.n", ())]
    assert [] == host.files("open")


POOL = """
import sys, job
job.usage.command("scan")
if __name__ == "__main__":
    from concurrent.futures import InterpreterPoolExecutor
    with InterpreterPoolExecutor(2) as pool:
        assert [0, 1, 2, 3, 4, 5] == list(pool.map(job.work, range(6)))
    sys.exit(5)
"""
ONE = """
import os, sys, job
job.usage.command("scan")
from concurrent import interpreters
one = interpreters.create()
one.exec(f"import sys; sys.path[:] = {sys.path!r}")
for i in range(6):
    assert i == one.call(job.work, i)
one.close()
sys.exit(5)
"""
PYTHON_3_14 = [ROOT / "build/python3.14/usr/bin/python3.14", *Path.home().glob(".pyenv/versions/3.14.*/bin/python")]


@pytest.mark.parametrize("source", [POOL, ONE], ids=["a pool", "one"])
def test_interpreters_of_one_process(host: Host, source: str) -> None:
    """What they count arrives; the run is the main interpreter's alone."""
    python = next((str(path) for path in PYTHON_3_14 if path.exists()), shutil.which("python3.14"))
    if python is None:
        pytest.skip("no Python 3.14")
    (host.tmp / "work" / "job.py").write_text(INIT + "def work(i):\n    usage.count('n')\n    return i\n")

    ended = host.run(source, python=python)

    assert (5, b"") == (ended.status, ended.err)
    assert ["scan"] == [run.command for run in host.runs]
    assert 5 == host.the_run.ending[0]
    host.adopt()
    assert 6 == host.counts[("usage.count.n", ())]
