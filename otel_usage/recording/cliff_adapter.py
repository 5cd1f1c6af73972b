"""Tell a run which cliff command was given; its options are argparse's.

Loaded when `cliff.help` is imported, as every application does. A command's `get_parser` is observed when it is looked up: the
command then knows the name under which it was found among those that the program's packages declare, and the parser that
follows is its own. The exception that ends a program once its help is shown, a SystemExit, tells when it has been made.

TRIED  cliff 3.8 to 4.17.
NOT KNOWN  that a word which is no command was a usage error: it is a failure.
"""

import sys

from .. import _load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .run import Run

_observation = _load("recording.observation")


def install(run: "Run", module: "Any") -> None:
    """Observe the commands that *module*, ``cliff.help``, explains."""

    explaining: list[Any] = []  # `help`, where the program has put it before a command because of its `--help`

    def began(command: "Any") -> None:
        name = getattr(command, "cmd_name", None)
        declared = getattr(getattr(command.app, "command_manager", None), "commands", ())
        words = str(name).split() if name in declared else ["(unknown)"]
        if explaining:
            explaining.clear()
            run.name_command(tuple(words))
            run.parsing_outcome = "help"
            return
        if words == ["help"] and getattr(command.app, "deferred_help", False) and "--help" in run.options:
            explaining.append(command)
        _load("recording.argparse_adapter").expect(run, words)

    _observation.tell_lookup(sys.modules["cliff.command"].Command, "get_parser", began)
    if hasattr(module, "HelpExit"):  # since 4.0
        _observation.tell_exit(run, module.HelpExit, parsing=True)
