"""A class whose members are commands."""

import sys
import fire

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")


class Sub:
    def go(self, n=1):
        return n


class App:
    def __init__(self, quiet=False):
        self.sub = Sub()
        self.store = {"secret": 1}

    def add(self, a, b=2, **kw):
        return a + b

    def fail(self):
        sys.exit(5)

    def result(self):
        return {"secret": {"x": 1}}


fire.Fire(App)
