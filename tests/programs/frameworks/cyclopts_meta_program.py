"""Commands below a meta app, which takes the options that are common to all."""

import sys
from typing import Annotated

from cyclopts import App, Parameter

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")
app = App(version="1")
sub = app.command(App(name="db"))


@app.command
def go(n: int = 0):
    sys.exit(3)


@sub.command
def migrate(where: str, *, dry_run: bool = False):
    pass


@app.meta.default
def main(*words: Annotated[str, Parameter(allow_leading_hyphen=True)], backend: str = "a"):
    app(words)


app.meta()
