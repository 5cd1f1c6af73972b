"""Under `captured` a test sees the runs of its program, and what plugins record."""

import argparse
import copy
import pickle
from collections.abc import Iterator

import click
import pytest
import typer
from click.testing import CliRunner
from typer.testing import CliRunner as TyperRunner

import otel_usage
from otel_usage.testing import captured

SCHEMA = {"did": {"why": "x", "fields": {"to": ["a"]}}, "n": {"kind": "count", "why": "x"}}


@pytest.fixture(autouse=True)
def apps() -> Iterator[None]:
    """The test's program is ``prog``; ``guest`` is a plugin."""
    before, handles = vars(otel_usage._usage).copy(), dict(otel_usage._handles)
    vars(otel_usage._usage).clear()
    otel_usage._usage.__init__()
    otel_usage._handles.clear()
    for app in ("prog", "guest"):
        otel_usage.init(app, version="1", consent="opt-in", schema=SCHEMA)
    yield
    vars(otel_usage._usage).clear()
    vars(otel_usage._usage).update(before)
    otel_usage._handles.clear()
    otel_usage._handles.update(handles)


@click.group()
@click.option("--verbose", is_flag=True)
def cli(verbose):
    """A program."""


@cli.command("list")
@click.option("--all", "everything", is_flag=True)
def list_(everything):
    otel_usage.action("did", to="a")


@cli.command()
def fail():
    raise click.ClickException("no")


def runs(events):
    return [(run.name, run.fields["options"], run.fields["outcome"]) for run in events.runs]


def test_runs_of_click(recwarn):
    """Each invocation is a run, with its command, options and outcome; click is as it was afterwards."""
    before = click.core.push_context, click.core.pop_context
    with captured() as events:
        for words in (["list"], ["--verbose", "list", "--all"], ["fail"], ["--help"], ["none"], ["list"]):
            CliRunner().invoke(cli, words)

    assert [
        ("list", [], "success"),
        ("list", ["--verbose", "--all"], "success"),
        ("fail", [], "failure"),
        ("(root)", ["--help"], "help"),
        ("(root)", [], "usage_error"),
        ("list", [], "success"),
    ] == runs(events)
    assert ["did"] * 3 == [event.name for event in events]
    assert before == (click.core.push_context, click.core.pop_context)
    assert [] == list(recwarn)


def test_runs_of_typer():
    """The same with typer, which may bring a click of its own."""
    app = typer.Typer()
    app.command("list")(lambda: None)
    app.command("other")(lambda: None)
    with captured() as events:
        TyperRunner().invoke(app, ["list"])
        TyperRunner().invoke(app, ["other"])

    assert [("list", [], "success"), ("other", [], "success")] == runs(events)


def test_runs_of_argparse(capsys):
    """Each call of ``parse_args`` is a run."""
    parser = argparse.ArgumentParser("prog")
    parser.add_argument("--verbose", action="store_true")
    parser.add_subparsers().add_parser("list").add_argument("--all", action="store_true")
    before = dict(vars(argparse.ArgumentParser))
    with captured() as events:
        for words in (["list"], ["--verbose", "list", "--all"], ["--none"], ["--help"], []):
            try:
                parser.parse_args(words)
            except SystemExit:
                pass

    assert [
        ("list", [], "success"),
        ("list", ["--verbose", "--all"], "success"),
        ("(root)", [], "usage_error"),
        ("(root)", ["--help"], "help"),
        ("(root)", [], "success"),
    ] == runs(events)
    assert before == dict(vars(argparse.ArgumentParser))
    assert "usage" in capsys.readouterr().out


def test_what_a_plugin_records():
    """It has a handle of its own; the functions of the module are the program's."""
    program, guest = otel_usage._handles["prog"], otel_usage._handles["guest"]
    with captured("guest") as of_guest, captured() as events:
        guest.count("n")
        otel_usage.count("n", 2)

    assert program is otel_usage._usage is not guest
    assert [1] == [event.n for event in of_guest]
    assert [2] == [event.n for event in events]
    with pytest.raises(LookupError), captured("nobody"):
        pass


def test_copies_under_captured():
    """Copies of what is captured are the same, as outside."""
    with captured() as events, otel_usage.action("did") as did:
        copy.deepcopy([did, did.set, otel_usage._usage])[0].set(to="a")
        assert otel_usage._usage is pickle.loads(pickle.dumps(otel_usage._usage))
        pickle.dumps(did)

    assert [{"to": "a"}] == [event.fields for event in events]
