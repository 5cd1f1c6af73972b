"""Who may say what: any explicit off, else the strongest setting, else the host's default."""

import os
import pty
import shutil
import subprocess

import pytest

import otel_usage
from otel_usage.consent import gate as gate_module
from otel_usage.consent.gate import decide

from ..hosts import Host

PROGRAM = """
import otel_usage
usage = otel_usage.init("my-cli", version="1.4", consent="{consent}", policy={policy}, about="https://example.org/what")
usage.command("scan")
print(usage.decision.mode, usage.decision.layer, usage.decision.source, usage.recording)
"""


@pytest.fixture
def gate(tmp_path, monkeypatch):
    """Return a function that decides in a clean environment but for what it is given."""
    monkeypatch.setattr(gate_module, "MACHINE", str(tmp_path / "machine"))

    def ask(consent="opt-in", policy=1, testing=False, stored=None, **environ):
        environ.setdefault("OTEL_USAGE_HOME", str(tmp_path))
        if stored is not None:
            (tmp_path / "my-cli").mkdir(exist_ok=True)
            (tmp_path / "my-cli" / "consent").write_bytes(stored)
        return decide("my-cli", consent, policy, environ, testing)

    return ask


ON = {"MY_CLI_TELEMETRY": "on"}


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        *[(t, "on") for t in ("on", "1", "true", "yes", "ON", " on ", "True", "enabled")],
        *[(t, "off") for t in ("off", "0", "false", "no", "OFF", "disabled", "nonsense", "on please", "\udcff")],
        ("local", "local"),
        ("log", "log"),
    ],
)
def test_the_variable_named_for_the_app_takes_a_mode(gate, text, mode):
    """``<APP>_TELEMETRY`` takes a mode; what it does not understand is off."""
    decision = gate(MY_CLI_TELEMETRY=text)

    assert (mode, "environment", "MY_CLI_TELEMETRY") == (decision.mode, decision.layer, decision.source)


SWITCHES = ["MY_CLI_DISABLE_ANALYTICS", "DO_NOT_TRACK", "OTEL_SDK_DISABLED", "OTEL_USAGE_DISABLED"]


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("text", ["1", "true", "TRUE", "yes", "on", "anything", " 1 "])
def test_an_off_switch_beats_every_on(gate, switch, text):
    """An off-switch that is set to anything but a false value is off, whoever says on."""
    decision = gate(stored=b"on 1 1\n", **ON, **{switch: text})

    assert ("off", "environment", switch) == (decision.mode, decision.layer, decision.source)


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("text", ["", "0", "false", "no", "False", " "])
def test_an_off_switch_with_a_false_value_says_nothing(gate, switch, text):
    """``DO_NOT_TRACK=0`` is not an off, nor an on."""
    assert "on" == gate(**ON, **{switch: text}).mode
    assert "off" == gate(**{switch: text}).mode


@pytest.mark.parametrize("name", ["off", "my-cli.off"])
def test_the_machine_switch(gate, tmp_path, name):
    """A file under /etc is off for everybody: its existence is enough."""
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine" / name).touch()

    decision = gate(stored=b"on 1 1", **ON)

    assert ("off", "machine", str(tmp_path / "machine" / name)) == (decision.mode, decision.layer, decision.source)


def test_another_apps_machine_switch(gate, tmp_path):
    """The switch of one app is not another's."""
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine" / "other.off").touch()

    assert "on" == gate(**ON).mode


@pytest.mark.parametrize(
    ("stored", "mode"),
    [
        (b"on 17 1\n", "on"),
        (b"local 17 1\n", "local"),
        (b"off 17 1\n", "off"),
        (b"", "off"),
        (b"on", "off"),
        (b"on seventeen 1", "off"),
        (b"maybe 17 1", "off"),
        (b"\xff\xfe\x00", "off"),
        (b"on 17 1 and more", "on"),
        (b"x" * 100_000, "off"),
    ],
)
def test_the_stored_choice(gate, stored, mode):
    """What the user chose is kept in a file; one that can't be understood is off."""
    decision = gate(stored=stored)

    assert (mode, "stored") == (decision.mode, decision.layer)
    assert mode == "off" or decision.since_s == 17


def test_a_stored_off_beats_an_on(gate):
    """Any explicit off beats any on."""
    assert "off" == gate(stored=b"off 17 1", **ON).mode


def test_the_environment_beats_a_stored_choice(gate):
    """The strongest that says something decides."""
    assert "local" == gate(stored=b"on 17 1", MY_CLI_TELEMETRY="local").mode


def test_a_choice_that_cannot_be_read_is_off(gate, tmp_path):
    """It may have said so."""
    (tmp_path / "my-cli" / "consent").mkdir(parents=True)

    assert ("off", "stored") == (gate(**ON).mode, gate().layer)


