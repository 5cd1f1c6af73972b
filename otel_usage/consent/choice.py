"""Store the user's choice. `gate.stored` reads it, and says what the file holds."""

import os

from ..recording.folders import is_users, make_parents
from ..spool.layout import CONSENT


def store_choice(home: str, mode: str, since_s: int, policy: int) -> None:
    """Store a choice, or that something was shown, in *home*: ``consent``, whole or not at all. Raises OSError.

    mode: ``on``, ``local``, ``off``, ``noticed`` or ``asked``; since_s: Unix seconds; policy: the version agreed to.
    """
    if not os.path.lexists(home):
        if not make_parents(home):
            raise PermissionError(home)
        os.mkdir(home, 0o700)
    elif hasattr(os, "geteuid") and not is_users(home):
        raise PermissionError(1, os.strerror(1), home)  # EPERM
    part = f"{home}/{CONSENT}.{os.getpid()}"
    try:
        os.unlink(part)
    except FileNotFoundError:
        pass
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, f"{mode} {since_s} {policy}\n".encode())
    finally:
        os.close(descriptor)
    os.rename(part, f"{home}/{CONSENT}")
