"""Leave nothing of this process's own run: its user looks at telemetry, or says no to it.

Ring 0 (foreground): loaded only by the commands a host mounts, and in tests.
"""

import atexit
import os

from . import _usage


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
