"""A click program. ``do SOURCE`` ends as SOURCE says."""

import sys

import click
import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")


@click.group()
@click.version_option("1.4")
@click.option("--verbose", "-v", is_flag=True)
def cli(verbose):
    pass


@cli.command()
@click.option("--to", "-t")
@click.option("--number", type=int, default=3)
@click.argument("ending")
@click.pass_context
def do(ctx, to, number, ending):
    exec(ending, {**globals(), "ctx": ctx})


@cli.group()
def report():
    pass


@report.command("upload")
@click.option("--format", "-f", type=click.Choice(["pdf", "html"]))
@click.argument("file", nargs=-1)
def upload(format, file):
    pass


if __name__ == "__main__":
    cli(prog_name="prog")
