"""Leave nothing of this process's own run: its user looks at telemetry, or says no to it.

Loaded by the commands and the option that a host shows, by long-running programs, and in tests.
"""

import atexit
import os

from .. import _handles, _load, _usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .recorder import Recorder


def withdrawn(recorder: "Recorder") -> bool:
    """True if somebody has said off since *recorder* began; then this process has stopped recording.

    Defaults do not count: what they allowed to begin may end.
    """
    if recorder.settings["consent"] == "host":
        decision = _load("consent.host").decide_with_host(recorder.settings, os.environ)
    else:
        decision = _load("consent.gate").decide(recorder.app, "opt-in", 0, os.environ)
    if decision.mode != "off" or decision.layer == "default":
        return False
    forget(recorder)
    return True


def forget(recorder: "Recorder | None" = None) -> None:
    """Stop recording in this process, and remove what was written of its run. recorder: by default the program's own."""
    recorder = recorder or _usage._recorder
    if recorder is None:
        return
    for usage in (_usage, *_handles.values()):
        if usage._recorder is recorder:
            usage._recorder = usage._current = None
    atexit.unregister(recorder.finish)
    if recorder.service is not None:
        recorder.service.end()
    if recorder.owns_run() and recorder.descriptor >= 0:
        try:
            os.close(recorder._checked_descriptor())
            os.unlink(recorder.path)
        except OSError:  # gone already
            pass
    recorder.unwritten, recorder._events = False, None
    recorder.run.close()
