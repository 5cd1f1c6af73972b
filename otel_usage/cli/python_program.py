"""What a program on PATH is: a Python program that looks at PYTHONPATH or not, what it runs, and its version.

``run`` and ``verify`` put a folder of ours on PYTHONPATH to get into a program. They ask here whether that would work,
and never run the program to find out.
"""

from __future__ import annotations

import os
import re
from importlib.metadata import distributions
from pathlib import Path


def is_interpreter(path: str) -> bool:
    """True if *path* is a Python interpreter, by its name."""
    return re.fullmatch(r"python[0-9.]*", Path(path).name) is not None


def is_python(path: str, words: list[str]) -> bool:
    """True if *path* is a Python interpreter or script that will look at PYTHONPATH. words: its whole command line."""
    if is_interpreter(path):
        return not _is_isolated(words[1:])
    try:
        with open(path, "rb") as file:
            head = file.read(1024)
    except OSError:
        return False
    if not head.startswith(b"#!"):
        return False
    lines = head.split(b"\n")
    line = lines[0]
    if line.rstrip().endswith(b"/sh") and len(lines) > 1 and lines[1].startswith(b"'''exec'"):
        line = lines[1]  # what installers write when the interpreter's path is too long for a #! line
    match = re.search(rb"python[0-9.]*['\"]?(?:\s(.*))?$", line)
    return match is not None and not _is_isolated(os.fsdecode(match.group(1) or b"").split())


def module_of(words: list[str]) -> str:
    """Return the module that an interpreter runs by ``-m``, or "". words: what follows the interpreter."""
    return _read_options(words)[1]


def version_of(path: str, module: str) -> str:
    """Return the version of the distribution that installed the program, or the *module* that it runs.

    Looks beside the program, as its environment is seldom ours; "unknown" unless exactly one distribution claims it.
    """
    site_folders = [str(folder) for folder in Path(path).absolute().parent.parent.glob("lib/python3*/site-packages")]
    versions = set()
    if module:
        package = module.partition(".")[0]
        for distribution in distributions(name=package, path=site_folders):
            if any(file.parts[0] in (package, package + ".py") for file in distribution.files or ()):
                versions.add(distribution.version)
    else:
        for distribution in distributions(path=site_folders):
            scripts = distribution.entry_points.select(group="console_scripts", name=Path(path).name)
            versions |= {distribution.version for _ in scripts}
    version = (versions.pop() or "") if len(versions) == 1 else ""  # None: metadata without a version
    return version if re.fullmatch(r"[0-9][0-9A-Za-z.+!_-]{0,63}", version) else "unknown"


def _is_isolated(words: list[str]) -> bool:
    """True if Python's own options, at the start of *words*, have it ignore PYTHONPATH or start without `site`."""
    return not set("IES").isdisjoint(_read_options(words)[0])


def _read_options(words: list[str]) -> tuple[str, str]:
    """Return (letters of Python's own options at the start of *words*, the module that ``-m`` runs or "")."""
    letters, rest = "", iter(words)
    for word in rest:
        if word == "--check-hash-based-pycs":
            next(rest, None)
        if not word.startswith("-") or word == "-":
            break  # the program; what follows is its own
        for position, letter in enumerate(word[1:], 2):
            if letter == "m":
                return letters, word[position:] or next(rest, "")
            if letter == "c":
                return letters, ""
            if letter in "WX":  # the rest of the word, or the next one, is its value
                if position == len(word):
                    next(rest, None)
                break
            if letter == "-":
                break
            letters += letter
    return letters, ""
