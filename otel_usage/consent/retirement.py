"""For a host that has given usage data up: its switches go on being accepted, and what was stored is removed.

Loaded by a host that calls `otel_usage.retired` in place of `init`.
"""

import os
import sys

from .. import Usage, _load, _usage
from .gate import getter, home


def retired(app: str, *, flag: str = "--disable-analytics") -> Usage:
    """Return a handle that does nothing, for a program that records nothing any more.

    *flag* is taken from the command line as before, so that scripts that pass it keep working; variables need nothing.
    What earlier versions stored for *app* is removed: records, id, ledger, choice. Later runs touch nothing. Commands
    that are still mounted say so, whichever it is, with exit code 0.
    """
    _usage.settings = {"retired": app}
    try:
        if flag and flag in sys.argv:
            from .flag import take_flag

            take_flag(flag)
        root = home(getter(os.environ))
        folder = root + "/" + app
        if root and app and os.path.isdir(folder):
            # By name, as it belongs to an outer ring: it is loaded once, where there is something to remove.
            _load("spool.removal").clear_folder(folder, (), lambda: None)
            for path in (folder, root):
                os.rmdir(path)  # unless it is a link, or something else lies in it
    except OSError:
        pass
    return Usage()
