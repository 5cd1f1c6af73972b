"""``consent="host"``: a plugin or library goes by what was decided for the program that it is a part of."""

import json

import pytest

from otel_usage.consent.host import combine

from ..hosts import INTERPRETERS, until, version_of
from ..spools import sink  # noqa: F401  a fixture
from ..users import settled

PLUGIN = """
import otel_usage, os
usage = otel_usage.init("{name}", version="0.3", consent="host", destinations={{"otlp": os.environ["T_SINK"]}},
                        schema={{"n": {{"kind": "count", "why": "x"}}, "drawn": {{"why": "x"}}}})
def draw():
    usage.count("n"); usage.action("drawn")
    with usage.action("drawn"): pass
    usage.command("scan"); usage.run(int); usage.flush()
    return usage
"""
HOST_INIT = """
import otel_usage
host = otel_usage.init("prog", version="1", consent="{consent}", schema={{}})
"""
AFTER = """
print(charts.draw().recording, maps.draw().recording, charts.usage.decision.mode)
"""


@pytest.fixture
def program(user):
    """Run a program with two plugins, whose inits come before or after its own; return what it wrote."""
    site = user.tmp / "lib" / "site-packages"
    site.mkdir(parents=True)
    for name in ("charts", "maps"):
        (site / f"{name}.py").write_text(PLUGIN.format(name=name))
    user.environ["PYTHONPATH"] += f":{site}"
    user.environ["T_SINK"] = "http://127.0.0.1:9"

    def run(order="host first", consent="opt-in", more="", argv=(), **env):
        host = HOST_INIT.format(consent=consent)
        imports = "import charts, maps\n"
        text = {"host first": host + imports, "host last": imports + "charts.draw()\n" + host, "no host": imports}[
            order
        ]
        python = env.pop("python", None)
        options = {"python": python} if python else {}
        ended = user.run(text + AFTER + more, *argv, env=env, **options)
        assert (0, b"") == (ended.status, ended.err), ended.err.decode()
        return ended.out.decode().split()

    run.user = user
    return run


def recorded(user, app):
    """Return how many actions and counts of *app* wait, whether by a living process or not."""
    user.app = app
    user.adopt()
    kinds = [span.attributes["usage.kind"] for span in user.spans]
    count = user.counts.get(("usage.count.n", ()), 0)
    user.app = "prog"
    return kinds.count("action"), count, kinds.count("run")


@pytest.mark.parametrize("order", ["host first", "host last"])
@pytest.mark.parametrize("python", INTERPRETERS, ids=version_of)
def test_the_host_said_yes(program, order, python):
    """What plugins do is recorded, by each into a folder of its own, from the moment at which the program has decided."""
    assert ["True", "True", "on"] == program(order, python=python, PROG_TELEMETRY="on")

    for app in ("charts", "maps"):
        assert (2, 1, 0) == recorded(program.user, app)
    assert 1 == len(program.user.runs)


@pytest.mark.parametrize("order", ["host first", "host last"])
@pytest.mark.parametrize(
    "env",
    [
        {"PROG_TELEMETRY": "off"},
        {"DO_NOT_TRACK": "1"},
        {"PROG_TELEMETRY": "off", "CHARTS_TELEMETRY": "on", "MAPS_TELEMETRY": "on"},
        {"PROG_TELEMETRY": "on", "CHARTS_TELEMETRY": "off", "MAPS_DISABLE_ANALYTICS": "1"},
        {},
    ],
)
def test_somebody_said_no(program, order, env):
    """A no to the program, to the plugin, or to all is a no; and so is it where nobody has said anything."""
    assert ["False", "False", "off"] == program(order, **env)

    assert not (program.user.home / "charts").exists()
    assert not (program.user.home / "maps").exists()


def test_the_program_does_not_use_us(program):
    """Nothing is recorded, nothing is touched: nobody could be asked, and nobody's decision is known."""
    assert ["False", "False", "off"] == program("no host")
    assert ["False", "False", "off"] == program("no host", CHARTS_TELEMETRY="on")

    assert [] == program.user.kept


def test_the_user_said_yes_to_the_plugin_itself(program):
    """That counts where the program has been said no word of; `status` tells whose word it is, and why it is not enough."""
    assert ["True", "False", "on"] == program("host last", CHARTS_TELEMETRY="on")
    written = program.user.ours("status", "--app", "charts", CHARTS_TELEMETRY="on").out.decode()
    assert "CHARTS_TELEMETRY=on in the environment" in written

    (program.user.home / "charts" / "settings.json").write_text(
        json.dumps({"app": "charts", "consent": "host", "policy": 1, "schema": "{}", "destinations": None})
    )
    written = program.user.ours("status", "--app", "charts", CHARTS_TELEMETRY="on").out.decode()
    assert "the program that it is a part of" in written


def test_the_option_of_the_host(program):
    """``--disable-analytics`` is the program's, and counts for its plugins too."""
    written = program("host last", argv=("--disable-analytics",), PROG_TELEMETRY="on")

    assert ["False", "False", "off"] == written


