"""Commands and options from a usage text."""

import sys
from docopt import docopt

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")
D = """Prog.

Usage:
  prog ship new <name>...
  prog ship [<name>] move <x> <y> [--speed=<kn>]
  prog mine (set|remove) <x> [--moored|--drifting]
  prog -h | --help
  prog --version

Options:
  -h --help     Show this screen.
  --version     Show version.
  --speed=<kn>  Speed in knots [default: 10].
  --moored      Moored.
"""
a = docopt(D, version="1")
sys.exit(4 if a["remove"] else 0)
