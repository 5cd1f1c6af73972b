"""What a program on PATH is: which Python it runs in, whether that looks at PYTHONPATH, what it runs, and its version.

``run`` and ``verify`` put a folder of ours on PYTHONPATH to get into a program. They ask here whether that would work,
and never run the program to find out. ``run`` starts a program as fast as it can: so nothing but os is imported here, and
metadata is read by hand.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

OLDEST = (3, 10)  # of the Pythons that we can run in
BINARIES = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")  # the first bytes of a program on Linux and macOS


def which(name: str) -> str | None:
    """Return the path of the program *name*, looked for on PATH unless it is a path already. None if there is none."""
    folders = [""] if os.sep in name else os.environ.get("PATH", os.defpath).split(os.pathsep)
    for folder in folders:
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def is_interpreter(path: str) -> bool:
    """True if *path* is a Python interpreter, by its name."""
    name = os.path.basename(path)
    return name.startswith("python") and not name[6:].strip("0123456789.")


def interpreter_of(path: str, words: list[str]) -> tuple[str, list[str]]:
    """Return (the interpreter that runs the program *path*, the words that it gets); ("", []) if that is no Python.

    words: the program's whole command line.
    """
    if is_interpreter(path):
        return path, words[1:]
    lines = _head(path).split(b"\n")
    if not lines[0].startswith(b"#!"):
        return "", []
    line = os.fsdecode(lines[0][2:])
    if line.rstrip().endswith("/sh") and len(lines) > 1 and lines[1].startswith(b"'''exec'"):
        # What installers write when the interpreter's path is too long for a #! line, or has a space in it.
        line = os.fsdecode(lines[1][8:]).strip()
        if line[:1] in ("'", '"'):
            command = line[1:].partition(line[0])[0]
            return (command, []) if is_interpreter(command) else ("", [])
    command, *options = line.split() or [""]
    if os.path.basename(command) == "env":
        while options and (options[0].startswith("-") or "=" in options[0]):
            options.pop(0)
        command, options = which(options[0]) or "" if options else "", options[1:]
    return (command, options) if is_interpreter(command) else ("", [])


def is_python(path: str, words: list[str]) -> bool:
    """True if *path* is a Python interpreter or script that will look at PYTHONPATH. words: its whole command line."""
    interpreter, options = interpreter_of(path, words)
    # Python's own options may have it ignore PYTHONPATH, or start without `site`.
    return bool(interpreter) and set("IES").isdisjoint(_read_options(options)[0])


def can_run_us(interpreter: str) -> bool:
    """True if *interpreter* is for sure a CPython that we can run in: by the names beside it, it is not started.

    A script of that name (a shim, a wrapper) may start other Pythons before the program's: False.
    """
    real = os.path.realpath(interpreter)
    name = os.path.basename(real)
    if not is_interpreter(real.removesuffix("t")) or not _head(real).startswith(BINARIES):
        return False
    version = name[6:].removesuffix("t")
    if "." not in version:  # a copy in an environment, or a Python that stands alone
        bin_folder = os.path.dirname(interpreter)
        for line in _head(os.path.join(bin_folder, "..", "pyvenv.cfg")).decode("utf-8", "replace").splitlines():
            key, _, value = line.partition("=")
            if key.strip() in ("version", "version_info"):
                version = value.strip()
        if "." not in version:
            beside = [
                each[6:] for each in _names(os.path.join(os.path.dirname(real), "..", "lib")) if each[:7] == "python3"
            ]
            version = beside[0] if len(beside) == 1 else ""
    numbers = version.removesuffix("t").split(".")[:2]
    return len(numbers) == 2 and all(map(str.isdigit, numbers)) and (int(numbers[0]), int(numbers[1])) >= OLDEST


def module_of(words: list[str]) -> str:
    """Return the module that an interpreter runs by ``-m``, or "". words: what follows the interpreter."""
    return _read_options(words)[1]


def version_of(path: str, module: str) -> str:
    """Return the version of the distribution that installed the program, or the *module* that it runs.

    Looks beside the program, as its environment is seldom ours; "unknown" unless exactly one distribution claims it.
    """
    script, package = os.path.basename(path), module.partition(".")[0]
    versions = set()
    for folder, name, version in _distributions(path):
        if module:
            files = (f"{package}/", f"{package}.py,")
            claims = name.replace("_", "-") == package.lower().replace("_", "-") and any(
                line.startswith(files) for line in _lines(os.path.join(folder, "RECORD"))
            )
        else:
            claims = script in _console_scripts(os.path.join(folder, "entry_points.txt"))
        if claims:
            versions.add(version)
    version = versions.pop() if len(versions) == 1 else ""
    plain = version.replace("+", "").replace("!", "").replace(".", "").replace("_", "").replace("-", "")
    sound = version[:1].isdigit() and len(version) <= 64 and plain.isalnum() and plain.isascii()
    return version if sound else "unknown"


def _distributions(path: str) -> Iterator[tuple[str, str, str]]:
    """Yield (folder of metadata, name, version) of every distribution installed beside the program *path*."""
    library = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(path))), "lib")
    for python in _names(library):
        site_folder = os.path.join(library, python, "site-packages")
        for entry in _names(site_folder) if python.startswith("python3") else ():
            stem, _, kind = entry.rpartition(".")
            if kind in ("dist-info", "egg-info"):
                name, _, version = stem.partition("-")
                yield os.path.join(site_folder, entry), name.lower(), version.partition("-py3")[0]


def _console_scripts(path: str) -> list[str]:
    """Return the names of the commands that an ``entry_points.txt`` declares."""
    section, names = "", []
    for line in _lines(path):
        if line.startswith("["):
            section = line.strip()
        elif section == "[console_scripts]":
            names.append(line.partition("=")[0].strip())
    return names


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _head(path: str) -> bytes:
    """Return the first bytes of a file; none if it can't be read."""
    try:
        with open(path, "rb") as file:
            return file.read(1024)
    except OSError:
        return b""


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
