"""What happens where no sender can be started: the oldest records make room, and `otel-usage status` can say why.

Loaded where records wait for good, or until another program of the app comes.
"""

import os
import sys
from time import time

from .. import _load
from .folders import trim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .recorder import Recorder

PAUSE_S = 3600.0  # how long `status` speaks of it
NO_INTERPRETER = "no interpreter"  # in the place of the settings' fingerprint: no settings have it


def is_interpreter(program: object) -> bool:
    """True if *program*, which stands for this process's interpreter, is a Python that can be started.

    In programs that embed Python it may be empty, the program itself (uWSGI), or no file at all (Nuitka, PyInstaller).
    Asked where its name does not say so already.
    """
    if type(program) is not str or not program:
        return False
    name = os.path.realpath(program).rpartition(os.sep)[2]  # a link of another name, as some systems have them
    return name.startswith(("python", "pypy", "graalpy")) and os.access(program, os.X_OK)


def keep_waiting(recorder: "Recorder", python: object, error: "OSError | None" = None) -> None:
    """Drop what is too much, and write into the token ``wake`` why nothing is sent, if it is no wish of anybody's.

    python: what should have been the interpreter; error: why it could not be started. Raises OSError.
    """
    trim(recorder.spool)
    forced = os.environ.get("OTEL_USAGE_SENDER", "")
    if recorder.decision.mode != "on" or "none" in (forced, recorder.settings["sender"]):
        return
    if not hasattr(os, "posix_spawn"):
        why = "this system can't start a process as a sender is started"
    elif getattr(sys, "frozen", False):
        why = "the program is frozen: it has no Python that could send"
    elif error is not None:
        why = f"sys.executable, {python!r:.200}, could not be started: {error.strerror}"
    else:
        why = f"sys.executable is {python!r:.200}, and no Python that can be started"
    # As where settings are wrong; a program that has an interpreter does not heed it.
    why = why.encode("ascii", "backslashreplace").decode()
    _load("spool.wake_token").postpone_senders(recorder.spool, time() + PAUSE_S, NO_INTERPRETER, why)