@pytest.mark.parametrize("name", [name.decode() for name in otel_usage.consent.gate.CI])
def test_ci_records_nothing_by_itself(gate, name):
    """CI systems are known by their variables; an explicit on counts there too."""
    vendor = otel_usage.consent.gate.CI[name.encode()]

    assert ("off", "CI") == (
        gate("opt-out", stored=b"noticed 17 1", **{name: "true"}).mode,
        gate("opt-out", **{name: "1"}).source,
    )
    assert ("on", vendor) == (gate(**ON, **{name: "true"}).mode, gate(**ON, **{name: "true"}).ci)
    assert "" == gate(**ON, **{name: "false"}).ci


@pytest.mark.parametrize(
    ("consent", "stored", "policy", "mode", "notice"),
    [
        ("opt-in", None, 1, "off", False),
        ("opt-in", b"noticed 17 1", 1, "off", False),
        ("opt-out", None, 1, "off", True),
        ("opt-out", b"noticed 17 1", 1, "on", False),
        ("opt-out", b"noticed 17 1", 2, "off", True),
        ("opt-out", b"noticed 17 3", 2, "on", False),
    ],
)
def test_the_hosts_default(gate, consent, stored, policy, mode, notice):
    """Opt-in is off until somebody says on; opt-out is on once its notice was seen, for the policy it was about."""
    decision = gate(consent, policy, stored=stored)

    assert (mode, notice, "default") == (decision.mode, decision.notice, decision.layer)


def test_test_runners_are_off(gate):
    """Programs imported by pytest record nothing by themselves, and show no notice."""
    decision = gate("opt-out", testing=True, stored=b"noticed 17 1")

    assert ("off", False) == (decision.mode, decision.notice)
    assert "on" == gate("opt-out", testing=True, stored=b"noticed 17 1", **ON).mode


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"OTEL_USAGE_HOME": "/a/b"}, "/a/b/my-cli"),
        ({"OTEL_USAGE_HOME": "", "XDG_STATE_HOME": "/x"}, "/x/otel-usage/my-cli"),
        ({"OTEL_USAGE_HOME": "", "XDG_STATE_HOME": "relative", "HOME": "/h/"}, "/h/.local/state/otel-usage/my-cli"),
        ({"OTEL_USAGE_HOME": "", "HOME": ""}, None),
    ],
)
def test_where_state_is_kept(gate, environ, expected):
    """OTEL_USAGE_HOME, else XDG_STATE_HOME if absolute, else the home folder."""
    assert gate(**environ).home == (expected or os.path.expanduser("~/.local/state/otel-usage/my-cli"))


# -- for real -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cli(tmp_path):
    """A host program called my-cli, with nothing said about telemetry."""
    host = Host(tmp_path, app="my-cli")
    del host.environ["MY-CLI_TELEMETRY"]
    yield host
    assert "" == host.faults


