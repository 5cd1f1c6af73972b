"""Make the folders of the spool, and keep it small where no sender can be started.

Loaded by an installation's first run, and where records wait for good.
"""

import os

from ..spool.layout import NEW, OPEN

MAX_WAITING = 10_000  # files in new/, where no sender can be started


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
    """Drop the oldest waiting records beyond *most*: no sender will. File names sort by time. Raises OSError."""
    folder = f"{spool}/{NEW}"
    names = os.listdir(folder)
    for name in sorted(names)[: max(0, len(names) - most)]:
        os.unlink(f"{folder}/{name}")
