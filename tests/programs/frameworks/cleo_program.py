"""Two commands, one of two words."""

import sys
from cleo.application import Application
from cleo.commands.command import Command
from cleo.helpers import argument, option

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")


class A(Command):
    name = "cache list"
    arguments = [argument("what", optional=True)]
    options = [option("deep", "d"), option("to", flag=False)]

    def handle(self):
        return 3 if self.option("deep") else 0


class B(Command):
    name = "fail"

    def handle(self):
        raise ValueError("secret")


app = Application("prog", "1")
app.add(A())
app.add(B())
app.run()
