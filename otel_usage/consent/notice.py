"""The words in which a user is told what a program collects, and the way they are said."""

import sys

from .gate import variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def say(text: str) -> None:
    """Write *text* to stderr, if that can be written to."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):  # none, full or closed
        pass


def receivers(destinations: "dict[str, Any] | None") -> str:
    """Return who gets the data, in words: the names of the *destinations*, with their hosts; "" where none is named."""
    names = []
    for name, value in (destinations or {}).items():
        address = value if isinstance(value, str) else str(value.get("endpoint") or "")
        host = address.partition("//")[2].partition("/")[0].rpartition("@")[2]
        names.append(f"{host} ({name})" if host else name)
    return ", ".join(names)


def text(settings: "dict[str, Any]", news: "list[str] | None" = None) -> str:
    """Return the notice: what is collected, what never, and how to say no. news: what is new since the last one."""
    app = settings["app"]
    about = f" What and why: {settings['about']}" if settings["about"] else ""
    who = receivers(settings["destinations"])
    goes = f" It goes to {who}." if who else ""
    no = f"To say no: {variable(app)}_TELEMETRY=off, or DO_NOT_TRACK=1.{about}"
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
