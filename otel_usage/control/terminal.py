"""The one place that makes standard output and standard error fit to be written to, whatever a terminal can show.

A stream whose encoding lacks a character (``LC_ALL=C``, cp1252, a pipe on Windows) would raise UnicodeEncodeError in the
middle of an answer. Here it writes the nearest ASCII instead, and for what has none an escape such as ``\\u2603``.
"""

from __future__ import annotations

import codecs
import os
import sys
from typing import TextIO

SUBSTITUTES = {
    "…": "...",
    "→": "->",
    "·": "-",
    "\u2013": "-",
    "\u2014": "-",
    "\u2018": "'",
    "\u2019": "'",
    "\u201c": '"',
    "\u201d": '"',
    "\xa0": " ",
}
_HANDLER = "otel-usage-nearest"  # the name of our error handler, among Python's own


def prepare_streams() -> None:
    """Make writing to stdout and stderr safe for every text. Commands call it before they, or argparse, print."""
    codecs.register_error(_HANDLER, _nearest)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a test runner's may be of another kind, which takes every text
            stream.reconfigure(errors=_HANDLER)


def give_up(stream: TextIO) -> None:
    """Let what is still to be written go to nowhere: the reader of a pipe is gone, or the disk is full.

    The interpreter flushes stdout once again at its end, which would fail as well, and loudly.
    """
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # no file at all
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _nearest(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return what is written in place of the characters that can't be, and where to go on. Called by the codecs."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    plain = "".join(SUBSTITUTES.get(character, character) for character in part)
    return plain.encode("ascii", "backslashreplace").decode("ascii"), error.end
