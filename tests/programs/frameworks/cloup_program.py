"""A command with an alias."""

import sys
import cloup

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")


@cloup.group()
def cli():
    pass


@cli.command(aliases=["i"])
@cloup.option("--n")
def install(n):
    pass


cli()
