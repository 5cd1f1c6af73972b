"""Commands in a group, with options from annotations."""

import sys
from cyclopts import App

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")
app = App(version="1")
db = App(name="db")
app.command(db)


@app.default
def main(*, verbose: bool = False):
    pass


@db.command
def migrate(target: str, *, dry_run: bool = False, level: int = 1):
    sys.exit(level)


@app.command(name=["fetch", "get"])
def fetch(url: str = "x"):
    raise ValueError


app()
