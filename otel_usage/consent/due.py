"""What is due before a program goes on: the notice, the question, a service's line in its log, log mode's "none".

Loaded only where one of them may be.
"""

import os
import sys
import time

from ..spool.layout import CONSENT
from .gate import stored, variable
from .notice import remembered_mount, say, text, whats_new

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .decision import Decision


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


def service_line(settings: "dict[str, Any]", decision: "Decision") -> str:
    """Return what a service says in its log when it starts."""
    app = settings["app"]
    about = f"; what and why: {settings['about']}" if settings["about"] else ""
    return (
        f"{app}: usage data is {decision.mode} (by {decision.source}); "
        f"to switch it off set {variable(app)}_TELEMETRY=off{about}\n"
    )


def show_due(settings: "dict[str, Any]", decision: "Decision") -> None:
    """Say what is due on stderr. A notice, once, if somebody is there to read it: a terminal. A service has none.

    That it was seen is stored first: what can't be stored is not shown, or it would come at every run.
    """
    app, home = settings["app"], decision.home
    if decision.overruled == "log":
        say(f"{app} telemetry, log mode: none, because {decision.source} says off\n")
    stream = sys.stderr
    if not decision.notice or not home or stream is None or stream.closed or not stream.isatty() or passing(sys.argv):
        return
    from ..recording.agent import find_agent

    if find_agent(os.environ, True):  # it can't agree for its user, and nobody else may read this
        return
    before, since, _ = stored(f"{home}/{CONSENT}")
    if settings["consent"] == "ask" and before != "on":
        from .question import ask

        stdin = sys.stdin
        if stdin is not None and not stdin.closed and stdin.isatty():
            ask(settings, home)
        return
    again = before in ("on", "noticed")
    news = whats_new(settings, home) if again else None
    try:
        from .choice import store_choice

        store_choice(home, before if again else "noticed", since if again else int(time.time()), settings["policy"])
    except OSError:
        return
    say(text(settings, news, remembered_mount(home) if again else ""))
