"""Units of length and weight: a typer program."""

from enum import Enum

import typer

import otel_usage

usage = otel_usage.init(
    "units",
    version="1.0.0",
    consent="opt-out",
    about="https://units.example.org/telemetry",
    schema={
        "converted": {"why": "which units to add next", "fields": {"kind": ["length", "weight"]}},
        "units.incompatible": {"kind": "error", "why": "do people expect more than we can do?"},
    },
)
app = typer.Typer(help="Units of length and weight.", no_args_is_help=True)
table = typer.Typer(help="What is known.")
app.add_typer(table, name="table")
otel_usage.mount(app)  # units telemetry status, off, …

LENGTH = {"m": 1.0, "km": 1000.0, "mi": 1609.344, "ft": 0.3048}
WEIGHT = {"kg": 1.0, "g": 0.001, "lb": 0.45359237}
Unit = Enum("Unit", {name: name for name in [*LENGTH, *WEIGHT]})  # type: ignore[misc]


@app.command()
def convert(amount: float, source: Unit, target: Unit, digits: int = typer.Option(3, help="after the point")) -> None:
    """Convert AMOUNT from one unit into another."""
    for kind, known in (("length", LENGTH), ("weight", WEIGHT)):
        if source.value in known and target.value in known:
            typer.echo(f"{amount * known[source.value] / known[target.value]:.{digits}f} {target.value}")
            usage.action("converted", kind=kind)
            return
    usage.error("units.incompatible")
    typer.echo(f"{source.value} can't become {target.value}", err=True)
    raise typer.Exit(3)


@table.command("list")
def list_() -> None:
    """Print the known units."""
    typer.echo(" ".join([*LENGTH, *WEIGHT]))


if __name__ == "__main__":
    app()
