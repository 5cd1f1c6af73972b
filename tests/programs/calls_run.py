"""A program that hands its main function to `run`."""

import sys

import otel_usage

usage = otel_usage.init("prog", version="1.4", consent="opt-in")


def main(ending):
    usage.command("scan")
    exec(ending)


usage.run(main, sys.argv[1])
