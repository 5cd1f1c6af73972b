"""Mount the ``telemetry`` commands into a host's own command line.

A host that calls `otel_usage.mount` loads this module at every start. What the commands do lies in `commands`, which is
loaded only when one of them runs.
"""

import sys

from .. import _usage
from .program_handle import program_handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

COMMANDS_HELP = "see and decide what this program tells its maintainers"


def mount(parent: "Any", name: str = "telemetry") -> None:
    """Add ``mycli telemetry status|on|off|local|schema|preview|history|reset-id|forget`` to a program, in one line.

    ::

        subparsers = parser.add_subparsers()
        otel_usage.mount(subparsers)

    parent: what ``add_subparsers()`` returned (argparse), a ``click.Group``, or a ``typer.Typer``.
    name: the word that users type. The commands need no code of the host's to be dispatched; they end the program, with
    exit code 0 (done), 1 (it could not be done) or 2 (wrong usage), and are never recorded.
    A Typer with one command of its own becomes one with two, whose users then type the command's name.
    Raises TypeError for any other *parent*.
    """
    program_handle().settings["mounted"] = name  # for the page that tells users what to type
    # By name, not by isinstance: no framework is imported that the host does not use.
    classes = [f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in type(parent).__mro__]
    if "argparse._SubParsersAction" in classes:
        _mount_in_argparse(parent, name)
    elif "typer.Typer" in classes:
        _mount_in_typer(parent, name)
    elif "click.Group" in classes:
        _mount_in_click(parent, name)
    else:
        raise TypeError(f"{parent!r} is not what add_subparsers() returned, a click.Group or a typer.Typer")


def _run_command(prog: str, words: "Sequence[str]") -> int:
    """Run what the user typed behind *prog*, ``mycli telemetry``, and return the exit code."""
    if "retired" in _usage.settings:  # scripts that say `telemetry off` go on working
        sys.stdout.write(f"{_usage.settings['retired']} records nothing any more, and nothing is kept here\n")
        return 0
    from .commands import run_mounted

    return run_mounted(prog, words)


def _mount_in_argparse(subparsers: "Any", name: str) -> None:
    """Add a parser that runs our command in place of parsing, and then exits.

    argparse parses sub-commands by calling `parse_known_args` of their parsers. A parser's class is chosen by the
    action that ``add_subparsers()`` returned: it is ours for as long as this one parser is made.
    """
    from argparse import ArgumentParser

    class TelemetryParser(ArgumentParser):
        def parse_known_args(self, args: "Any" = None, namespace: "Any" = None) -> "Any":  # noqa: ARG002  its shape
            self.exit(_run_command(self.prog, list(args or ())))

    parser_class, subparsers._parser_class = subparsers._parser_class, TelemetryParser
    try:
        subparsers.add_parser(name, help=COMMANDS_HELP, add_help=False)
    finally:
        subparsers._parser_class = parser_class


# For click and Typer: every word is passed on as it is. The verbs have one parser, whatever the host's is.
_PASS_WORDS_ON = {
    "ignore_unknown_options": True,
    "allow_extra_args": True,
    "allow_interspersed_args": False,
    "help_option_names": [],
}


def _mount_in_click(group: "Any", name: str) -> None:
    import click

    def telemetry(words: "tuple[str, ...]") -> None:
        context = click.get_current_context()
        context.exit(_run_command(context.command_path, words))

    words = click.Argument(["words"], nargs=-1, type=click.UNPROCESSED, metavar="COMMAND")
    command = click.Command(
        name,
        callback=telemetry,
        params=[words],
        help=COMMANDS_HELP,
        context_settings=dict(_PASS_WORDS_ON),
        add_help_option=False,
    )
    group.add_command(command)


def _mount_in_typer(app: "Any", name: str) -> None:
    import typer

    def telemetry(context: typer.Context) -> None:
        raise typer.Exit(_run_command(context.command_path, context.args))

    # Typer reads the annotations, and looks names in them up in this module, which has no typer: give it the class.
    telemetry.__annotations__ = {"context": typer.Context, "return": None}
    app.command(name, help=COMMANDS_HELP, context_settings=dict(_PASS_WORDS_ON), add_help_option=False)(telemetry)