def test_opt_out_and_the_stored_choice(program):
    """A notice that was seen, and a stored choice, of the program's count for its plugins."""
    program.user.choose("noticed")
    assert ["True", "True", "on"] == program(consent="opt-out")

    program.user.choose("local")
    assert ["True", "True", "local"] == program(consent="opt-out")
    assert (program.user.home / "charts" / "1" / "local" / "new").exists()


def test_otel_usage_run_is_no_decision_of_a_program(program):
    """Who records a program from outside has agreed to a record of it, not to those of its plugins."""
    user = program.user
    (user.tmp / "work" / "watched.py").write_text("import charts\nprint(charts.draw().recording)\n")
    ended = user.ours("run", "--app", "prog", "--", "python", "watched.py")

    assert b"False\n" == ended.out


def test_workers(program):
    """A plugin's handle can be sent to a worker, forked or spawned, and records there by the same decision."""
    more = """
import multiprocessing
def work(handle): handle.count("n"); handle.action("drawn")
if __name__ == "__main__":
    for how in ("fork", "spawn"):
        child = multiprocessing.get_context(how).Process(target=work, args=(charts.usage,))
        child.start(); child.join()
"""
    program(more=more, PROG_TELEMETRY="on")

    actions, count, runs = recorded(program.user, "charts")
    assert (6, 4, 0) == (actions, count, runs)  # the spawned worker has run the program's module again


def test_sent_status_and_off(program, sink):  # noqa: F811
    """A sender asks about the program again; `status` says by whose word; off for the program stops its plugins."""
    user = program.user
    user.choose("on")
    env = {"T_SINK": sink.address, "OTEL_USAGE_SENDER": "detached", "OTEL_USAGE_SEND_DELAY_S": "0"}
    program(**env)
    until(lambda: [span for span in sink.spans() if span["resource"]["service.name"] == "charts"])
    settled(user)
    status = json.loads(user.ours("status", "--app", "charts", "--json").out)
    assert ("on", "host", "prog") == (status["mode"], status["layer"], status["source"])
    assert "what was decided for prog" in user.ours("status", "--app", "charts").out.decode()

    program(OTEL_USAGE_SENDER="none")
    assert [] != list((user.home / "charts" / "1" / "new").iterdir())
    user.ours("off", "--app", "prog")
    assert [] == list((user.home / "charts" / "1" / "new").iterdir())
    assert "off" == json.loads(user.ours("status", "--app", "charts", "--json").out)["mode"]
    assert ["False", "False", "off"] == program()


def test_off_before_anything_was_sent(program):
    """No sender has said yet whose plugins they are: the plugins have. A plugin of another program keeps what it has."""
    user = program.user
    program(PROG_TELEMETRY="on")
    (user.home / "maps" / "host").write_text("another")
    assert ["charts", "maps", "prog"] == sorted(path.name for path in user.home.iterdir() if (path / "1").exists())

    user.ours("off", "--app", "prog")
    assert [] == list((user.home / "charts" / "1" / "new").iterdir())
    assert [] != list((user.home / "maps" / "1" / "new").iterdir())

    (user.home / "charts" / "1" / "trimmed").write_text("3\n")
    assert 0 == user.ours("forget", "--app", "charts").status
    assert not (user.home / "charts").exists()


def test_off_said_while_a_program_runs(program):
    """Nothing of the plugin's is left once somebody has said off to the program: neither handed over, nor in its cells."""
    more = """
import subprocess, sys
charts.usage.count("n")
subprocess.run([sys.executable, "-m", "otel_usage.cli", "off", "--app", "prog"], check=True, stdout=subprocess.DEVNULL)
charts.usage.flush()
"""
    program.user.choose("on")
    program(more=more)

    assert (0, 0, 0) == recorded(program.user, "charts")


class Said:
    """A decision, as far as `combine` looks."""

    def __init__(self, mode="off", layer="default", since_s=0, source=""):
        self.mode, self.layer, self.since_s, self.source = mode, layer, since_s, source


@pytest.mark.parametrize(
    ("own", "host", "mode"),
    [
        (Said(), Said("on"), "on"),
        (Said(), Said("log", "environment"), "log"),
        (Said(), Said("local", "stored"), "local"),
        (Said(), Said(), "off"),
        (Said(), None, "off"),
        (Said("on", "environment"), None, "off"),
        (Said(), Said("off", "flag"), "off"),
        (Said("off", "stored"), Said("on", "environment"), "off"),
        (Said("local", "stored"), Said("on", "environment"), "local"),
        (Said("on", "environment"), Said("local", "stored"), "on"),
        (Said("on", "environment"), Said(), "on"),
        (Said("on", "environment"), Said("off", "machine"), "off"),
    ],
)
def test_who_wins(own, host, mode):
    """The table at the head of consent/host.py."""
    assert mode == combine(own, host, "prog").mode


def test_the_page_for_users(program):
    """What is said to the plugin's users of when it records."""
    ended = program.user.ours("describe", "charts:usage")

    assert "Only where the program that it is a part of records too" in ended.out.decode(), ended.err.decode()


def test_not_for_a_service(program):
    """A service is the program itself: a setting that contradicts it is said in development."""
    source = "import otel_usage\notel_usage.init('prog', version='1', consent='host', service=True)\n"
    ended = program.user.run(source, env={"OTEL_USAGE_STRICT": "1"})

    assert "possible for a service" in ended.err.decode()
