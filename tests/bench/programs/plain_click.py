"""Not instrumented."""

from .click_tool import cli


def main():
    """Run it."""
    cli()
