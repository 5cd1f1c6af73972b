"""Mount the ``telemetry`` commands into a host's own command line.

Ring 1 (background), in the host's process: loaded by a host that calls `otel_usage.mount`. What the commands do is
loaded only when one runs.
"""

import sys

from . import _usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

HELP = "see and decide what this program tells its maintainers"


def mount(parent: "Any", name: str = "telemetry") -> None:
    """Add ``mycli telemetry status|on|off|local|schema|preview|history|reset-id|forget`` to a program, in one line.

    parent: what ``add_subparsers()`` returned (argparse), a ``click.Group``, or a ``typer.Typer``.
    name: the word that users type. The commands need no code of the host's to be dispatched; they end the program, with
    exit code 0 (done), 1 (it could not be done) or 2 (wrong usage), and are never recorded.
    A Typer with one command of its own becomes one with two, whose users then type the command's name.
    Raises TypeError for any other *parent*.
    """
    _usage.settings["mounted"] = name  # for the page that tells users what to type
    kinds = [f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(parent).__mro__]
    if "argparse._SubParsersAction" in kinds:
        _argparse(parent, name)
    elif "typer.Typer" in kinds:
        _typer(parent, name)
    elif "click.Group" in kinds:
        _click(parent, name)
    else:
        raise TypeError(f"{parent!r} is not what add_subparsers() returned, a click.Group or a typer.Typer")


def _run(prog: str, words: "Sequence[str]") -> int:
    if "retired" in _usage.settings:  # scripts that say `telemetry off` go on working
        sys.stdout.write(f"{_usage.settings['retired']} records nothing any more, and nothing is kept here\n")
        return 0
    from .cli.telemetry import mounted

    return mounted(prog, words)


def _argparse(parent: "Any", name: str) -> None:
    from argparse import ArgumentParser

    class Telemetry(ArgumentParser):
        def parse_known_args(self, args: "Any" = None, namespace: "Any" = None) -> "Any":  # noqa: ARG002  its shape
            self.exit(_run(self.prog, list(args or ())))

    plain, parent._parser_class = parent._parser_class, Telemetry
    try:
        parent.add_parser(name, help=HELP, add_help=False)
    finally:
        parent._parser_class = plain


# Words are passed on as they are: the commands have one parser, whatever the host's is.
_ANY = {
    "ignore_unknown_options": True,
    "allow_extra_args": True,
    "allow_interspersed_args": False,
    "help_option_names": [],
}


def _click(parent: "Any", name: str) -> None:
    import click

    def telemetry(words: "tuple[str, ...]") -> None:
        context = click.get_current_context()
        context.exit(_run(context.command_path, words))

    words = click.Argument(["words"], nargs=-1, type=click.UNPROCESSED, metavar="COMMAND")
    command = click.Command(
        name, callback=telemetry, params=[words], help=HELP, context_settings=dict(_ANY), add_help_option=False
    )
    parent.add_command(command)


def _typer(parent: "Any", name: str) -> None:
    import typer

    def telemetry(context: typer.Context) -> None:
        raise typer.Exit(_run(context.command_path, context.args))

    # typer looks at this, and the module's names hold no typer.
    telemetry.__annotations__ = {"context": typer.Context, "return": None}
    parent.command(name, help=HELP, context_settings=dict(_ANY), add_help_option=False)(telemetry)


def show_flag(parser: "Any", flag: str = "") -> None:
    """List the flag that `init` understands in the program's ``--help``.

    parser: an ArgumentParser, a click command, or a Typer whose commands are declared already. Declared, the flag also
    works where `init` does not see it: abbreviated, or in a list of words that a program is called with.
    flag: needed only before `init`, whose own it is otherwise. Does nothing where a program has none (``flag=""``).
    """
    flag = flag or _usage.settings.get("flag", "--disable-analytics")
    if not flag:
        return
    if "argparse" in sys.modules and isinstance(parser, sys.modules["argparse"].ArgumentParser):
        _show_in_argparse(parser, flag)
    elif hasattr(parser, "registered_commands"):
        _show_in_typer(parser, flag)
    else:
        import click

        if not isinstance(parser, click.Command):
            raise TypeError(f"{parser!r} is not an ArgumentParser, a click command or a Typer")
        parser.params.append(
            click.Option(
                [flag], is_flag=True, expose_value=False, help=_SHOWN, callback=_given, allow_from_autoenv=False
            )
        )


_SHOWN = "send and record no usage data in this run"


def _given(context: "Any" = None, parameter: "Any" = None, value: "Any" = True) -> None:  # noqa: ARG001  click's shape
    """Leave nothing of this run, if the flag was given."""
    if value:
        from .forget import forget

        forget()


def _show_in_argparse(parser: "Any", flag: str) -> None:
    from argparse import SUPPRESS, Action

    class Given(Action):
        def __call__(self, *_: object) -> None:
            _given()

    parser.add_argument(flag, action=Given, nargs=0, help=_SHOWN, dest=SUPPRESS, default=SUPPRESS)


def _show_in_typer(app: "Any", flag: str) -> None:
    """Have the outermost command of a Typer list *flag*. Typer makes its commands when it is called: by our class."""
    import copy

    from typer.core import TyperCommand, TyperGroup

    def listing(base: "Any") -> "Any":
        class Listing(base):  # type: ignore[misc]
            def get_params(self, ctx: "Any") -> "Any":
                shown = self.get_help_option(ctx)
                if shown is None:
                    return super().get_params(ctx)
                option = copy.copy(shown)  # whichever click it is: an option of its own kind
                option.opts, option.name, option.help = [flag], "_otel_usage_flag", _SHOWN
                option.callback, option.is_eager, option.allow_from_autoenv = _given, False, False
                return [*super().get_params(ctx), option]

        return Listing

    one = len(app.registered_commands) == 1 and not app.registered_groups and app.registered_callback is None
    told = app.registered_commands[0] if one else app.info
    base = getattr(told.cls, "value", told.cls)  # typer wraps what was not given
    told.cls = listing(base or (TyperCommand if one else TyperGroup))
