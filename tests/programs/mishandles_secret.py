"""A program that does with a secret whatever a careless one might."""

import os
import sys

import otel_usage

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from mishandles_secret_schema import SCHEMA

S = os.environ["T_SECRET"]
OUTCOME = os.environ["T_OUTCOME"]
usage = otel_usage.init(
    "careless", version="1.0", consent="opt-in", schema=SCHEMA, destinations={"otlp": os.environ["T_SINK"]}
)


def work():
    usage.action("did", format="pdf", many=3)
    usage.count("n", format="pdf")
    if OUTCOME == "exception":
        raise ValueError(S)
    if OUTCOME == "note":
        raised = OSError(2, S, S)
        raised.__notes__ = [S]
        raise raised from KeyError(S)
    if OUTCOME == "exit text":
        sys.exit(S)
    if OUTCOME == "exit code":
        sys.exit(3)
    if OUTCOME == "interrupted":
        raise KeyboardInterrupt(S)
    if OUTCOME == "gone":
        os._exit(0)
    if OUTCOME == "made class":
        raise type(S, (Exception,), {"__module__": S})(S)
    if OUTCOME == "framework error" and "click" in sys.modules:
        raise sys.modules["click"].UsageError(S)
    if OUTCOME == "fields":
        usage.action("did", format=S, size=S, flag=S, many=S, of=S, **{S: S})
        usage.count("n", format=S)
        usage.count("n", **{"other": S})
        usage.error("bad", message=S)
        usage.heartbeat("alive", many=S)
    if OUTCOME == "names":
        usage.action(S, x=S)
        usage.count(S)
        usage.error(S)
        usage.heartbeat(S)
        usage.command(S)
    if OUTCOME == "later fields":
        with usage.action("did") as action:
            action.set(format=S, other=S)
            raise RuntimeError(S)


def by_argparse():
    import argparse

    parser = argparse.ArgumentParser("careless")
    parser.add_argument("--password")
    report = parser.add_subparsers().add_parser("report")
    report.add_argument("--to")
    report.add_argument("--level", type=int)
    report.add_argument("file", nargs="?")
    parser.parse_args()
    if OUTCOME == "framework error":
        parser.error(S)
    work()


def by_click():
    import click

    @click.group()
    @click.option("--password", envvar="CARELESS_PASSWORD")
    def cli(password):
        pass

    @cli.command("report")
    @click.option("--to")
    @click.option("--level", type=int)
    @click.argument("file", required=False)
    def report(to, level, file):
        work()

    cli()


def by_typer():
    import typer

    app = typer.Typer(pretty_exceptions_enable=False)

    @app.callback()
    def cli(password: str = typer.Option("", envvar="CARELESS_PASSWORD")):
        pass

    @app.command("report")
    def report(file: str = typer.Argument(""), to: str = "", level: int = 0):
        work()

    app()


def by_nothing():
    with usage.command(sys.argv[1] if len(sys.argv) > 1 else "x"):
        work()


{"argparse": by_argparse, "click": by_click, "typer": by_typer, "none": by_nothing}[os.environ["T_FRAMEWORK"]]()
