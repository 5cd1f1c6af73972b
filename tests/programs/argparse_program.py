"""An argparse program. ``do SOURCE`` ends as SOURCE says."""

import argparse
import sys

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")


def main():
    parser = argparse.ArgumentParser("prog")
    parser.add_argument("--version", action="version", version="prog 1.4")
    parser.add_argument("--verbose", "-v", action="store_true")
    commands = parser.add_subparsers(dest="command")
    do = commands.add_parser("do", aliases=["d"])
    do.add_argument("--to", "-t")
    do.add_argument("--number", type=int)
    do.add_argument("ending")
    report = commands.add_parser("report", aliases=["r"]).add_subparsers(dest="what")
    upload = report.add_parser("upload", aliases=["up", "u"])
    upload.add_argument("--format", "-f", choices=["pdf", "html"])
    upload.add_argument("file", nargs="*")
    given = parser.parse_args()
    if given.command in ("do", "d"):
        exec(given.ending, globals())
    return 0


if __name__ == "__main__":
    sys.exit(main())
