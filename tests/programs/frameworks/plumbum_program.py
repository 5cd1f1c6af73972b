"""Sub-commands two deep."""

import sys
from plumbum import cli

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")


class Top(cli.Application):
    PROGNAME = "prog"
    VERSION = "1"
    v = cli.Flag(["v", "verbose"])

    def main(self, *a):
        if a:
            return 1


@Top.subcommand("remote")
class Remote(cli.Application):
    def main(self):
        pass


@Remote.subcommand("add")
class Add(cli.Application):
    name = cli.SwitchAttr("--name", str)

    def main(self, x=None):
        return 8


Top.run()
