"""A group with many options of the library's."""

import sys
from click_extra import group, option

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")


@group
def cli():
    pass


@cli.command
@option("--n")
def install(n):
    pass


cli()
