"""What texts may look like: the patterns of names, versions and ids, and checks that are made from them.

Every pattern is used with ``fullmatch``. They are kept apart from the tables because the declaration of a schema, the
settings of a host and the attributes of a record all share them: what a host may declare is what may be sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable

MAX_NAME = 64  # characters of a declared name, field, choice or option
MAX_PATH = 200  # of a command's path, or of an exception's class with its module

APP = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
DECLARED_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
FIELD = re.compile(r"[a-z][a-z0-9_]*")
CHOICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.:+/@-]*")
COMMAND = re.compile(r"\((?:root|unknown)\)|[\w(][\w.:+@()-]*(?: [\w(][\w.:+@()-]*)*")
OPTION = re.compile(r"[-+/]{1,2}[\w?#@.:][\w?#@.:-]*")
ERROR_TYPE = re.compile(r"_OTHER|[A-Za-z_][\w.]*")
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+!_-]*")
WEEK = re.compile(r"20[0-9]{2}-W[0-5][0-9]")
INSTALLATION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
CLUSTER_UID = re.compile(r"[0-9a-f-]+")
SDK_NAME = re.compile(r"[a-z-]+")
SIGNAL = re.compile(r"SIG[A-Z0-9+]+")
FRAMES = re.compile(r"[0-9a-f]{16}")
SPAN_ID = re.compile(r"[0-9a-f]{16}")
TRACE_ID = re.compile(r"[0-9a-f]{32}")


def text_like(pattern: re.Pattern[str], max_chars: int) -> Callable[[object], bool]:
    """Return a check: True for a text of at most *max_chars* characters that *pattern* matches as a whole.

    >>> text_like(FIELD, MAX_NAME)("file_format")
    True
    """
    return lambda value: isinstance(value, str) and len(value) <= max_chars and pattern.fullmatch(value) is not None


def one_of(*words: str) -> Callable[[object], bool]:
    """Return a check: True for one of *words*."""
    return lambda value: isinstance(value, str) and value in words
