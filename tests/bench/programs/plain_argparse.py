"""Not instrumented."""

from .argparse_tool import cli


def main():
    """Run it."""
    cli()
