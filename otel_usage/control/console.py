"""Print for people: lines, labelled rows and tables, in colour where the output is a terminal."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import TextIO

MODE_COLOURS = {"on": "1;32", "local": "1;33", "log": "1;33", "off": "1;31"}


class Console:
    """Where a command prints to, and how. Colour and line width depend on whether *out* is a terminal.

    command_line: returns what the user has to type for another verb, ``otel-usage off --app mycli``.
    """

    def __init__(self, out: TextIO, command_line: Callable[[str], str]) -> None:
        self.out = out
        self.command_line = command_line
        environ = os.environ
        self.terminal = out.isatty()
        self.width = min(shutil.get_terminal_size((100, 24)).columns, 160) if self.terminal else 100
        self.colour = self.terminal and "NO_COLOR" not in environ and environ.get("TERM", "dumb") != "dumb"

    def paint(self, text: str, code: str) -> str:
        """Return *text* in a colour or weight: an ANSI code such as ``1`` (bold) or ``32`` (green)."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def paint_mode(self, mode: str) -> str:
        """Return the name of *mode* in its colour."""
        return self.paint(mode, MODE_COLOURS[mode])

    def print_line(self, text: str = "") -> None:
        """Print a line."""
        self.out.write(text + "\n")

    def print_json(self, value: object) -> None:
        """Print *value* as JSON that programs can read, and people too."""
        self.print_line(json.dumps(value, indent=2))

    def print_rows(self, rows: Sequence[tuple[str, str]]) -> None:
        """Print labels and what they stand for, in two columns; on a terminal no line is broken within a word."""
        width = max(len(label) for label, _ in rows)
        room = max(20, self.width - width - 4) if self.terminal else sys.maxsize
        for label, text in rows:
            lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
            self.print_line(f"  {self.paint(label.ljust(width), '2')}  {lines[0]}")
            for line in lines[1:]:
                self.print_line(" " * (width + 4) + line)

    def print_table(self, head: Sequence[str], body: Sequence[Sequence[str]]) -> None:
        """Print a table, its columns as wide as their widest cell."""
        widths = [max(len(row[i]) for row in [head, *body]) for i in range(len(head))]
        titles = "  ".join(cell.ljust(width) for cell, width in zip(head, widths, strict=True)).rstrip()
        self.print_line(self.paint(titles, "2"))
        for row in body:
            self.print_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
