"""Take the host's flag out of the command line, before the host's parser sees it.

Loaded only where the flag was given.
"""

import sys


def take_flag(flag: str) -> str:
    """Remove *flag* from ``sys.argv`` and return it; "" if it was not given. What follows ``--`` is somebody else's."""
    argv = sys.argv
    end = argv.index("--") if "--" in argv else len(argv)
    words = [word for word in argv[1:end] if word != flag]
    if len(words) == end - 1 or not end:
        return ""
    argv[1:end] = words
    return flag
