"""Ask, once and on a terminal, whether a program may record how it is used.

Loaded only while the question is due; that run is not recorded, whatever the answer.
"""

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def ask(settings: "dict[str, Any]", home: str) -> None:
    """Ask, and store the answer; the default is No.

    That it was asked is stored first: a question that is not answered (Ctrl-C, end of input) does not come again, and
    what can't be stored is not asked.
    """
    from .choice import store_choice
    from .notice import receivers, width_of, wrap

    app, policy, now = settings["app"], settings["policy"], int(time.time())
    try:
        store_choice(home, "asked", now, policy)
    except OSError:
        return
    who = receivers(settings["destinations"])
    goes = f" It goes to {who}." if who else ""
    about = f" What and why: {settings['about']}" if settings["about"] else ""
    try:
        question = f"May {app} record how it is used: which commands and options, and how they end?\n"
        question += f"Never what you type: no arguments, no file names, no text.{goes}{about}\n"
        sys.stderr.write(wrap(question, width_of(sys.stderr)) + "[y/N] ")
        sys.stderr.flush()
        line = sys.stdin.readline()
    except KeyboardInterrupt:  # the user wants out: of the program too, and without seeing where we asked
        sys.stderr.write("\n")
        raise SystemExit(130) from None
    if not line:
        return
    yes = line.strip().lower() in ("y", "yes")
    try:
        store_choice(home, "on" if yes else "off", int(time.time()), policy)
    except OSError:
        return
    sys.stderr.write("Thank you; from the next run on.\n\n" if yes else "It will not.\n\n")
    sys.stderr.flush()
