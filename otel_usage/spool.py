"""The folders that records wait in, and the file that keeps the user's choice.

Ring 0 (foreground): loaded by an installation's first run, and where no sender can be started.
"""

import os

MAX_WAITING = 10_000  # files in new/, where no sender can be started


def own(home: str) -> bool:
    """Make what is missing above *home*; False where folders of ours would not be this user's.

    Under sudo with the user's HOME they would be root's, and lock the user out.
    """
    above = home
    while not os.path.exists(above):
        above = os.path.dirname(above)
    if os.geteuid() == 0 and os.stat(above).st_uid != 0:
        return False
    os.makedirs(os.path.dirname(home), 0o700, exist_ok=True)
    return True


def make(home: str, folder: str) -> None:
    """Make *home*, the spool *folder* in it, and the spool's parts."""
    # open/ last: whoever finds it there counts on all the others.
    for path in (home, os.path.dirname(folder), folder, folder + "/new", folder + "/open"):
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass


def keep(home: str, mode: str, since_s: int, policy: int) -> None:
    """Store a choice, or that something was shown, as `otel_usage.stored` reads it. Raises OSError."""
    if not os.path.exists(home):
        if not own(home):
            raise PermissionError(home)
        os.mkdir(home, 0o700)
    part = f"{home}/consent.{os.getpid()}"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, f"{mode} {since_s} {policy}\n".encode())
    finally:
        os.close(descriptor)
    os.rename(part, home + "/consent")


def trim(folder: str, most: int = MAX_WAITING) -> None:
    """Drop the oldest waiting records beyond *most*: no sender will. File names sort by time."""
    new = folder + "/new"
    names = os.listdir(new)
    for name in sorted(names)[: max(0, len(names) - most)]:
        os.unlink(new + "/" + name)
