"""Who decides: every switch a user has, from the outside, and how they rank."""

from __future__ import annotations

import itertools
import os
import tempfile
import uuid
from pathlib import Path

import pytest

import otel_usage
from otel_usage.consent import gate
from otel_usage.consent.gate import VOICES, WORDS, decide, word

from ..hosts import until
from ..users import Sink, User, python, senders, settled

SWITCHES = [where[1:].replace("{APP}", "PROG") for where in VOICES if where[0] == "!"]
TRUE, FALSE = ("1", "true", "yes", "on", "TRUE", " 1 "), ("", "0", "false", "no", "off", "False", " 0 ")
UNCLEAR = ("2", "maybe", "nope", "ja", "-", "\u0661")


@pytest.mark.parametrize("text", [*TRUE, *UNCLEAR])
def test_a_switch_that_is_set_is_an_off(text):
    """``DO_NOT_TRACK=1`` says off, and so does any value that can't be understood."""
    assert "off" == word(text, switch=True)


@pytest.mark.parametrize("text", FALSE)
def test_a_switch_with_a_false_value_says_nothing(text):
    """``DO_NOT_TRACK=0`` is not an off, and not an on."""
    assert "" == word(text, switch=True)


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        *[(t, "on") for t in TRUE], *[(f, "off") for f in FALSE if f], *[(u, "off") for u in UNCLEAR],
        ("", ""), ("local", "local"), ("Log", "log"),
    ],
)  # fmt: skip
def test_the_words_of_the_mode_variable(text, mode):
    """``PROG_TELEMETRY`` takes on, off, local, log and their like; anything else is an off."""
    assert mode == word(text)


@pytest.mark.parametrize("switch", SWITCHES)
def test_every_switch_switches_off(user: User, switch):
    """With any one switch set nothing of ours exists afterwards, whatever else says on."""
    user.choose("on")
    before = user.kept

    ended = user.prog("report", **{switch: "1", "PROG_TELEMETRY": "on"})

    assert (0, b"reported\n", b"") == (ended.status, ended.out, ended.err)
    assert before == user.kept


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_false_switch_leaves_an_on_as_it_is(user: User, switch):
    """``DO_NOT_TRACK=0`` takes nothing away from an explicit on, and is no on itself."""
    user.prog("report", **{switch: "0", "PROG_TELEMETRY": "on"})
    assert 1 == len(user.runs)
    user.clear()

    user.prog("report", **{switch: "0", "T_CONSENT": "opt-in"})

    assert [] == user.kept


def test_the_variable_switches_off(user: User):
    """``PROG_TELEMETRY=off`` beats a stored on."""
    user.choose("on")

    user.prog("report", PROG_TELEMETRY="off")

    assert ["prog", "prog/consent"] == user.kept


def test_a_stored_off_beats_an_on_in_the_environment(user: User):
    """Whoever set the variable, the user's own no stands."""
    user.choose("off")

    user.prog("report", PROG_TELEMETRY="on")

    assert ["prog", "prog/consent"] == user.kept


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may write /etc")
def test_the_machine_switch_of_one_app(user: User, request):
    """``/etc/otel-usage/<app>.off`` switches off for everybody; its existence is enough."""
    app = "test-" + uuid.uuid4().hex[:12]
    folder = Path("/etc/otel-usage")
    was = folder.exists()
    folder.mkdir(exist_ok=True)
    file = folder / f"{app}.off"
    request.addfinalizer(lambda: (file.unlink(), None if was else folder.rmdir()))
    file.touch()
    program = f"import otel_usage\notel_usage.init({app!r}, version='1', consent='opt-in')\n"

    user.run(program, env={app.upper().replace("-", "_") + "_TELEMETRY": "on"})

    assert [] == user.kept


def test_the_machine_switch_of_all_apps(user: User):
    """``off`` in the machine's folder switches every app off."""
    folder = user.tmp / "etc"
    folder.mkdir()
    (folder / "off").touch()
    program = f"import otel_usage.consent.gate\notel_usage.consent.gate.MACHINE = {str(folder)!r}\n"
    program += "otel_usage.init('prog', version='1', consent='opt-in')\n"

    user.run(program, env={"PROG_TELEMETRY": "on"})

    assert [] == user.kept


