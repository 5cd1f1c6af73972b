"""Ask, once and on a terminal, whether a program may record how it is used.

Ring 0 (foreground): loaded only while the question is due; that run is not recorded, whatever the answer.
"""

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Words that ask for something else than work: nobody is interrupted there.
QUIET = ("-h", "--help", "-V", "--version", "help", "version", "--show-completion", "--install-completion", "telemetry")


def asking(argv: "list[str]") -> bool:
    """True if somebody is there to answer: a terminal on both sides, and neither help, version nor completion."""
    if any([word in QUIET for word in argv[1:]]):
        return False
    for name in os.environ:
        if name in ("COMP_LINE", "_ARGCOMPLETE") or (name[:1] == "_" and name.endswith("_COMPLETE")):
            return False
    streams = (sys.stdin, sys.stderr)
    return all([stream is not None and not stream.closed and stream.isatty() for stream in streams])


def ask(settings: "dict[str, Any]", home: str) -> None:
    """Ask, and store the answer; the default is No.

    That it was asked is stored first: a question that is not answered (Ctrl-C, end of input) does not come again, and
    what can't be stored is not asked.
    """
    from .spool import keep

    app, policy, now = settings["app"], settings["policy"], int(time.time())
    try:
        keep(home, "asked", now, policy)
    except OSError:
        return
    about = f" What and why: {settings['about']}" if settings["about"] else ""
    sys.stderr.write(
        f"May {app} record how it is used: which commands and options, and how they end?\n"
        f"Never what you type: no arguments, no file names, no text.{about}\n[y/N] "
    )
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        return
    yes = line.strip().lower() in ("y", "yes")
    try:
        keep(home, "on" if yes else "off", int(time.time()), policy)
    except OSError:
        return
    sys.stderr.write("Thank you; from the next run on.\n\n" if yes else "It will not.\n\n")
    sys.stderr.flush()
