"""The host's flag and defaults: notice, question, service, a new policy, retirement, and log mode."""

from __future__ import annotations

import pytest

from ..hosts import until
from ..users import Sink, User, senders, settled

FRAMEWORKS = ("argparse", "click", "typer")

# -- the host's flag ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("argv", [("--disable-analytics", "report"), ("report", "--disable-analytics", "--to", "x")])
def test_the_flag_switches_one_run_off(user: User, framework, argv):
    """Wherever it stands, the host's parser never sees it, and it beats an on everywhere else."""
    ended = user.prog(*argv, T_FRAMEWORK=framework, PROG_TELEMETRY="on")

    assert (0, b"reported\n", b"") == (ended.status, ended.out, ended.err)
    assert [] == user.kept


def test_the_flag_behind_a_double_dash_is_somebody_elses(user: User):
    """What follows ``--`` is passed on to whoever it is meant for."""
    source = "import sys, otel_usage\nu = otel_usage.init('prog', version='1', consent='opt-in')\n"
    source += "print(sys.argv[1:], u.recording)\n"

    ended = user.run(source, "--", "--disable-analytics", env={"PROG_TELEMETRY": "on"})

    assert b"['--', '--disable-analytics'] True\n" == ended.out


def test_the_flag_has_the_name_the_host_chooses(user: User):
    """``flag="--no-stats"``; with "" there is none, and the default's name is a stranger's."""
    for flag, given, left in (
        ("--no-stats", "--no-stats", "[] False"),
        ("", "--disable-analytics", "['--disable-analytics'] True"),
    ):
        source = f"import sys, otel_usage\nu = otel_usage.init('prog', version='1', consent='opt-in', flag={flag!r})\n"
        ended = user.run(source + "print(sys.argv[1:], u.recording)\n", given, env={"PROG_TELEMETRY": "on"})

        assert left == ended.out.decode().strip()


def test_status_names_the_flag(user: User):
    """``prog --disable-analytics telemetry status`` says who decided."""
    ended = user.prog("--disable-analytics", "telemetry", "status", PROG_TELEMETRY="on")

    assert b"the option --disable-analytics" in ended.out


@pytest.mark.parametrize("framework", ["argparse", "click"])
def test_the_flag_in_the_hosts_help(user: User, framework):
    """`show_flag` lists it in ``--help``, in one line."""
    ended = user.prog("--help", T_FRAMEWORK=framework, T_SHOW="1")

    assert b"--disable-analytics" in ended.out


@pytest.mark.parametrize("more", ["", "@app.command()\ndef stay(): pass\n"], ids=["one command", "a group"])
def test_the_flag_in_the_help_of_a_typer_program(user: User, more: str):
    """`show_flag` takes a Typer too, and the flag goes on being understood."""
    source = (
        "import otel_usage, typer\n"
        "u = otel_usage.init('prog', version='1', consent='opt-in', flag='--disable-analytics')\n"
        "app = typer.Typer()\n"
        "@app.command()\ndef go(x: int = 3): print(x, u.recording)\n" + more + "otel_usage.show_flag(app)\napp()\n"
    )
    words = ["go"] if more else []

    told = user.run(source, "--help", env={"PROG_TELEMETRY": "on"})
    ended = user.run(source, *words, "--x", "4", "--disable-analytics", env={"PROG_TELEMETRY": "on"})

    assert b"--disable-analytics" in told.out
    assert b"4 False\n" == ended.out


SHOWN = {
    "argparse": "import argparse\np = argparse.ArgumentParser()\np.add_argument('--x')\notel_usage.show_flag(p)\n"
    "print(p.parse_args({words}))\n",
    "click": "import click\n@click.command()\n@click.option('--x')\ndef go(x): print('x')\notel_usage.show_flag(go)\n"
    "go({words}, auto_envvar_prefix='PROG')\n",
    "typer": "import typer\napp = typer.Typer()\n@app.command()\ndef go(x: int = 1): print('x')\n"
    "otel_usage.show_flag(app)\napp({words}, auto_envvar_prefix='PROG')\n",
}
INIT = "import sys, otel_usage\nu = otel_usage.init('prog', version='1', consent='opt-in')\n"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_flag_that_is_shown_works_where_argv_is_not_read(user: User, framework: str):
    """A program called with a list of words: the run is recorded without the flag, and not with it."""
    user.run(INIT + SHOWN[framework].replace("{words}", "[]"), env={"PROG_TELEMETRY": "on"})
    assert 1 == len(user.runs)
    user.clear()

    ended = user.run(
        INIT + SHOWN[framework].replace("{words}", "['--disable-analytics']"), env={"PROG_TELEMETRY": "on"}
    )

    assert (0, b"") == (ended.status, ended.err)
    assert b"disable" not in ended.out
    assert [] == user.runs
    assert [] == list((user.spool / "open").iterdir())


