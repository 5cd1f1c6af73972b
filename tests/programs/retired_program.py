"""A program that has given telemetry up, and goes on accepting its switches."""

import argparse

import otel_usage

usage = otel_usage.retired("prog")
parser = argparse.ArgumentParser("prog")
parser.add_argument("what")
print("did", parser.parse_args().what)
usage.action("report.upload", format="pdf")
with usage.command("x"):
    usage.count("lines")
