"""What starting a sender takes where it is waited for, or where the system has no files in memory.

Loaded there alone: ordinary runs leave their sender at once.
"""

import os
from time import monotonic, sleep  # bound here, before a program's tests can patch the module

from .. import _fault


def pipe_with(text: bytes) -> int:
    """Return the reading end of a pipe that holds *text*. Raises OSError."""
    source, sink = os.pipe()
    os.set_blocking(sink, False)
    whole = os.write(sink, text) == len(text)
    os.close(sink)
    if not whole:  # larger than a pipe holds: the records wait
        os.close(source)
        raise OSError("the settings are larger than a pipe holds")
    return source


def wait(pid: int, wait_s: float, prints: bool) -> None:
    """Wait for the child *pid*, at most *wait_s*. prints: after a Ctrl-C it would, into the shell's next prompt."""
    end = monotonic() + wait_s
    try:
        while monotonic() < end and not os.waitpid(pid, os.WNOHANG)[0]:
            sleep(0.005)
    except ChildProcessError:  # the program reaps every child itself: ours has ended
        _fault(expected=True)
    except KeyboardInterrupt:
        if prints:
            os.kill(pid, 9)
        raise
