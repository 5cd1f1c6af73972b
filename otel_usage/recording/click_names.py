"""Say under which name a click group declares a sub-command, where it does not simply list it under what was typed.

Loaded for groups that make their commands when asked, or know them by other names.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


def declared_name(group: "Any", context: "Any", command: "Any", typed: "Any", before: "Mapping[Any, Any]") -> str:
    """Return the declared name of *command*, "(unknown)" if there is none.

    Any: objects of click's or of subclasses of the host's. context: the group's own; typed: what the user typed; before:
    the commands that the group had when it began to parse.
    """
    same = [name for name, other in before.items() if other is command]
    names = same or [
        name for name in (typed, command.name) if name in before or name in _listed(group, context, before)
    ]
    return str(names[0]) if names else "(unknown)"


def _listed(group: "Any", context: "Any", before: "Mapping[Any, Any]") -> "Sequence[str]":
    """Return the commands that a lazy or custom *group* lists, and would list had it not seen what was typed."""
    kind: Any = type(group)
    ask = getattr(kind, "list_commands", None)
    if ask is None or (ask.__module__, ask.__qualname__) == ("click.core", "Group.list_commands"):
        return ()  # click's own lists what is in *before*
    try:
        same: Any = object.__new__(kind)
        same.__dict__.update(group.__dict__, commands=before)
        return list(ask(same, context))
    except (Exception, SystemExit):
        return ()
