"""Which programs are known here, and what to say of one that is not.

A program is known if it has left something in a folder of its name, or if somebody on this machine speaks of it by name: in
a variable such as ``PANTRY_TELEMETRY``, or by a file in /etc/otel-usage. A name that was mistyped is neither.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

from ..consent.gate import VOICES, getter, home, variable
from ..spool.files import list_folder
from ..spool.layout import CONSENT, FORMAT, ID, LEDGER, MACHINE, SETTINGS
from ..spool.removal import explain_os_error

MARKS = (CONSENT, SETTINGS, FORMAT, ID, LEDGER)  # one of them is in every program's folder
MAX_NAMED = 10  # known programs that an error names
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def is_name(app: str) -> bool:
    """True if *app* can be the name of a program: it is also the name of a folder."""
    return _NAME.fullmatch(app) is not None


def list_known(environ: Mapping[str, str]) -> list[str]:
    """Return the names of the programs that have a folder here, sorted. Raises OSError if it can't be looked."""
    root = home(getter(environ))
    if not root:
        return []
    return sorted(name for name in list_folder(root) if is_name(name) and _is_home(os.path.join(root, name)))


def is_known(app: str, environ: Mapping[str, str]) -> bool:
    """True if *app* has a folder here, or if somebody speaks of it by name; also where there is no place for folders."""
    get = getter(environ)
    root = home(get)
    if not root or os.path.lexists(os.path.join(root, app)):
        return True
    for where in VOICES:
        if "{APP}" in where and get(where.lstrip("!").replace("{APP}", variable(app))):
            return True
        if "{app}" in where and os.path.lexists(MACHINE + where.replace("{app}", app)):
            return True
    return False


def explain_unknown_app(app: str, environ: Mapping[str, str]) -> str:
    """Return that *app* is not known here, and which programs are, those with the most similar names first."""
    try:
        known = list_known(environ)
    except OSError as exc:
        return f"no program {app!r} is known here: {exc.filename!r} can't be read ({explain_os_error(exc)})"
    if not known:
        return f"no program {app!r} is known here; none is: nothing was recorded by any"
    nearest = sorted(known, key=lambda name: -SequenceMatcher(None, app, name).ratio())
    return f"no program {app!r} is known here; known are: {_listed(nearest)}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more (otel-usage status lists them)" if more > 0 else "")


def _is_home(folder: str) -> bool:
    """True if *folder* is a program's; also if it can't be looked into, for it may be one."""
    try:
        names = os.listdir(folder)
    except PermissionError:
        return True
    except OSError:  # a file, a dangling link
        return False
    return any(mark in names for mark in MARKS)
