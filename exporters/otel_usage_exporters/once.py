"""Say a thing once in the life of a process: to its log, or to the person who looks at its stderr."""

from __future__ import annotations

import logging
import sys

_texts: set[str] = set()


def log_once(log: logging.Logger, level: int, text: str, *details: str) -> None:
    """Log *text* once. Details are shown, but do not make it another."""
    if text not in _texts:
        _texts.add(text)
        log.log(level, "%s", " · ".join([text, *details]))


def print_once(log: logging.Logger, text: str, *, key: str) -> None:
    """Print *text* to stderr, once for each *key*, unless *log* is set to less than warnings.

    For what a person must see who tries things out. A log record would be lost as soon as the root logger has a handler, such
    as that of OpenTelemetry's own instrumentation of logging; and where it has one that prints, this would be the second time.
    """
    if key not in _texts and log.isEnabledFor(logging.WARNING):
        _texts.add(key)
        try:
            sys.stderr.write(text + "\n")
        except (AttributeError, OSError, ValueError):  # none, or a closed one
            pass