def test_the_flag_that_is_shown_works_abbreviated(user: User):
    """Argparse takes ``--disable``: whoever types that means it."""
    source = INIT + SHOWN["argparse"].replace("{words}", "")

    user.run(source, "--disable-ana", env={"PROG_TELEMETRY": "on"})

    assert [] == user.runs


@pytest.mark.parametrize(("flag", "listed"), [("--no-stats", "--no-stats"), ("", "")])
def test_the_flag_that_is_shown_is_the_one_that_init_was_given(user: User, flag: str, listed: str):
    """Renamed or removed: help never lists an option that does nothing."""
    source = f"import argparse, otel_usage\notel_usage.init('prog', version='1', consent='opt-in', flag={flag!r})\n"
    source += "p = argparse.ArgumentParser(add_help=False)\notel_usage.show_flag(p)\nprint(p.format_help())\n"

    shown = user.run(source).out.decode()

    assert listed in shown
    assert "--disable-analytics" not in shown


@pytest.mark.parametrize("framework", ["click", "typer"])
def test_the_flag_that_is_shown_reads_no_variable(user: User, framework: str):
    """``PROG_DISABLE_ANALYTICS`` is ours to read: whatever it says, the program goes on."""
    source = INIT + SHOWN[framework].replace("{words}", "[]")

    ended = user.run(source, env={"PROG_DISABLE_ANALYTICS": "please"})

    assert (0, b"x\n", b"") == (ended.status, ended.out, ended.err)


# -- ask ----------------------------------------------------------------------------------------------------------


def test_the_question_comes_once_and_no_is_the_default(user: User):
    """Enter alone is a no: stored, nothing else kept, and never asked again."""
    first = user.on_terminal("report", typed="\n", T_CONSENT="ask")
    assert b"[y/N]" in first.out
    assert b"https://prog.example.org/telemetry" in first.out
    assert (["prog", "prog/consent"], "off") == (user.kept, user.choice[0])

    second = user.on_terminal("report", T_CONSENT="ask")

    assert b"reported\n" == second.out
    assert ["prog", "prog/consent"] == user.kept


def test_a_yes_counts_from_the_next_run_on(user: User):
    """The run that asked is not recorded; the next one is."""
    user.on_terminal("report", typed="yes\n", T_CONSENT="ask")
    assert ["prog", "prog/consent"] == user.kept

    user.prog("report", T_CONSENT="ask")

    assert 1 == len(user.runs)


@pytest.mark.parametrize(
    ("argv", "env"),
    [
        (("--help",), {}), (("telemetry", "status"), {}), (("report", "-h"), {}), (("report",), {"CI": "1"}),
        (("report",), {"_PROG_COMPLETE": "complete_bash"}), (("report",), {"COMP_LINE": "prog re"}),
        (("report",), {"DO_NOT_TRACK": "1"}), (("report",), {"PROG_TELEMETRY": "local"}),
    ],
)  # fmt: skip
def test_nobody_is_asked_in_passing(user: User, argv, env):
    """Not under help, version or completion, not in CI, and not who has said something already."""
    ended = user.on_terminal(*argv, T_CONSENT="ask", **env)

    assert b"[y/N]" not in ended.out
    assert not (user.folder / "consent").exists()


def test_without_a_terminal_nobody_is_asked(user: User):
    """A pipe is no answer: nothing is asked, stored or recorded."""
    ended = user.prog("report", T_CONSENT="ask")

    assert b"" == ended.err
    assert [] == user.kept


def test_the_attempt_is_stored_before_the_question(user: User):
    """Who closes the terminal instead of answering is not asked again, and nothing is recorded."""
    source = (
        "import os, signal, sys\n"
        "write = sys.stderr.write\n"
        "def killed(text):\n"
        "    write(text)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.stderr.write = killed\n"
        "import otel_usage\notel_usage.init('prog', version='1', consent='ask')\n"
    )
    killed = user.on_terminal(program=source)
    assert -9 == killed.status
    assert "asked" == user.choice[0]

    again = user.on_terminal("report", T_CONSENT="ask")

    assert b"reported\n" == again.out
    assert ["prog", "prog/consent"] == user.kept


def test_ctrl_c_at_the_question_ends_the_program_quietly(user: User):
    """No traceback through our code, the exit code of an interrupted program, and no second question."""
    source = (
        "import os, signal, sys\n"
        "write = sys.stderr.write\n"
        "def interrupted(text):\n"
        "    write(text)\n"
        "    if '[y/N]' in text: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.stderr.write = interrupted\n"
        "import otel_usage\notel_usage.init('prog', version='1', consent='ask')\nprint('went on')\n"
    )

    ended = user.on_terminal(program=source)

    assert 130 == ended.status
    assert b"Traceback" not in ended.out
    assert b"went on" not in ended.out
    assert "asked" == user.choice[0]


