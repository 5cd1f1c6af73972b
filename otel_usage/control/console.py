"""Print for people: lines, labelled rows and tables, in colour where the output is a terminal.

No line is broken within a word on a terminal, however narrow it is, unless the word alone is wider.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import TextIO
from unicodedata import combining, east_asian_width

from ..consent.notice import wrap

MODE_COLOURS = {"on": "1;32", "local": "1;33", "log": "1;33", "off": "1;31"}
MAX_WIDTH = 160  # of a line, however wide the terminal is
MIN_ROOM = 24  # columns for the text beside a label; with less, it stands below


class Console:
    """Where a command prints to, and how. Colour and line width depend on whether *out* is a terminal.

    command_line: returns what the user has to type for another verb, ``otel-usage off --app mycli``.
    """

    def __init__(self, out: TextIO, command_line: Callable[[str], str] = "otel-usage {}".format) -> None:
        self.out = out
        self.command_line = command_line
        environ = os.environ
        self.terminal = out.isatty()
        self.width = min(shutil.get_terminal_size((100, 24)).columns, MAX_WIDTH) if self.terminal else 100
        self.colour = self.terminal and "NO_COLOR" not in environ and environ.get("TERM", "dumb") != "dumb"

    def paint(self, text: str, code: str) -> str:
        """Return *text* in a colour or weight: an ANSI code such as ``1`` (bold) or ``32`` (green)."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def paint_mode(self, mode: str) -> str:
        """Return the name of *mode* in its colour."""
        return self.paint(mode, MODE_COLOURS[mode])

    def print_line(self, text: str = "") -> None:
        """Print a line, or more of them where the terminal is narrow; lines keep their indent."""
        self._write(wrap(text, self.width, columns_of) if self.terminal else text)

    def print_json(self, value: object) -> None:
        """Print *value* as JSON that programs can read, and people too."""
        self._write(json.dumps(value, indent=2))

    def print_rows(self, rows: Sequence[tuple[str, str]], weight: str = "2") -> None:
        """Print labels, in the *weight* of `paint`, and what they stand for: beside them, or below on a narrow terminal."""
        width = max(columns_of(label) for label, _ in rows)
        room = self.width - width - 4 if self.terminal else sys.maxsize
        for label, text in rows:
            if room < MIN_ROOM:
                if label:
                    self.print_line(f"  {self.paint(label, weight)}")
                self.print_line(f"    {text}")
                continue
            lines = wrap(text, room, columns_of).split("\n")
            padding = " " * (width - columns_of(label))
            self._write(f"  {self.paint(label + padding, weight)}  {lines[0]}".rstrip())
            for line in lines[1:]:
                self._write(" " * (width + 4) + line)

    def print_table(self, head: Sequence[str], body: Sequence[Sequence[str]]) -> None:
        """Print a table, its columns as wide as their widest cell. Where that is too wide for the terminal: row by row."""
        widths = [max(columns_of(row[i]) for row in [head, *body]) for i in range(len(head))]
        if self.terminal and sum(widths) + 2 * (len(widths) - 1) > self.width:
            for row in body:
                self.print_line(self.paint(row[0], "1"))
                cells = [f"{title}: {cell}" for title, cell in zip(head[1:], row[1:], strict=True) if cell != "-"]
                self.print_line("  " + ", ".join(cells))
            return

        def aligned(row: Sequence[str]) -> str:
            padded = [cell + " " * (width - columns_of(cell)) for cell, width in zip(row, widths, strict=True)]
            return "  ".join(padded).rstrip()

        self._write(self.paint(aligned(head), "2"))
        for row in body:
            self._write(aligned(row))

    def _write(self, text: str) -> None:
        self.out.write(text + "\n")


def columns_of(text: str) -> int:
    """Return how many columns of a terminal *text* takes: none for colours and accents, two for Chinese characters."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    if plain.isascii():
        return len(plain)
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in plain)
