"""A list of things to do, in a text file: a click program."""

from pathlib import Path

import click

import otel_usage

usage = otel_usage.init(
    "todo",
    version="0.9.3",
    consent="opt-out",
    about="https://todo.example.org/telemetry",
    schema={
        "list.printed": {"why": "how long do lists get?", "fields": {"items": otel_usage.bucket("items", 1, 10, 100)}},
        "items.touched": {
            "kind": "count",
            "why": "are things finished, or only added?",
            "fields": {"how": ["added", "done"]},
        },
    },
)


@click.group()
@click.option("--file", type=click.Path(path_type=Path), default=Path("todo.txt"), help="where the list is kept")
@click.pass_context
def todo(ctx: click.Context, file: Path) -> None:
    """A list of things to do, in a text file."""
    ctx.obj = file


otel_usage.mount(todo)  # todo telemetry status, off, …


def read(file: Path) -> list[str]:
    """Return the list."""
    return file.read_text().splitlines() if file.exists() else []


@todo.command()
@click.argument("what", nargs=-1, required=True)
@click.option("--first", is_flag=True, help="put it on top")
@click.pass_obj
def add(file: Path, what: tuple[str, ...], first: bool) -> None:
    """Add something to do."""
    items = read(file)
    items.insert(0 if first else len(items), " ".join(what))
    file.write_text("\n".join(items) + "\n")
    usage.count("items.touched", how="added")


@todo.command()
@click.argument("number", type=int)
@click.pass_obj
def done(file: Path, number: int) -> None:
    """Take something off the list."""
    items = read(file)
    if not 0 < number <= len(items):
        raise click.ClickException(f"there is no number {number}")
    click.echo(f"done: {items.pop(number - 1)}")
    file.write_text("".join(item + "\n" for item in items))
    usage.count("items.touched", how="done")


@todo.command("list")
@click.pass_obj
def list_(file: Path) -> None:
    """Print the list."""
    items = read(file)
    for number, item in enumerate(items, 1):
        click.echo(f"{number:3}  {item}")
    usage.action("list.printed", items=len(items))


if __name__ == "__main__":
    todo()
