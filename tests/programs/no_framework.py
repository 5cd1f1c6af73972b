"""A program without a command-line framework. Its argument is the source of how it ends."""

import sys

import otel_usage

usage = otel_usage.init("prog", version="1.4", consent="opt-in")
usage.command("scan")
exec(sys.argv[1])
