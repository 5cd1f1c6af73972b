"""Commands from functions."""

import sys
from jsonargparse import CLI

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")


def add(a: int, b: int = 2):
    return a + b


def fail(x: str = "s"):
    sys.exit(3)


CLI([add, fail], as_positional=True)
