"""Show the first-run notice of a host whose default is on.

Ring 0 (foreground): loaded only while the notice is due; that run is not recorded.
"""

import os
import sys
import time

from . import variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import Decision


def text(settings: "dict[str, Any]") -> str:
    """Return the notice: what is collected, what never, and how to say no."""
    app = settings["app"]
    lines = [
        f"{app} collects usage data from now on: which commands and options are used, and how they end.",
        "Never what you type: no arguments, no file names, no text. Nothing of this run was recorded.",
        f"To say no: {variable(app)}_TELEMETRY=off, or DO_NOT_TRACK=1."
        + (f" What and why: {settings['about']}" if settings["about"] else ""),
    ]
    return "\n".join(lines) + "\n\n"


def show(settings: "dict[str, Any]", decision: "Decision") -> None:
    """Print the notice on stderr, once, if somebody is there to read it: a terminal.

    That it was seen is stored first: what can't be stored is not shown, or it would come at every run.
    """
    if not decision.home or sys.stderr is None or not sys.stderr.isatty():
        return
    try:
        from .spool import own

        if not os.path.exists(decision.home):
            if not own(decision.home):
                return
            os.mkdir(decision.home, 0o700)
        part = f"{decision.home}/consent.{os.getpid()}"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(descriptor, f"noticed {int(time.time())} {settings['policy']}\n".encode())
        os.close(descriptor)
        os.rename(part, decision.home + "/consent")
    except OSError:
        return
    sys.stderr.write(text(settings))
    sys.stderr.flush()
