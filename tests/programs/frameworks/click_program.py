"""One sub-command."""

import click

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")


@click.group()
def cli():
    pass


@cli.command()
@click.option("--n", type=int)
@click.pass_context
def go(ctx, n):
    ctx.exit(n)


cli()
