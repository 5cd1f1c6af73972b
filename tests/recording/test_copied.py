"""Everything public can be copied, pickled and sent to workers, whatever the user said; nothing of the host's goes along."""

import pytest

from ..hosts import INTERPRETERS, Host, version_of

MODES = ["on", "off", "local", "log", "no init yet"]
HEAD = """
import copy, dataclasses, multiprocessing, os, pickle, sys
import otel_usage
from otel_usage import count as counts_alone
schema = {"n": {"kind": "count", "why": "x", "fields": {"where": ["parent", "child"]}}, "did": {"why": "x"}}
def init():
    return otel_usage.init("prog", version="1.4", consent="opt-in", schema=schema,
                           destinations={"ga4": {"measurement_id": "G-1", "api_secret": "s3cret"}})
usage = otel_usage._usage if "later" in sys.argv else init()
"""


def run(host: Host, mode: str, source: str, python: str = INTERPRETERS[0]) -> str:
    """Run *source* under *mode* and return what it printed. It ends well, and says nothing else."""
    late = mode == "no init yet"
    ended = host.run(
        HEAD + source,
        *(["later"] if late else []),
        python=python,
        flags=("-W", "ignore"),
        env={"PROG_TELEMETRY": "on" if late else mode},
    )
    assert 0 == ended.status, ended.err.decode()
    assert mode == "log" or b"" == ended.err
    return ended.out.decode()


THINGS = """
with usage.command("scan") as scan, usage.action("did") as did:
    things = [usage, did, scan, usage.action("did"), usage.action, usage.count, usage.error, usage.heartbeat, usage.command,
              usage.run, usage.flush, usage.shutdown, usage.init if hasattr(usage, "init") else otel_usage.init,
              *[getattr(otel_usage, name) for name in otel_usage.__all__], did.set, otel_usage]
@dataclasses.dataclass
class Config:
    usage: object
    did: object
    count: object
"""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
def test_copies_and_pickles(host, mode, python):
    """A copy of the handle is the handle, and so is its pickle: a name, without a setting or key."""
    source = (
        THINGS
        + """
assert copy.copy(usage) is usage and copy.deepcopy({"u": [usage]})["u"][0] is usage
assert copy.copy(did) is did and copy.deepcopy(did) is did
row = dataclasses.asdict(Config(usage, did, usage.count))
assert row["usage"] is usage and row["did"] is did and row["count"] == usage.count
dataclasses.replace(Config(usage, did, 1), count=2)
for thing in things[:-1]:
    copy.copy(thing), copy.deepcopy(thing)
    for protocol in range(2 if thing is usage else 2, pickle.HIGHEST_PROTOCOL + 1):
        text = pickle.dumps(thing, protocol)
        assert b"s3cret" not in text and b"G-1" not in text and b"why" not in text, thing
        again = pickle.loads(text)
    assert thing not in (usage, did) or again is usage
    assert thing != usage.count or again == usage.count
print("done")
"""
    )

    assert run(host, mode, source, python).startswith("done")


WORKERS = {
    "spawn": "multiprocessing.get_context('spawn').Process",
    "forkserver": "multiprocessing.get_context('forkserver').Process",
    "fork": "multiprocessing.get_context('fork').Process",
}


@pytest.mark.parametrize("mode", ["on", "off", "local"])
@pytest.mark.parametrize("how", WORKERS)
def test_the_handle_in_a_worker(host, how, mode):
    """It arrives as the worker's own handle: it counts there, or, where the user said no, does nothing."""
    source = f"""
def work(usage, did, count, run):
    usage.count("n", where="child"); count("n", where="child"); did.set(); run(int)
    usage.flush()
    sys.exit(0 if usage.app == "prog" and counts_alone.__self__ is otel_usage._usage else 3)
if __name__ == "__main__":
    did = usage.action("did")
    process = {WORKERS[how]}(target=work, args=(usage, did, usage.count, otel_usage.run))
    process.start(); process.join()
    print(process.exitcode)
"""
    assert "0\n" == run(host, mode, source)
    expected = 2 if mode == "on" else None
    assert expected == host.counts.get(("usage.count.n", (("usage.field.where", "child"),)))
    assert int(mode == "on") == len(host.runs)


def test_pools(host):
    """``Pool.map`` and executors take the handle's methods as they take any function."""
    source = """
from concurrent.futures import ProcessPoolExecutor
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        pool.map(usage.count, ["n", "n"]); pool.map(otel_usage.count, ["n"]); pool.apply(usage.flush)
        pool.close(); pool.join()
    with ProcessPoolExecutor(1, context) as pool:
        print(list(pool.map(usage.count, ["n", "n"])))
"""
    assert "[None, None]\n" == run(host, "on", source)
    assert 5 == host.counts[("usage.count.n", ())]
    assert 1 == len(host.runs)


def test_a_worker_that_never_calls_init(host):
    """Where the program's module is not imported the handle arrives all the same, and records nothing."""
    source = """
import subprocess
text = pickle.dumps([usage, usage.count, usage.action("did")])
code = "import pickle, sys; u, c, a = pickle.load(sys.stdin.buffer); c('n'); a.set(x=1); u.flush(); print(u.app, u.recording)"
print(subprocess.run([sys.executable, "-W", "error", "-c", code], input=text, stdout=subprocess.PIPE).stdout.decode())
"""
    assert "prog False\n\n" == run(host, "on", source)
    assert {} == host.counts


def test_a_handle_that_came_before_init(host):
    """A handle that was unpickled before `init` was called is the same app's afterwards."""
    source = """
import subprocess
text = pickle.dumps(usage)
code = f'''
import pickle, otel_usage
early = pickle.loads({text!r})
usage = otel_usage.init("prog", version="1", consent="opt-in", schema={{"n": {{"kind": "count", "why": "x"}}}})
early.count("n"); usage.count("n"); otel_usage.count("n")
print(early.recording)
'''
open("other.py", "w").write(code)
print(subprocess.run([sys.executable, "other.py"], stdout=subprocess.PIPE).stdout.decode())
"""
    assert "True\n\n" == run(host, "on", source)
    assert 3 == host.counts[("usage.count.n", ())]


@pytest.mark.parametrize("mode", ["on", "off"])
@pytest.mark.parametrize("library", ["joblib", "loky", "cloudpickle"])
def test_libraries_that_pickle_functions_of_the_main_module(host, library, mode):
    """A function that mentions the handle reaches loky's workers, and is pickled by value where libraries do that."""
    pytest.importorskip(library)
    source = {
        "joblib": "import joblib\nif __name__ == '__main__':\n"
        "    print(joblib.Parallel(1, backend='loky')([joblib.delayed(work)(i) for i in range(2)]))",
        "loky": "import loky\nif __name__ == '__main__':\n"
        "    print(list(loky.get_reusable_executor(max_workers=1).map(work, range(2))))",
        "cloudpickle": "import cloudpickle\ntext = cloudpickle.dumps(work)\nassert b's3cret' not in text\n"
        "print([pickle.loads(text)(i) for i in range(2)])",
    }[library]
    printed = run(host, mode, "def work(i):\n    usage.count('n', where='child')\n    return i\n" + source)

    assert "[0, 1]\n" == printed
    assert int(mode == "on") == len(host.runs)
