"""Say which app of this process the mounted commands are of."""

from .. import Usage, _handles, _usage


def program_handle() -> Usage:
    """Return the handle whose commands are mounted: the program's; where it has none, of the only app that called `init`.

    That is so where an app's command line runs in a program that is not known to be the app's: ``python -c``, `describe`.
    """
    handles = list(_handles.values())
    return handles[0] if not _usage.app and len(handles) == 1 else _usage
