"""A group of commands, as az has them."""

import sys
from collections import OrderedDict
from knack import CLI, CLICommandsLoader, ArgumentsContext
from knack.commands import CommandGroup

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")


def abc_list(n=None):
    return [1]


class L(CLICommandsLoader):
    def load_command_table(self, args):
        with CommandGroup(self, "abc", "__main__#{}") as g:
            g.command("list", "abc_list")
        return OrderedDict(self.command_table)

    def load_arguments(self, command):
        with ArgumentsContext(self, "abc list") as ac:
            ac.argument("n", options_list=["--n"])
        super().load_arguments(command)


c = CLI(cli_name="prog", config_dir=".", commands_loader_cls=L)
sys.exit(c.invoke(sys.argv[1:]))