def test_a_machine_switch_need_not_be_a_readable_file(user: User):
    """A link that leads nowhere is there too."""
    folder = user.tmp / "etc"
    folder.mkdir()
    (folder / "off").symlink_to(folder / "nowhere")
    program = f"import otel_usage.consent.gate\notel_usage.consent.gate.MACHINE = {str(folder)!r}\n"
    program += "otel_usage.init('prog', version='1', consent='opt-in')\n"

    user.run(program, env={"PROG_TELEMETRY": "on"})

    assert [] == user.kept


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_a_machine_folder_that_is_closed_to_the_user_is_an_off():
    """Root's umask may have been 077: what can't be looked into may hold an off."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        os.mkdir(folder + "/etc", 0o700)
        code = (
            "import os, otel_usage.consent.gate\n"
            "os.setuid(65534)\n"
            f"otel_usage.consent.gate.MACHINE = {folder!r} + '/etc'\n"
            "told = otel_usage.consent.gate.decide('prog', 'opt-in', 1, {'PROG_TELEMETRY': 'on'})\n"
            "print(told.mode, told.layer)\n"
        )

        ended = python(code)

    assert "off machine\n" == ended.stdout


@pytest.mark.parametrize("said", ["machine", "stored"])
def test_a_long_running_program_notices_an_off(user: User, said: str):
    """Said while it runs, it counts from the next handing over on: what was recorded of this process goes."""
    machine = user.tmp / "etc"
    off = machine / "off" if said == "machine" else user.folder / "consent"
    program = (
        "import os, sys, time, otel_usage.consent.gate\n"
        f"otel_usage.consent.gate.MACHINE = {str(machine)!r}\n"
        "u = otel_usage.init('prog', version='1', consent='opt-in', flush_s=0.01, schema={'a.b': {'why': 'x'}})\n"
        "def flush():\n"
        "    u.action('a.b')\n"
        "    u.flush()\n"
        "    print(u.recording, len(os.listdir(sys.argv[2] + '/new')), len(os.listdir(sys.argv[2] + '/open')))\n"
        "flush()\n"
        "os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True)\n"
        "open(sys.argv[1], 'w').write('off 1 1\\n')\n"
        "flush()\n"
        "flush()\n"
    )

    ended = user.run(program, str(off), str(user.spool), env={"PROG_TELEMETRY": "on"})

    assert [b"True 1 1", b"False 1 0", b"False 1 0"] == ended.out.splitlines()
    assert 1 == len(list((user.spool / "new").iterdir()))


def test_a_long_run_is_not_kept_after_an_off(user: User):
    """A program without actions is asked at its end, if it lasted longer than a minute."""
    program = (
        "import otel_usage\n"
        "u = otel_usage.init('prog', version='1', consent='opt-in')\n"
        "u._recorder.clock_ns -= 61 * 10**9\n"
        f"open({str(user.folder / 'consent')!r}, 'w').write('off 1 1\\n')\n"
    )

    user.run(program, env={"PROG_TELEMETRY": "on"})

    assert [] == user.runs


def test_any_off_beats_any_on_and_else_the_strongest_decides(tmp_path, monkeypatch):
    """Over all combinations of what every voice can say: the rule, and who is named for it."""
    monkeypatch.setattr(gate, "MACHINE", str(tmp_path / "etc"))
    (tmp_path / "etc").mkdir()
    folder = tmp_path / "state" / "prog"
    folder.mkdir(parents=True)
    says = [["", "1"], ["", "on", "local", "log", "off"], ["", "1"], ["", "1"], ["", "1"], ["", "file"], ["", "file"]]
    assert len(says) == len(VOICES)
    for words in itertools.product(["", "--flag"], *says, ["", "on", "local", "off"]):
        flag, *variables, choice = words
        environ = {"OTEL_USAGE_HOME": str(tmp_path / "state")}
        expected: list[tuple[str, str, str]] = [("flag", flag, "off")] if flag else []
        for where, text in zip(VOICES, variables, strict=True):
            if where[0] == "/":
                path = Path(otel_usage.consent.gate.MACHINE + where.replace("{app}", "prog"))
                path.touch() if text else path.unlink(missing_ok=True)
                if text:
                    expected.append(("machine", str(path), "off"))
                continue
            name = where.lstrip("!").replace("{APP}", "PROG")
            environ[name] = text
            if text:
                expected.append(("environment", name, "off" if where[0] == "!" else WORDS[text]))
        file = folder / "consent"
        file.write_text(f"{choice} 5 1\n") if choice else file.unlink(missing_ok=True)
        if choice:
            expected.append(("stored", str(file), choice))
        decided = decide("prog", "opt-in", 1, environ, flag=flag)

        offs = [voice for voice in expected if voice[2] == "off"]
        winner = (offs or expected or [("default", "opt-in", "off")])[0]
        assert winner == (decided.layer, decided.source, decided.mode), words


def test_opt_in_records_nothing_unasked(user: User):
    """Without a word from its user an opt-in program leaves nothing."""
    user.on_terminal("report", T_CONSENT="opt-in")

    assert [] == user.kept


def test_the_notice_comes_first_and_its_run_is_not_recorded(user: User):
    """On a terminal the first run shows the notice and records nothing; the second is recorded, and silent."""
    first = user.on_terminal("report", T_SINK="https://usage.example.org/otlp")
    assert b"usage data" in first.out
    assert b"It goes to usage.example.org (otlp)." in b" ".join(first.out.split())
    assert b"PROG_TELEMETRY=off" in first.out
    assert b"https://prog.example.org/telemetry" in first.out
    assert ["prog", "prog/consent"] == user.kept

    second = user.on_terminal("report")

    assert b"reported\n" == second.out
    assert "report" == user.the_run.command


def test_without_a_terminal_the_notice_is_not_seen(user: User):
    """A pipe or cron job never consents, however often it runs."""
    for _ in range(2):
        ended = user.prog("report")

    assert (b"reported\n", b"") == (ended.out, ended.err)
    assert [] == user.kept


@pytest.mark.parametrize("variable", ["CI", "GITHUB_ACTIONS", "BUILDKITE"])
def test_ci_records_nothing_without_an_explicit_on(user: User, variable):
    """In CI neither notice nor record, even for a user who saw the notice; with an explicit on there is one."""
    user.choose("noticed")

    ended = user.on_terminal("report", **{variable: "true"})
    assert b"reported\n" == ended.out
    assert ["prog", "prog/consent"] == user.kept

    user.prog("report", **{variable: "true", "PROG_TELEMETRY": "on"})
    assert 1 == len(user.runs)


def test_a_test_runner_records_nothing_without_an_explicit_on(user: User):
    """A program that somebody's tests start records nothing, though its user saw the notice."""
    user.choose("noticed")

    user.prog("report", PYTEST_CURRENT_TEST="test_x.py::test_y (call)")

    assert ["prog", "prog/consent"] == user.kept


