"""A click program as they are: a group in a group, a few options, one line of output."""

import click


@click.group()
@click.option("--verbose", is_flag=True)
def cli(verbose):
    """Make and upload reports."""


@cli.group()
def report():
    """Work on reports."""


@report.command()
@click.option("--format", "kind", type=click.Choice(["pdf", "html"]), default="pdf")
@click.option("--retries", type=int, default=3)
@click.argument("name")
def upload(kind, retries, name):
    """Upload one report."""
    click.echo(f"uploaded {name} as {kind}")