# -- notice -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "env"),
    [
        (("--help",), {}), (("--version",), {}), (("report",), {"_PROG_COMPLETE": "complete_bash"}),
        (("report",), {"COMP_LINE": "prog re"}), (("telemetry", "status"), {}), (("usage-data", "off"), {}),
    ],
)  # fmt: skip
def test_the_notice_disturbs_neither_completion_nor_help_nor_a_choice(user: User, argv, env):
    """What is shown there is in the way, or not seen: it comes with the next run that does something."""
    source = "import otel_usage\notel_usage.init('prog', version='1', consent='opt-out')\n"

    passing = user.on_terminal(*argv, program=source, **env)
    told = user.on_terminal("work", program=source)

    assert b"" == passing.out
    assert b"collects usage data from now on" in told.out


# -- service ------------------------------------------------------------------------------------------------------


def test_a_service_says_so_in_one_line_of_its_log(user: User):
    """Without any terminal: recorded by default, one line at start-up, with the switch that stops it."""
    ended = user.prog("report", T_SERVICE="1")

    assert 1 == ended.err.count(b"\n")
    assert b"prog: usage data is on" in ended.err
    assert b"PROG_TELEMETRY=off" in ended.err
    assert 1 == len(user.runs)


@pytest.mark.parametrize("env", [{"PROG_TELEMETRY": "off"}, {"DO_NOT_TRACK": "1"}, {"T_CONSENT": "opt-in"}])
def test_the_operators_environment_decides(user: User, env):
    """Off by the operator, or not switched on where the default is opt-in: silence, and nothing kept."""
    ended = user.prog("report", T_SERVICE="1", **env)

    assert (b"", []) == (ended.err, user.kept)


@pytest.mark.parametrize("stderr", ["open('/dev/full', 'w')", "None", "closed"])
def test_a_service_whose_log_cannot_be_written_records_all_the_same(user: User, stderr):
    """The line at start-up is lost, and nothing else."""
    source = "import sys\n"
    source += "sys.stderr.close()\n" if stderr == "closed" else f"sys.stderr = {stderr}\n"
    source += "import otel_usage\notel_usage.init('prog', version='1', consent='opt-out', service=True)\n"

    user.run(source + "sys.stderr = sys.__stderr__ = None\n")

    assert 1 == len(user.runs)


# -- a new policy -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["noticed", "on"])
def test_a_new_policy_pauses_until_its_notice_was_seen(user: User, sink: Sink, choice):
    """Raised policy: nothing is recorded or sent until a terminal showed what is new; then it goes on by itself."""
    user.choose(choice, since=7)
    user.sends(sink, "report")
    until(lambda: len(sink.ids()) == 2)
    settled(user)
    before = user.kept

    user.sends(sink, "report", T_POLICY="2")
    settled(user)
    assert before == user.kept
    assert 2 == len(sink.ids())

    seen = user.on_terminal("report", T_POLICY="2", T_SINK=sink.address)
    assert b"newly.seen: what is new" in seen.out
    assert b"report.upload" not in seen.out
    assert [choice, "7", "2"] == user.choice
    assert before == user.kept

    (user.spool / "wake").unlink()
    user.sends(sink, "report", T_POLICY="2")
    until(lambda: len(sink.ids()) == 4)
    settled(user)


def test_a_new_policy_where_nothing_was_ever_sent_has_the_whole_notice(user: User):
    """What is new can't be told there: no list without entries."""
    user.choose("on")

    seen = user.on_terminal("report", T_POLICY="2")

    assert b"which commands and options are used" in seen.out
    assert b"New is" not in seen.out
    assert ["on", "1", "2"] == user.choice


def test_what_waits_under_the_old_policy_waits_on(user: User, sink: Sink):
    """A sender that wakes to find the notice of its policy unseen sends nothing of what waits."""
    user.choose("noticed")
    user.sends(sink, "report", OTEL_USAGE_SEND_DELAY_S="1.5")
    until(lambda: senders(user))

    user.choose("noticed", policy=0)
    settled(user)

    assert [] == sink.told
    assert 2 == len(user.spans)


# -- retired ------------------------------------------------------------------------------------------------------


def test_a_retired_host_accepts_flag_and_variables_and_cleans_up(user: User, sink: Sink):
    """Flag and variables are no-ops that harm nobody; records, id, ledger and choice of earlier versions are gone."""
    user.choose("on")
    user.sends(sink, "report")
    until(lambda: sink.ids())
    settled(user)
    assert (user.folder / "id").exists()

    ended = user.run("gone.py", "work", "--disable-analytics", env={"PROG_TELEMETRY": "on"})

    assert (0, b"did work\n", b"") == (ended.status, ended.out, ended.err)
    assert not user.folder.exists()
    assert [] == senders(user)