def on_a_terminal(host: Host, source: str, *argv: str) -> str:
    """Run *source* with stderr, alone, on a terminal. Return what the terminal showed."""
    ours, theirs = pty.openpty()
    process = host.start(source, *argv, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # Linux: nobody has the other end any more
        pass
    os.close(ours)
    process.communicate(timeout=30)
    return shown.decode().replace("\r\n", "\n")


OPT_OUT = PROGRAM.format(consent="opt-out", policy=1)
OPT_IN = PROGRAM.format(consent="opt-in", policy=1)


def test_the_notice_comes_first_and_once(cli):
    """The first run on a terminal shows the notice and is not recorded; the second is."""
    first = on_a_terminal(cli, OPT_OUT)
    before = cli.runs
    second = on_a_terminal(cli, OPT_OUT)

    assert "MY_CLI_TELEMETRY=off" in first
    assert "https://example.org/what" in first
    assert [] == before
    assert "" == second
    assert "scan" == cli.the_run.command


def test_the_notice_stores_when_it_was_seen(cli):
    """What is stored is that it was noticed, when, and for which policy; readable by the user alone."""
    on_a_terminal(cli, OPT_OUT)
    file = cli.home / "my-cli" / "consent"
    word, since, policy = file.read_text().split()

    assert ("noticed", "1") == (word, policy)
    assert since.isdigit()
    assert (0o600, 0o700) == (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777)
    assert [file] == list(file.parent.iterdir())


def test_the_notice_comes_again_for_a_new_policy(cli):
    """More is collected than the user was told: tell again first."""
    on_a_terminal(cli, OPT_OUT)
    again = on_a_terminal(cli, PROGRAM.format(consent="opt-out", policy=2))
    then = on_a_terminal(cli, PROGRAM.format(consent="opt-out", policy=2))

    assert "MY_CLI_TELEMETRY=off" in again
    assert "" == then
    assert 1 == len(cli.runs)


def test_without_a_terminal_nothing_is_seen(cli):
    """A notice that nobody can have seen was not seen: nothing is shown, stored or recorded, however often."""
    for _ in range(2):
        ended = cli.run(OPT_OUT)
        assert (b"off default opt-out False\n", b"") == (ended.out, ended.err)

    assert not (cli.home / "my-cli").exists()


@pytest.mark.parametrize("env", [{"CI": "true"}, {"DO_NOT_TRACK": "1"}, {"MY_CLI_TELEMETRY": "off"}])
def test_no_notice_where_nothing_would_be_recorded(cli, env):
    """No notice in CI, nor for those who said no."""
    cli.environ.update(env)

    assert "" == on_a_terminal(cli, OPT_OUT)
    assert not (cli.home / "my-cli").exists()


def test_a_notice_that_cannot_be_stored_is_not_shown(cli):
    """Or it would come at every run."""
    shutil.rmtree(cli.home)
    cli.home.write_text("a file where the folder should be")

    assert "" == on_a_terminal(cli, OPT_OUT)
    cli.home.unlink()


def test_on_is_consent_without_a_terminal(cli):
    """``<APP>_TELEMETRY=on`` needs no notice."""
    for consent in ("opt-in", "opt-out"):
        cli.run(PROGRAM.format(consent=consent, policy=1), env={"MY_CLI_TELEMETRY": "on"})

    assert 2 == len(cli.runs)


def test_recorded_in_ci_when_told_so(cli):
    """An explicit on in CI is recorded, and marked."""
    cli.run(OPT_IN, env={"MY_CLI_TELEMETRY": "on", "GITHUB_ACTIONS": "true"})

    assert cli.the_run.attributes["usage.ci"] is True


@pytest.mark.skipif(not shutil.which("strace"), reason="strace")
@pytest.mark.parametrize("env", [{"MY_CLI_TELEMETRY": "off"}, {"DO_NOT_TRACK": "1"}, {}], ids=str)
def test_off_touches_nothing(cli, env):
    """Off means off: nothing is opened for writing, made, removed, renamed, started or connected to."""
    trace = cli.tmp / "trace"
    calls = "open,openat,creat,mkdir,mkdirat,unlink,unlinkat,rename,renameat,renameat2,link,symlink,truncate,ftruncate"
    calls += ",utimensat,chmod,fchmod,socket,connect,clone,clone3,fork,vfork,execve,memfd_create,pwrite64,flock"
    environ = {**cli.environ, **env, "PYTHONDONTWRITEBYTECODE": "1"}
    command = cli.command(OPT_IN, ())
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={calls}", *command],
        env=environ, capture_output=True, check=True, cwd=cli.tmp / "work",
    )  # fmt: skip
    suspect = [line for line in trace.read_text().splitlines() if not ("open" in line and "O_RDONLY" in line)]

    assert b"off" in done.stdout
    assert 1 == len(suspect), suspect  # our own execve
    assert "execve" in suspect[0]
    assert not (cli.home / "my-cli").exists()


def test_the_sender_and_what_it_starts_record_nothing(cli):
    """The recursion brake stops before anything is read."""
    ended = cli.run(
        "import otel_usage\nu = otel_usage.init('my-cli', version='1', consent='opt-in')\n"
        "print(u.decision, u.recording)\n",
        env={"OTEL_USAGE_CHILD": "1", "MY_CLI_TELEMETRY": "on"},
    )
    assert b"None False\n" == ended.out
    assert not (cli.home / "my-cli").exists()


def test_log_writes_nothing_to_disk(cli):
    """``log`` shows what would be sent, and keeps nothing."""
    cli.run(OPT_IN, env={"MY_CLI_TELEMETRY": "log", "OTEL_USAGE_SENDER": "none"})

    assert not (cli.home / "my-cli").exists()


def test_local_is_recorded(cli):
    """``local`` is recorded like on, in a place where no sender looks."""
    cli.run(OPT_IN, env={"MY_CLI_TELEMETRY": "local", "OTEL_USAGE_SENDER": "detached"})

    (file,) = (cli.spool / "local" / "new").iterdir()
    assert b'"my-cli scan"' in file.read_bytes()
    assert ["local"] == [path.name for path in cli.spool.iterdir()]


def test_a_wrong_setting_is_not_the_users_problem(cli):
    """A mistake of the host's developer is never seen by its users."""
    (cli.home / "debug").rmdir()  # the faults are the developer's
    ended = cli.run(
        "import otel_usage\nu = otel_usage.init('my-cli', version=object(), consent='whatever', schema=7, sender=3)\n"
        "u.count('x'); u.action('y').set(z=1); print('fine')\n",
        env={"MY_CLI_TELEMETRY": "on"},
    )
    assert (0, b"fine\n", b"") == (ended.status, ended.out, ended.err)
