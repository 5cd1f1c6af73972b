"""A typer program. ``do SOURCE`` ends as SOURCE says."""

import sys

import otel_usage
import typer

otel_usage.init("prog", version="1.4", consent="opt-in")
app = typer.Typer()
report = typer.Typer()
app.add_typer(report, name="report")


@app.callback()
def root(verbose: bool = False):
    pass


@app.command()
def do(ctx: typer.Context, ending: str, to: str = "", number: int = 3):
    exec(ending, {**globals(), "ctx": ctx})


@report.command("upload")
def upload(file: list[str] = typer.Argument(None), format: str = "pdf"):
    pass


if __name__ == "__main__":
    app(prog_name="prog")