def test_retired_may_be_asked_for_twice(user: User):
    """It stays a function: the module behind it has another name."""
    ended = user.run("import otel_usage\nhasattr(otel_usage, 'retired')\notel_usage.retired('prog')\n")

    assert (0, b"") == (ended.status, ended.err)


def test_the_commands_of_a_retired_host_are_no_ops(user: User):
    """Users' scripts that say ``prog telemetry off`` go on working."""
    source = (
        "import argparse, otel_usage\notel_usage.retired('prog')\nparser = argparse.ArgumentParser('prog')\n"
        "otel_usage.mount(parser.add_subparsers())\nparser.parse_args()\n"
    )

    ended = user.run(source, "telemetry", "off")

    assert (0, b"prog records nothing any more, and nothing is kept here\n", b"") == (
        ended.status,
        ended.out,
        ended.err,
    )
    assert [] == user.kept


# -- log mode -----------------------------------------------------------------------------------------------------


def test_log_mode_prints_what_would_be_sent_and_sends_nothing(user: User, sink: Sink):
    """The exact payload on stderr, through gate and translators; nothing sent, nothing kept."""
    ended = user.prog("report", PROG_TELEMETRY="log", T_SINK=sink.address)

    assert b"reported\n" == ended.out
    for word in (b"Nothing was.", b"report.upload", b"usage.count.lines", b"app.installation.id"):
        assert word in ended.err
    assert ([], []) == (sink.told, user.kept)


def test_log_mode_shows_the_id_that_is_kept(user: User, sink: Sink):
    """An installation that has an id would send that one; printing makes none, and changes nothing that is kept."""
    user.choose("on")
    user.sends(sink, "report")
    until(lambda: len(sink.ids()) == 2)
    settled(user)
    kept, already = (user.folder / "id").read_text().split()[0], len(sink.told)
    before = {path: (user.home / path).stat().st_mtime_ns for path in user.kept}

    ended = user.prog("report", PROG_TELEMETRY="log", T_SINK=sink.address)

    assert kept.encode() in ended.err
    assert b"00000000-0000" not in ended.err
    assert before == {path: (user.home / path).stat().st_mtime_ns for path in user.kept}
    assert already == len(sink.told)


def test_log_mode_does_not_hold_up_a_program_that_goes_on(user: User, sink: Sink):
    """What is handed over meanwhile is printed by and by, by nobody that the program's own wait() could meet."""
    source = (
        "import os, sys, otel_usage\n"
        "u = otel_usage.init('prog', version='1', consent='opt-in', schema={'lines': {'kind': 'count', 'why': 'x'}},\n"
        f"    destinations={{'otlp': {sink.address!r}}})\n"
        "u.count('lines')\nu.flush()\nos.write(2, b'went on\\n')\n"
        "try: print(os.wait())\nexcept ChildProcessError: print('no child')\n"
    )

    ended = user.run(source, env={"PROG_TELEMETRY": "log"})

    assert b"no child\n" == ended.out
    assert ended.err.startswith(b"went on\n")
    assert 2 == ended.err.count(b"Nothing was.")
    assert b"usage.count.lines" in ended.err
    assert [] == sink.told


def test_log_mode_names_a_wrong_setting_once(user: User):
    """Neither the exporter nor the sender says it again."""
    source = "import otel_usage\notel_usage.init('prog', version='1', consent='opt-in', "
    source += "destinations={'ga4': {'measurement_id': 'nonsense', 'api_secret': 'x'}})\n"

    ended = user.run(source, env={"PROG_TELEMETRY": "log"})

    assert 1 == ended.err.count(b"measurement_id")


def test_log_mode_prints_none_without_a_destination(user: User):
    """Where nothing would be sent, it says so."""
    ended = user.prog("report", PROG_TELEMETRY="log")

    assert b"none\n" in ended.err


@pytest.mark.parametrize("env", [{"DO_NOT_TRACK": "1"}, {"OTEL_SDK_DISABLED": "true"}, {"PROG_DISABLE_ANALYTICS": "1"}])
def test_log_mode_under_an_off_prints_none(user: User, sink: Sink, env):
    """An explicit off beats log: one line says "none" and why; nothing is loaded, started or kept."""
    ended = user.prog("report", PROG_TELEMETRY="log", T_SINK=sink.address, **env)

    assert f"prog telemetry, log mode: none, because {next(iter(env))} says off\n".encode() == ended.err
    assert ([], []) == (sink.told, user.kept)


def test_log_mode_under_a_stored_off_prints_none(user: User):
    """So does the user's own stored off."""
    user.choose("off")

    ended = user.prog("report", PROG_TELEMETRY="log")

    assert b"log mode: none" in ended.err
    assert ["prog", "prog/consent"] == user.kept
