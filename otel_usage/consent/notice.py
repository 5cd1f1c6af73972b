"""The words in which a user is told what a program collects, and the way they are said."""

import os
import sys

from .gate import variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def say(text: str) -> None:
    """Write *text* to stderr, if that can be written to; on a terminal no line is broken within a word."""
    try:
        stream = sys.stderr
        stream.write(wrap(text, width_of(stream)) if stream.isatty() else text)
        stream.flush()
    except (AttributeError, OSError, ValueError):  # none, full or closed
        pass


def width_of(stream: "Any") -> int:
    """Return how many columns the terminal *stream* has. Any: whatever a host has put in place of stderr."""
    try:
        return int(os.environ.get("COLUMNS", "")) or 80
    except ValueError:
        pass
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (AttributeError, OSError, ValueError):
        return 80


def wrap(text: str, width: int, length: "Callable[[str], int]" = len) -> str:
    """Return *text* in lines of at most *width* columns, each broken between words, with the indent of its line.

    A word that is wider stands alone. length: how many columns a word takes.
    """
    lines = []
    for line in text.split("\n"):
        indent = line[: len(line) - len(line.lstrip(" "))]
        if length(line) <= width:
            lines.append(line)
            continue
        row, columns = indent, len(indent)
        for word in line.split():
            if row.strip(" ") and columns + 1 + length(word) > width:
                lines.append(row)
                row, columns = indent, len(indent)
            space = " " if row.strip(" ") else ""
            row, columns = row + space + word, columns + len(space) + length(word)
        lines.append(row)
    return "\n".join(lines)


def receivers(destinations: "dict[str, Any] | None") -> str:
    """Return who gets the data, in words: the names of the *destinations*, with their hosts; "" where none is named."""
    names = []
    for name, value in (destinations or {}).items():
        address = value if isinstance(value, str) else str(value.get("endpoint") or "")
        host = address.partition("//")[2].partition("/")[0].rpartition("@")[2]
        names.append(f"{host} ({name})" if host else name)
    return ", ".join(names)


def off_command(app: str, mounted: str = "") -> str:
    """Return what a user types to say off for good, in the form that works here; "" in a frozen program without mounts.

    A variable that is typed at the prompt is not exported, and even exported it ends with the shell: it is no such form.
    ``otel-usage`` is on PATH only where somebody installed it for itself. The program's own interpreter has us in any case.
    mounted: the word under which the program has the commands, where that is known.
    """
    command = "otel-usage"
    if mounted:
        return f"{app} {mounted} off"
    if not any(os.access(os.path.join(folder, command), os.X_OK) for folder in os.environ.get("PATH", "").split(":")):
        if not sys.executable or getattr(sys, "frozen", False):
            return ""
        command = (f"'{sys.executable}'" if " " in sys.executable else sys.executable) + " -m otel_usage"
    return f"{command} off --app {app}"


def text(settings: "dict[str, Any]", news: "list[str] | None" = None, mounted: str = "") -> str:
    """Return the notice: what is collected, what never, and how to say no. news: what is new since the last one."""
    app = settings["app"]
    about = f" What and why: {settings['about']}" if settings["about"] else ""
    who = receivers(settings["destinations"])
    goes = f" It goes to {who}." if who else ""
    lasting = off_command(app, mounted)
    no = f"To say no: {lasting}\nFor one shell: " if lasting else "To say no: "
    no += f"export {variable(app)}_TELEMETRY=off, or DO_NOT_TRACK=1.{about}"
    nothing = "Nothing of this run was recorded, and nothing was sent since the change."
    if news is None:
        lines = [
            f"{app} collects usage data from now on: which commands and options are used, and how they end.",
            f"Never what you type: no arguments, no file names, no text.{goes} Nothing of this run was recorded.",
            no,
        ]
    elif news:
        lines = [
            f"{app} collects more usage data than before, from the next run on. New is:",
            *[f"  {line}" for line in news],
            nothing,
            no,
        ]
    else:
        lines = [f"{app} has a new policy on usage data, from the next run on.", nothing, no]
    return "\n".join(lines) + "\n\n"


def remembered_mount(home: str) -> str:
    """Return the word under which the program had mounted the commands at the last sending, "" if it had not.

    A host mounts only after `init`, when the notice is out already: of its first run it can't be known.
    """
    from ..settings.remembered import recall

    return str((recall(home) or {}).get("mounted", ""))


def whats_new(settings: "dict[str, Any]", home: str) -> "list[str] | None":
    """Return what *settings* collect, or send to, that the settings of the last sending did not; None if unknown."""
    from ..settings.remembered import recall

    old = recall(home)
    if old is None:
        return None
    lines = []
    for name, row in settings["schema"].items():
        known = old["schema"].get(name)
        if known is None:
            lines.append(f"{name}: {row['why']}")
            continue
        fields = [field for field in row.get("fields") or {} if field not in (known.get("fields") or {})]
        if fields:
            lines.append(f"{name}, with {', '.join(fields)}: {row['why']}")
    lines += [f"sent to {name}" for name in settings["destinations"] or () if name not in (old["destinations"] or ())]
    return lines
