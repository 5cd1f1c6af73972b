"""A group with a default command."""

import sys
import click
from click_default_group import DefaultGroup

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")


@click.group(cls=DefaultGroup, default="foo", default_if_no_args=True)
def cli():
    pass


@cli.command()
@click.argument("x", required=False)
@click.option("--n")
def foo(x, n):
    pass


@cli.command()
def bar():
    pass


cli()
