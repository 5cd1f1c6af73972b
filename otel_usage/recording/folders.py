"""Make the folders of the spool, and keep it small where no sender can be started.

Loaded by an installation's first run, and where records wait for good.
"""

import os

from ..spool.layout import NEW, OPEN, TRACES, TRIMMED

MAX_WAITING = 10_000  # files in new/, where no sender can be started, or none works


def make_parents(home: str) -> bool:
    """Make what is missing above *home*, and return True; False, having made nothing, where it would not be the user's.

    Under ``sudo`` with the user's HOME, folders of ours would be root's, and lock the user out. Raises OSError.
    """
    above = home
    while not os.path.exists(above):
        above = os.path.dirname(above)
    if os.geteuid() == 0 and os.stat(above).st_uid != 0:
        return False
    os.makedirs(os.path.dirname(home), 0o700, exist_ok=True)
    return True


def make_spool(home: str, spool: str) -> None:
    """Make *home*, the *spool* in it, and the folders in that. Raises OSError."""
    # open/ last: whoever finds it there counts on all the others.
    for path in (home, os.path.dirname(spool), spool, f"{spool}/{NEW}", f"{spool}/{OPEN}"):
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass


def trim(spool: str, most: int = MAX_WAITING) -> None:
    """Drop the oldest waiting records beyond *most*: no sender will. File names sort by time. Raises OSError.

    How many spans and data points that were is written down, for the next sender that works: see delivery/losses.py.
    """
    folder = f"{spool}/{NEW}"
    names = os.listdir(folder)
    dropped = 0
    for name in sorted(names)[: max(0, len(names) - most)]:
        path = f"{folder}/{name}"
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                content = os.read(descriptor, 4_194_304)
            finally:
                os.close(descriptor)
            os.unlink(path)
        except OSError:  # a folder, or another program's doing
            continue
        dropped += max(content.count(b'"spanId":' if name.endswith(TRACES) else b'"timeUnixNano":'), 1)
    if dropped:
        descriptor = os.open(f"{spool}/{TRIMMED}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, b"%d\n" % dropped)
        finally:
            os.close(descriptor)
