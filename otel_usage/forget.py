"""Leave nothing of this process's own run: its user looks at telemetry, or says no to it.

Ring 0 (foreground): loaded by the commands and the option that a host shows, by long-running programs, and in tests.
"""

import atexit
import os

from . import _usage, decide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .recorder import Recorder


def withdrawn(recorder: "Recorder") -> bool:
    """True if somebody has said off since *recorder* began; then this process has stopped recording.

    Defaults do not count: what they allowed to begin may end.
    """
    told = decide(recorder.app, "opt-in", 0, os.environ)
    if told.mode != "off" or told.layer == "default":
        return False
    forget()
    return True


def forget() -> None:
    """Stop recording in this process, and remove what was written of its run."""
    recorder, _usage._recorder, _usage._kept = _usage._recorder, None, None
    if recorder is None:
        return
    atexit.unregister(recorder.finish)
    if recorder.owner and recorder.descriptor >= 0:
        try:
            os.close(recorder._own())
            os.unlink(recorder.path)
        except OSError:  # gone already
            pass
    recorder.owner, recorder._events = False, None
    recorder.run.close()
