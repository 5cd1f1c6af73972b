"""List the flag that `init` understands, ``--disable-analytics``, in the host's ``--help``.

`init` looks for the flag in ``sys.argv`` by itself and takes it out, so that a host need not declare it. Declared, it is
listed, and it works where `init` does not see it: abbreviated, or in a list of words that a program is called with.
"""

import sys

from .. import _usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FLAG_HELP = "send and record no usage data in this run"


def show_flag(parser: "Any", flag: str = "") -> None:
    """List the flag that `init` understands in the program's ``--help``.

    ::

        parser = argparse.ArgumentParser()
        otel_usage.show_flag(parser)

    parser: an ArgumentParser, a click command, or a Typer whose commands are declared already. Declared, the flag also
    works where `init` does not see it: abbreviated, or in a list of words that a program is called with.
    flag: needed only before `init`, whose own it is otherwise. Does nothing where a program has none (``flag=""``).
    Raises TypeError for any other *parser*.
    """
    flag = flag or _usage.settings.get("flag", "--disable-analytics")
    if not flag:
        return
    if "argparse" in sys.modules and isinstance(parser, sys.modules["argparse"].ArgumentParser):
        _add_to_argparse(parser, flag)
    elif hasattr(parser, "registered_commands"):
        _add_to_typer(parser, flag)
    else:
        _add_to_click(parser, flag)


def _leave_nothing(context: "Any" = None, parameter: "Any" = None, value: "Any" = True) -> None:  # noqa: ARG001  click's shape
    """Leave nothing of this run, if the flag was typed. value: whether it was; click calls this in any case."""
    if value:
        from ..recording.forget import forget

        forget()


def _add_to_argparse(parser: "Any", flag: str) -> None:
    from argparse import SUPPRESS, Action

    class FlagAction(Action):
        def __call__(self, *_: object) -> None:
            _leave_nothing()

    parser.add_argument(flag, action=FlagAction, nargs=0, help=FLAG_HELP, dest=SUPPRESS, default=SUPPRESS)


def _add_to_click(command: "Any", flag: str) -> None:
    import click

    if not isinstance(command, click.Command):
        raise TypeError(f"{command!r} is not an ArgumentParser, a click command or a Typer")
    option = click.Option(
        [flag], is_flag=True, expose_value=False, help=FLAG_HELP, callback=_leave_nothing, allow_from_autoenv=False
    )
    command.params.append(option)


def _add_to_typer(app: "Any", flag: str) -> None:
    """Have the outermost command of a Typer list *flag*.

    A Typer makes its click command only when it is called, from a class that it was given or chose. We give it a
    subclass of that class, which adds the option to its parameters.
    """
    import copy

    from typer.core import TyperCommand, TyperGroup

    def listing(base: "Any") -> "Any":
        class ListsFlag(base):  # type: ignore[misc]
            def get_params(self, ctx: "Any") -> "Any":
                help_option = self.get_help_option(ctx)
                if help_option is None:
                    return super().get_params(ctx)
                # A copy of --help: Typer may bring a click of its own, and this is an option of the same one.
                option = copy.copy(help_option)
                option.opts, option.name, option.help = [flag], "_otel_usage_flag", FLAG_HELP
                option.callback, option.is_eager, option.allow_from_autoenv = _leave_nothing, False, False
                return [*super().get_params(ctx), option]

        return ListsFlag

    # With one command and no callback, Typer makes that command the whole program: there is no group around it.
    single = len(app.registered_commands) == 1 and not app.registered_groups and app.registered_callback is None
    outermost = app.registered_commands[0] if single else app.info
    chosen = getattr(outermost.cls, "value", outermost.cls)  # Typer wraps a class that was not given in a placeholder
    outermost.cls = listing(chosen or (TyperCommand if single else TyperGroup))
