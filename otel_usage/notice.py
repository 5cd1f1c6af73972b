"""Tell the user what a program collects, before it does: the notice, a service's line in its log, log mode's "none".

Ring 0 (foreground): loaded only where one of them is due.
"""

import os
import sys
import time

from . import stored, variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import Decision


# Words that ask for something else than work: nobody is told or asked anything there.
QUIET = ("-h", "--help", "-V", "--version", "help", "version", "--show-completion", "--install-completion", "telemetry")
CHOICES = ("on", "off", "local", "reset-id", "forget")  # ``mycli telemetry off``, whatever the host calls `telemetry`


def passing(argv: "list[str]") -> bool:
    """True if this run is about help, the version, completion or usage data itself."""
    words = argv[1:]
    if any([word in QUIET for word in words]) or (len(words) == 2 and words[1] in CHOICES):
        return True
    completing = [
        n for n in os.environ if n in ("COMP_LINE", "_ARGCOMPLETE") or (n[:1] == "_" and n.endswith("_COMPLETE"))
    ]
    return bool(completing)


def say(text: str) -> None:
    """Write *text* to stderr, if that can be written to."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):  # none, full or closed
        pass


def receivers(destinations: "dict[str, Any] | None") -> str:
    """Return who gets the data, in words: the names of the *destinations*, with their hosts; "" where none is named."""
    found = []
    for name, told in (destinations or {}).items():
        address = told if isinstance(told, str) else str(told.get("endpoint") or "")
        host = address.partition("//")[2].partition("/")[0].rpartition("@")[2]
        found.append(f"{host} ({name})" if host else name)
    return ", ".join(found)


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
    from .remembered import recall

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


def show(settings: "dict[str, Any]", decision: "Decision") -> None:
    """Say what is due on stderr. A notice, once, if somebody is there to read it: a terminal.

    That it was seen is stored first: what can't be stored is not shown, or it would come at every run.
    """
    app, home = settings["app"], decision.home
    if decision.overruled == "log":
        say(f"{app} telemetry, log mode: none, because {decision.source} says off\n")
    if settings["service"]:
        if decision.mode in ("on", "local"):
            about = f"; what and why: {settings['about']}" if settings["about"] else ""
            say(
                f"{app}: usage data is {decision.mode} (by {decision.source}); "
                f"to switch it off set {variable(app)}_TELEMETRY=off{about}\n"
            )
        return
    stream = sys.stderr
    if not decision.notice or not home or stream is None or stream.closed or not stream.isatty() or passing(sys.argv):
        return
    before, since, _ = stored(home + "/consent")
    if settings["consent"] == "ask" and before != "on":
        from .ask import ask

        stdin = sys.stdin
        if stdin is not None and not stdin.closed and stdin.isatty():
            ask(settings, home)
        return
    again = before in ("on", "noticed")
    news = whats_new(settings, home) if again else None
    try:
        from .spool import keep

        keep(home, before if again else "noticed", since if again else int(time.time()), settings["policy"])
    except OSError:
        return
    say(text(settings, news))
