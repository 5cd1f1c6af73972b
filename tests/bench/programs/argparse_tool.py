"""The same program, with argparse."""

import argparse


def cli():
    """Parse and do what was asked for."""
    parser = argparse.ArgumentParser("mycli")
    parser.add_argument("--verbose", action="store_true")
    commands = parser.add_subparsers(dest="command", required=True)
    report = commands.add_parser("report").add_subparsers(dest="subcommand", required=True)
    upload = report.add_parser("upload")
    upload.add_argument("--format", choices=["pdf", "html"], default="pdf")
    upload.add_argument("--retries", type=int, default=3)
    upload.add_argument("name")
    given = parser.parse_args()
    print(f"uploaded {given.name} as {given.format}")
