"""Observe a framework's functions without standing between it and the program's code.

For the adapters of frameworks; argparse's and click's do the same in their own, cheaper ways. Two ways to observe:

- `tell_lookup`: a method tells when it is looked up on an instance, just before it is called. Nothing of ours is on the
  stack while it runs, so it may call code of the program.
- `tell_return`: a function tells when it has returned. For functions that call no code of the program.

What is told runs guarded: a fault of ours never reaches the program.
"""

import sys

from .. import _guarded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .run import Run


class _Observed:
    """A method that tells when it is looked up on an instance, and otherwise is the method itself."""

    def __init__(self, function: "Any", tell: "Callable[[Any], None]") -> None:
        self.function = function
        self.tell = tell

    def __get__(self, instance: object, owner: "type | None" = None) -> "Any":
        if instance is not None:
            _guarded(self.tell, instance)
        return self.function.__get__(instance, owner)

    def __getattr__(self, name: str) -> "Any":
        return getattr(self.function, name)


def tell_lookup(kind: "Any", name: str, tell: "Callable[[Any], None]") -> None:
    """Have the method *name* of the class *kind* call ``tell(instance)`` when it is looked up on an instance."""
    setattr(kind, name, _Observed(kind.__dict__[name], tell))


def tell_lookup_in_subclass(kind: "Any", name: str, tell: "Callable[[Any], None]") -> None:
    """Do the same where a program's own classes, *kind* and those above it, have put a method of theirs in its place."""
    for one in kind.__mro__:
        if name in one.__dict__ and not isinstance(one.__dict__[name], _Observed):
            _guarded(tell_lookup, one, name, tell)


def tell_return(place: "Any", name: str, tell: "Callable[..., None]") -> None:
    """Have the function *name* of a class or module call ``tell(result, *arguments)`` when it has returned."""
    function = getattr(place, name)

    def observed(*arguments: "Any", **keywords: "Any") -> "Any":
        result = function(*arguments, **keywords)
        _guarded(tell, result, *arguments)
        return result

    for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(observed, attribute, getattr(function, attribute, None))
    observed.__dict__["__wrapped__"] = function
    setattr(place, name, observed)


def tell_exit(run: "Run", kind: "Any", *, parsing: bool) -> None:
    """Have the exception class *kind*, a SystemExit that a framework raises itself, be noted by *run* once one has been made.

    parsing: True if it stands for the end of parsing wherever it is raised: help, or with a status a usage error.
    """

    def note(*arguments: "Any") -> None:
        raised = arguments[1]
        # Raised by who called `observed`: the caller of that is who a traceback shows, see `Run.note_exit`.
        run.note_exit(raised, sys._getframe(3).f_back, sys.exc_info()[1])
        if parsing:
            run.exit_hint = "usage_error" if raised.code else "help"

    tell_return(kind, "__init__", note)


def longest(names: "Any") -> str:
    """Return the longest of an option's names: what ``usage.options`` says of it."""
    return str(max(names, key=len))
