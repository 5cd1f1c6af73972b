"""Stop the sender that is at work on a spool: what it holds is about to be removed, or must not be sent any more.

ALGORITHM

1. Open the spool's lock file, which a sender keeps locked for as long as it works. Without the file no sender ever
   worked here: done.
2. Test the lock. Nobody holds it: no sender is at work, done.
3. Somebody holds it: ask the system for the process, and kill it if its command line says that it is a sender of ours.
4. Go back to 2 after a short sleep, for at most `STOP_S`. A killed process loses its locks as it ends.

RACES

1. A new sender starts after the lock was seen free. Callers store the user's choice first, and a sender reads the
   choice before it sends anything; `removal.clear` calls us again for as long as something new appears.
2. The holder ends between 3's question and its kill. If its number is free by then, it is gone, as it should be: the next
   look at the lock says so. For the number to mean another process, all others would have to be used up between
   reading the command line and the kill, which are one instruction apart.
3. The sender is killed in the middle of a request, which may have arrived or not. Its file stays in ``flight/``, and the
   next sender treats it as one that was cut off; mostly it is removed right after.
4. Over a network file system the holder may be a process of another machine, and its number means somebody else here.
   The command line says so: nobody is killed, and after `STOP_S` the caller goes on.
"""

from __future__ import annotations

import os
import signal
import struct
import time

from ..spool.layout import LOCK

STOP_S = 2.0  # how long we wait for a sender to be gone


def stop_sender(spool: str) -> None:
    """End the sender that is at work on *spool*, if there is one, and wait until it is gone. Raises OSError."""
    try:
        descriptor = os.open(f"{spool}/{LOCK}", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline:
            try:
                os.lockf(descriptor, os.F_TEST, 0)
                return
            except OSError:
                pid = _lock_holder(descriptor)
                if pid and _is_sender(pid):
                    _kill(pid)
                time.sleep(0.01)
    finally:
        os.close(descriptor)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:  # it has ended by itself just now: RACE 2
        pass


def _lock_holder(descriptor: int) -> int:
    """Return the process that holds the lock on *descriptor*'s file; 0 if the system does not say."""
    try:
        import fcntl

        request = struct.pack("hhqqixxxx", fcntl.F_WRLCK, 0, 0, 0, 0)  # struct flock, as Linux has it on 64 bits
        return int(struct.unpack("hhqqixxxx", fcntl.fcntl(descriptor, fcntl.F_GETLK, request))[4])
    except (ImportError, OSError, struct.error):
        return 0


def _is_sender(pid: int) -> bool:
    """True if the command line of *pid* is that of a sender of ours; False also where there is no ``/proc``."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"\0otel-usage\0" in file.read()
    except OSError:
        return False
