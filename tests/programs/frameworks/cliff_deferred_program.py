"""Commands of a cliff application that explains itself once it has been set up."""

import sys
from cliff.app import App
from cliff.command import Command
from cliff.commandmanager import CommandManager

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")


class List(Command):
    """List them."""

    def take_action(self, given):
        return 3


manager = CommandManager("prog.none")
manager.add_command("server list", List)
sys.exit(App("An application", "1", manager, deferred_help=True).run(sys.argv[1:]))
