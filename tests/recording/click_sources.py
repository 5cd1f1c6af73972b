"""Click programs as source text, and what is recorded of a run of one."""

from ..hosts import Host

INIT = 'import otel_usage; otel_usage.init("prog", version="1.4", consent="opt-in")\n'
TREE = """
import click, sys

@click.group()
@click.option("--verbose", "-v", count=True)
@click.option("-q")
@click.version_option("1.4")
def cli(verbose, q):
    pass

@cli.group("report")
@click.option("--dry-run/--no-dry-run", "-n/-N")
def report(dry_run):
    pass

@report.command("upload")
@click.option("--to", "-t", envvar="PROG_TO")
@click.option("--colour", "--color", "colour")
@click.option("--level", default=3, prompt=False)
@click.argument("file", nargs=-1)
def upload(**given):
    pass

@cli.command("other")
def other():
    pass
"""


def record(host: Host, source: str, *argv: str, first: str = INIT, **options):
    """Run *source* and return (command, options, outcome)."""
    ended = host.run(first + source, *argv, **options)
    assert b"Traceback" not in ended.err, ended.err.decode()
    run = host.the_run
    return run.command, run.options, run.attributes["usage.outcome"]
