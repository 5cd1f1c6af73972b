"""A program with every switch there is; the framework it uses is its first setting."""

import os
import sys

import otel_usage

setting = os.environ.get
usage = otel_usage.init(
    "prog",
    version="1.0",
    consent=setting("T_CONSENT", "opt-out"),
    policy=int(setting("T_POLICY", "1")),
    service=bool(setting("T_SERVICE")),
    about="https://prog.example.org/telemetry",
    destinations={"otlp": setting("T_SINK")} if setting("T_SINK") else None,
    schema={
        "report.upload": {
            "why": "is uploading worth keeping?",
            "fields": {"format": ["pdf", "html"], "size": otel_usage.bucket("MB", 1, 10), "again": bool},
        },
        "lines": {"kind": "count", "why": "how long reports are", "fields": {"most": otel_usage.integer(10)}},
        **({"newly.seen": {"why": "what is new"}} if setting("T_POLICY") == "2" else {}),
    },
)


def report():
    usage.action("report.upload", format="pdf", size=3, again=True)
    usage.count("lines", 3, most=4)
    print("reported")


def by_argparse():
    import argparse

    parser = argparse.ArgumentParser("prog")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("report").add_argument("--to")
    otel_usage.mount(commands)
    if setting("T_SHOW"):
        otel_usage.show_flag(parser)
    if parser.parse_args().command == "report":
        report()


def by_click():
    import click

    @click.group()
    def cli():
        pass

    @cli.command("report")
    @click.option("--to")
    def _report(to):
        report()

    otel_usage.mount(cli)
    if setting("T_SHOW"):
        otel_usage.show_flag(cli)
    cli()


def by_typer():
    import typer

    app = typer.Typer()

    @app.command("report")
    def _report(to: str = ""):
        report()

    otel_usage.mount(app)
    app()


{"argparse": by_argparse, "click": by_click, "typer": by_typer}[setting("T_FRAMEWORK", "argparse")]()
