"""Have sys.exit tell a run what it raises, without asking anybody's objects and without a frame of ours in a traceback.

ALGORITHM  The object that takes the place of sys.exit is an instance of a class that is its own ``__call__``:

    sys.exit(3)  →  Exit(3)  →  Exit.__new__ (Python, ours): makes the SystemExit, has it noted, and returns;
                                then ``__init__`` is looked up on what it returned. It is a property whose getter is
                                C code, ``methodcaller("leave")``, which calls the real sys.exit: C alone raises.

The status is handed from one to the other and never looked at, but for its C type: it may be a mock, or an array, that
answers to everything. What sys.exit does not understand (two arguments, keywords) goes to the real one as it came, so
that the error is C's own. Asked for its name, signature, pickle, copy or repr, the object answers as the function does.

``exit()`` and ``quit()`` raise what the name SystemExit stands for in their module, ``_sitebuiltins``: there it stands for
a function of ours that returns one. ``os._exit`` is a function of ours that has the run written first, in the run's own
process alone; it returns to nobody, so that no traceback shows it.

A process has at most one watched run: `otel` and the recorder find each other by `watched_run`.
"""

import os
import sys

from .. import _fault, _guarded, _load
from .builtin_module import builtin_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .run import Run

partial = builtin_module("_functools").partial  # functools itself is Python code, and costs more
methodcaller = builtin_module("_operator").methodcaller
NOT_RAISED, RAISED, CAUGHT, ENDED_PROGRAM = range(4)  # states of a run's last SystemExit: see run.py

_watched = None  # type: Run | None  # the run that sys.exit tells


def call_guarded(module, name, *args):
    # type: (str, str, *object) -> None
    """Call the function *name* of our *module*, loaded now; a fault of ours never reaches the host."""
    try:
        getattr(_load(module), name)(*args)
    except Exception:
        _fault()


def watched_run():
    # type: () -> Run | None
    """Return the run that is being watched, None if there is none: a process has at most one."""
    return _watched


def watch_exit(run):
    # type: (Run) -> None
    """Have sys.exit tell *run* what it raises. A sys.exit that the host has replaced before stays as it is."""
    global _watched
    plain = sys.exit
    _watched = run
    if type(plain) is not type(len):
        return

    class Exit:
        __module__ = "sys"
        __doc__ = plain.__doc__
        watching = run
        __init__ = property(methodcaller("leave"))

        def __new__(cls, *arguments, **keywords):
            # type: (*object, **object) -> Any
            self = object.__new__(cls)  # type: Any
            self.leave = partial(plain, *arguments, **keywords)
            if keywords or len(arguments) > 1:
                return self
            status = arguments[0] if arguments else None
            kind = type(status)
            if issubclass(kind, tuple):  # its meaning changed in 3.12 (a message; SystemExit's arguments): left to C
                run.exit_state = CAUGHT
                return self
            raised = status if issubclass(kind, SystemExit) else SystemExit() if status is None else SystemExit(status)
            _guarded(run.note_exit, raised, sys._getframe().f_back, sys.exc_info()[1])
            self.leave = partial(plain, raised)
            return self

        # Asked who it is, it answers as the function does: with the function's own bound methods.
        __repr__ = plain.__repr__
        __reduce_ex__ = plain.__reduce_ex__

    Exit.__call__ = Exit
    sys.exit = stand_in = object.__new__(Exit)
    stand_in.__dict__.update(__name__="exit", __qualname__="exit", __wrapped__=plain, __self__=sys)
    watch_other_exits(run)


def watch_other_exits(run):
    # type: (Run) -> None
    """Have exit(), quit() and os._exit tell *run*. What the host has replaced before stays as it is."""
    at_once: Any = os._exit

    def note_exit(*arguments):
        # type: (*object) -> SystemExit
        raised = SystemExit(*arguments)
        # The caller of exit(): a traceback shows the call there, and in exit() itself the instruction after this one.
        _guarded(run.note_exit, raised, sys._getframe(1).f_back, sys.exc_info()[1])
        return raised

    def _exit(*arguments, **keywords):
        # type: (*int, **int) -> None
        if run.pid == os.getpid():
            call_guarded("recording.failure", "leave_at_once", run, arguments, keywords)
        at_once(*arguments, **keywords)

    module = sys.modules.get("_sitebuiltins")  # absent under -S
    if module is not None:
        module.__dict__.setdefault("SystemExit", note_exit)
    if type(at_once) is type(len):
        _exit.__module__, _exit.__qualname__ = "os", "_exit"
        _exit.__dict__["__wrapped__"] = at_once
        os._exit = _exit  # type: ignore[assignment]
    run.watched_exits = note_exit, _exit


def unwatch_exit(run):
    # type: (Run) -> None
    """Give sys.exit back, if it is ours and *run* is the one that it tells."""
    global _watched
    if _watched is run:
        _watched = None
        if getattr(type(sys.exit), "watching", None) is run:
            sys.exit = sys.exit.__wrapped__  # type: ignore[attr-defined]
        note_exit, at_once = run.watched_exits
        if os._exit is at_once:
            os._exit = at_once.__dict__["__wrapped__"]
        module = sys.modules.get("_sitebuiltins")
        if module is not None and note_exit is not None and module.__dict__.get("SystemExit") is note_exit:
            del module.__dict__["SystemExit"]


def exit_code_of(status):
    # type: (object) -> int
    """Return the exit code the parent sees for ``SystemExit(status)``. Source: CPython, handle_system_exit."""
    if status is None:
        return 0
    if not issubclass(type(status), int):
        return 1
    number = int.__int__(status)  # type: ignore[arg-type]  # not int(status): a subclass may define it
    if not -(1 << 63) <= number < 1 << 63:
        number = -1
    return number & 0xFF if os.name == "posix" else number & 0xFFFFFFFF
