"""Tell a run which cleo command and options were given.

Loaded when `cleo.application` is imported. The application's `_run` and a command's `run` are observed when they are looked
up, just before they are called; an input's `validate`, which calls no code of the program, once it has returned: the input then
holds the options that were given, under the names that the program declares.

TRIED  cleo 2.0 to 2.1.
NOT KNOWN  the command where the word is none.
"""

import sys

from .. import _load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .run import Run

_observation = _load("recording.observation")


def install(run: "Run", module: "Any") -> None:
    """Observe the commands of *module*, ``cleo.application``."""
    base = sys.modules["cleo.commands.base_command"]
    inputs = sys.modules["cleo.io.inputs.input"]
    called: list[Any] = []  # the program's application, until its command is known
    pending: list[Any] = []  # the command whose input is still to be checked

    def started(application: "Any") -> None:
        if not run.path_is_final:
            run.path_is_final = True  # what others parse meanwhile is no command of the program's
            called.append(application)
            run.name_command((), final=False)
            run.parsing_outcome = "parsing"

    def began(command: "Any") -> None:
        if not called:
            return  # a command that the program's own command calls
        called.clear()
        asked_for = getattr(command, "_command", None)  # of `help`: the command that it is to explain
        explains = type(command).__module__ == "cleo.commands.help_command"
        name = "" if explains and not asked_for else str((asked_for or command).name or "")
        run.name_command(tuple(name.split()))
        pending.append(command)
        run.parsing_outcome = "help" if explains else "parsing"

    def validated(none: None, options: "Any") -> None:
        if pending:
            command = pending.pop()
            for name in options._options:
                if command.definition.has_option(name):
                    run.add_option("--" + str(name))
            if run.parsing_outcome == "parsing":
                run.parsing_outcome = ""

    _observation.tell_lookup(module.Application, "_run", started)
    _observation.tell_lookup(base.BaseCommand, "run", began)
    _observation.tell_return(inputs.Input, "validate", validated)
