"""A command of two words, as openstack has them."""

import sys
from cliff.app import App
from cliff.commandmanager import CommandManager
from cliff.command import Command

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")


class Simple(Command):
    "x"

    def get_parser(self, prog_name):
        p = super().get_parser(prog_name)
        p.add_argument("--deep", action="store_true")
        p.add_argument("x", nargs="?")
        return p

    def take_action(self, a):
        return 3 if a.deep else 0


class A(App):
    def __init__(self):
        super().__init__(description="d", version="1", command_manager=CommandManager("none"))
        self.command_manager.add_command("server list", Simple)


sys.exit(A().run(sys.argv[1:]))
