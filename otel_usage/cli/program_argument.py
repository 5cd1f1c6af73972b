"""The program that ``verify`` and ``doctor`` look at: what stands behind ``--`` on their command lines."""

from __future__ import annotations

from collections.abc import Sequence

from ..consent.notice import say
from .python_program import is_python, which


def read_program(argument: Sequence[str], *, example: str, purpose: str) -> list[str] | None:
    """Return the program's command line, its first word a path; None, having said why, if it is no Python program.

    argument: the words behind the options, ``--`` among them or not. example: a command to show; purpose: ``to verify``.
    """
    words = list(argument[1:] if argument[:1] == ["--"] else argument)
    if not words:
        say(f"otel-usage: no program {purpose}; write it after --, e.g. {example}\n")
        return None
    path = which(words[0])
    if path is None or not is_python(path, words):
        say(f"otel-usage: {words[0]!r} is not a Python program on PATH\n")
        return None
    return [path, *words[1:]]
