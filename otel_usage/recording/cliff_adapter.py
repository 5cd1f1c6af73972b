"""Tell a run which cliff command was given; its options are argparse's.

Loaded when `cliff.help` is imported, as every application does. A command's `get_parser` is observed when it is looked up: the
command then knows the name under which it was found among those that the program's packages declare, and the parser that
follows is its own. The exception that ends a program once its help is shown, a SystemExit, tells when it has been made.

TRIED  cliff 3.8 to 4.17.
NOT KNOWN  that a word which is no command was a usage error: it is a failure.
"""

import sys

from .. import _load
from .observation import tell_lookup, tell_return

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .run import Run


def install(run: "Run", module: "Any") -> None:
    """Observe the commands that *module*, ``cliff.help``, explains."""

    def began(command: "Any") -> None:
        name = getattr(command, "cmd_name", None)
        declared = getattr(getattr(command.app, "command_manager", None), "commands", ())
        words = str(name).split() if name in declared else ["(unknown)"]
        _load("recording.argparse_adapter").expect(run, words)

    def explained(none: None, raised: "Any", *arguments: "Any") -> None:
        # Raised where an action of the parser stands: its caller is who a traceback shows, see `Run.note_exit`.
        run.note_exit(raised, sys._getframe(3).f_back, sys.exc_info()[1])
        run.exit_hint = "help"

    tell_lookup(sys.modules["cliff.command"].Command, "get_parser", began)
    if hasattr(module, "HelpExit"):  # since 4.0
        tell_return(module.HelpExit, "__init__", explained)