def test_a_choice_that_cannot_be_read_is_an_off(user: User):
    """What was stored may have been an off."""
    user.folder.mkdir()
    (user.folder / "consent").write_bytes(b"\xff\xfe garbage")

    user.prog("report", PROG_TELEMETRY="on")

    assert ["prog", "prog/consent"] == user.kept


@pytest.mark.parametrize(("consent", "choice"), [("opt-in", ""), ("ask", "asked"), ("opt-out", "")])
def test_an_agreement_that_was_withdrawn_meanwhile_counts(user: User, sink: Sink, consent: str, choice: str):
    """A sender that wakes to find no agreement any more sends nothing, whatever was agreed when it was started."""
    user.choose("on")
    user.sends(sink, "report", T_CONSENT=consent, OTEL_USAGE_SEND_DELAY_S="1.5")
    until(lambda: senders(user))

    user.choose(choice) if choice else (user.folder / "consent").unlink()
    settled(user)

    assert [] == sink.told


def test_nothing_begun_before_since_is_sent(user: User, sink: Sink):
    """A run recorded before the user said on is dropped, and counted as ``consent``."""
    user.prog("report", PROG_TELEMETRY="on")
    (early,) = user.runs
    (user.folder / "consent").write_text(f"on {early.start_ns // 10**9 + 1} 1\n")
    later = (early.start_ns // 10**9 + 1) - early.start_ns / 1e9

    user.sends(sink, "report", OTEL_USAGE_SEND_DELAY_S=str(round(later + 0.2, 2)), PROG_TELEMETRY="on")
    settled(user)

    assert early.ids[1] not in sink.ids()
    assert any(name == ("usage.dropped", "consent") for name in sink.points())
