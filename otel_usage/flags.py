"""Take the host's flag out of the command line, before the host's parser sees it.

Ring 0 (foreground): loaded only where the flag was given.
"""

import sys


def take(flag: str) -> str:
    """Remove *flag* from ``sys.argv`` and return it; "" if it was not given. What follows ``--`` is somebody else's."""
    argv = sys.argv
    end = argv.index("--") if "--" in argv else len(argv)
    kept = [word for word in argv[1:end] if word != flag]
    if len(kept) == end - 1 or not end:
        return ""
    argv[1:end] = kept
    return flag
