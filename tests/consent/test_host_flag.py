"""The host's own flag, as ``--no-telemetry``: it switches one run off, and is in the host's help."""

from __future__ import annotations

import pytest

from ..users import User

FRAMEWORKS = ("argparse", "click", "typer")


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
