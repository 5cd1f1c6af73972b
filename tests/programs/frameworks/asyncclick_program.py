"""A group of coroutines."""

import sys
import asyncclick as click

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")


@click.group()
@click.option("--debug", is_flag=True)
async def cli(debug):
    pass


@cli.command()
@click.option("--n")
async def sync(n):
    sys.exit(9)


cli()
