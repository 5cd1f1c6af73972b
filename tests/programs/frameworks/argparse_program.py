"""One sub-command."""

import sys
import argparse

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")
p = argparse.ArgumentParser()
s = p.add_subparsers()
s.add_parser("add").add_argument("--n", type=int, default=0)
a = p.parse_args()
sys.exit(a.n)
