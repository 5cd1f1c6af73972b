"""One run of a program as its parent process will see it: what was called, and how it ended.

HOW THE EXIT CODE IS KNOWN without being in the way, after `atexit` has begun. The first row that applies decides:

    what is seen                                                     exit code the parent sees
    ---------------------------------------------------------------  ----------------------------------------
    1. the outermost frame stands on a RETURN instruction            0
    2. sys.last_exc (before 3.12 sys.last_value) left that frame     1; 130 for KeyboardInterrupt
    3. the last SystemExit of sys.exit ended the program             its status, as CPython reads it
    4. that SystemExit is kept alive, and has left that frame        likewise (asyncio keeps it in its task)
    5. anything else                                                 not known: the attribute is left out
    Above all: os._exit, in the run's own process                    its status
    Besides: stdout or stderr can't be flushed (full, broken pipe)   120, whatever the rows say
    Besides: such a flush is the program's own code; ``python -i``   not known

A SystemExit from sys.exit is followed from its making to its death:

    state          how it gets there                                 meaning
    -------------  ------------------------------------------------  ----------------------------------------
    NOT_RAISED     at the start
    RAISED         sys.exit was called in the main thread            it is on its way out
    CAUGHT         it died while Python code of the program ran      somebody caught it: it decides nothing
    ENDED_PROGRAM  it died after the last Python frame had ended     row 3

HOW IT IS FOLLOWED. A ``set()`` is put into the exception's ``__dict__``; it dies with the exception, and a weak
reference to it calls us. With no Python frame left at that moment, it was the interpreter that let go of it. Two cases
look alike and are not: the exception was only the ``__context__`` of another one, raised by somebody who caught it; or
the frames on the way had a ``try`` or ``with`` that may have caught it. Then the outermost frame must still stand where
it called what raised, and a living traceback must lead from it to the call of sys.exit (`failure.reached`).

HOW sys.exit IS WATCHED: see exit_watch.py. docs/decisions/0002-exit-codes.md tells what else was tried.
"""

import os
import sys
from _thread import get_ident
from _weakref import ref

from .. import _guarded, _load
from .exit_watch import (
    CAUGHT,
    ENDED_PROGRAM,
    NOT_RAISED,
    RAISED,
    exit_code_of,
    unwatch_exit,
    watch_exit,
)
from .frameworks import HOOKS, find_framework

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CodeType, FrameType, ModuleType, TracebackType
    from typing import Any

MAX_OPTIONS = 64

# Frames below which a sys.exit is the parser's: help and version if its status is 0, else a usage error.
_PARSING = ("parse_args", "parse_known_args", "_parse_known_args", "parse_intermixed_args", "error")
_DICT = BaseException.__dict__["__dict__"]
_TRUSTED = ("argparse", "click", "otel_usage", "runpy", "typer")  # where nobody turns one SystemExit into another


if type(get_ident) is not type(len):  # type: ignore[comparison-overlap]
    get_ident = _load("recording.failure").real_ident  # gevent and eventlet have put a greenlet's number there


class Run:
    """What one process's run is known to be so far.

    command_path: the declared names of the command and sub-commands, None while unknown. options: names of declared
    options that were given. `ending` says how it ended; everything else is what adapters and the host tell.
    """

    # What few runs change stands here: it is cheaper than in __init__.
    command_path = None  # type: Sequence[str] | None
    path_is_final = False  # a framework has told the path: frameworks called later are the host's own affair
    named_by_host = False  # usage.command() was called: frameworks must not rename it
    # What an ending means while the framework parses, as an adapter tells: "help", "usage_error", or "parsing" where the
    # exit code says which of them.
    parsing_outcome = ""
    framework_error = ("", "")  # (error type, outcome) of what a framework turns into an exit code
    watching = True  # until `close`
    on_left = None  # type: Callable[[], None] | None  # called by os._exit, which calls no handler
    watched_exits = (None, None)  # type: tuple[object, object]  # see exit_watch.py
    package = ""  # top-level package of the program: its exception classes may be named
    ended = None  # type: tuple[int | None, str, str] | None  # told by who watched another process: see `ending`
    outermost = None  # type: FrameType | None
    # Of the last SystemExit:
    exit_state = NOT_RAISED
    exit_status = None  # type: object
    exit_error = ""
    exit_hint = ""  # the outcome that it stands for, from who called sys.exit
    exit_offset = -1  # where the outermost frame stood when it was raised
    exit_origin = None  # type: tuple[object, int] | None  # who raised it (code, instruction), if it may be caught
    exit_in_excepthook = False
    exit_mark = None  # type: ref[set[int]] | None

    def __init__(self, frame, on_named):
        # type: (FrameType | None, Callable[[], None] | None) -> None
        self.options: list[str] = []
        self.on_named: Callable[[], None] | None = on_named
        self.pid = os.getpid()
        self.hooked: list[str] = []  # modules of frameworks that tell us: see frameworks.py
        self.on_closed: list[Callable[[], object]] = []  # of adapters, which let go of the program's objects
        threading = sys.modules.get("threading")
        self.main_thread = threading.main_thread().ident if threading is not None else get_ident()
        if self.main_thread != get_ident() and self.main_thread not in sys._current_frames():
            self.main_thread = get_ident()  # gevent says which greenlet it is
        if frame is not None:
            names = frame.f_globals
            self.package = (names.get("__package__") or names.get("__name__") or "").partition(".")[0]
            self.keep_outermost(frame)
        if on_named is not None:  # else it is not this process's own, and nobody asks
            watch_exit(self)

    # What was called.

    def name_command(self, path, final=True):
        # type: (Sequence[str] | None, bool) -> None
        """Note the command's path as known so far, None if it is not; not *final* if a sub-command is about to follow."""
        if not self.named_by_host:
            self.command_path = path
        if self.outermost is None:
            self.keep_outermost(sys._getframe())
        if final and self.on_named is not None:
            self.on_named()

    def add_option(self, option):
        # type: (str) -> None
        """Note that a declared option was given."""
        if option not in self.options and len(self.options) < MAX_OPTIONS:
            self.options.append(option)

    def command_name(self):
        # type: () -> str
        """Return what ``usage.command`` says."""
        return "(unknown)" if self.command_path is None else " ".join(self.command_path) or "(root)"

    # How it ended.

    def keep_outermost(self, frame):
        # type: (FrameType | None) -> None
        """Keep the outermost frame of the main program, reached from *frame*."""
        if get_ident() != self.main_thread:
            frame = sys._current_frames().get(self.main_thread)
        while frame is not None and frame.f_back is not None:
            frame = frame.f_back
        # Any other is the interpreter's own start-up: the program comes later.
        if frame is not None and frame.f_globals.get("__name__") in ("__main__", "runpy"):
            self.outermost = frame

    def note_exit(self, raised, frame, handled, trace=None):
        # type: (SystemExit, FrameType | None, BaseException | None, TracebackType | None) -> None
        """Note a SystemExit about to be raised. Whether it ends the program shows when it dies: see `_died`.

        frame: who called sys.exit; handled: the exception it was handling; trace: the traceback so far.
        The host's objects are compared by identity and by their C type only. None of their methods is called: a status
        may be a mock, or an array, that answers to everything.
        """
        if get_ident() != self.main_thread or self.exit_state == ENDED_PROGRAM or frame is None:  # None: atexit itself
            return
        if self.outermost is None:
            self.keep_outermost(frame)
        code: Any = SystemExit.code  # on the class, the descriptor of the field: no subclass of the host's is asked
        status = code.__get__(raised)
        last = self.exit_mark() if self.exit_mark is not None else None
        same = handled is not None and _dict_of(handled).get("_otel_usage", self) is last
        if not same or status is not self.exit_status:  # else it is the same one, raised once more
            # Who catches what the parser has refused, and leaves with its status, passes it on: ``return exc.code``.
            passed_on = self.exit_hint == "usage_error" and status is self.exit_status
            self.exit_hint, self.exit_error = "usage_error" if passed_on else "", "SystemExit"
        self.exit_status = status
        self.exit_origin, self.exit_in_excepthook = None, False
        if self._may_be_caught(frame):
            self.exit_origin = (
                (trace.tb_frame.f_code, trace.tb_lasti) if trace is not None else (frame.f_code, frame.f_lasti)
            )
            failure_module()  # loaded now: later, what is made while it loads would age the traceback that we look for
        if self.outermost is not None:
            self.exit_offset = self.outermost.f_lasti
        if exit_code_of(status):
            error, outcome = self.framework_error if _module(frame) in ("click", "typer") else ("", "")
            failure = failure_module() if handled is not None else None
            if failure is not None and handled is not None:
                error = error or failure.error_type(handled, self.package)
                outcome = outcome or failure.outcome_of(handled) or failure.outcome_of(handled.__cause__)
            self.exit_error, self.exit_hint = error or self.exit_error, outcome or self.exit_hint
        mark: set[int] = set()
        _dict_of(raised)["_otel_usage"] = mark
        self.exit_mark = ref(mark, self._died)
        self.exit_state = RAISED

    def _may_be_caught(self, frame):
        # type: (FrameType) -> bool
        """Take a hint from who called sys.exit in *frame*; True if somebody on the way out may catch it."""
        doubt = False
        for _ in range(64):
            code, module = frame.f_code, _module(frame)
            if code.co_name in _PARSING and module in ("argparse", "optparse"):
                self.exit_hint = "usage_error" if exit_code_of(self.exit_status) else "help"
            elif code.co_name == "_main_shell_completion":
                self.exit_hint = "help"
            if frame.f_back is None:
                self.exit_in_excepthook = code is getattr(sys.excepthook, "__code__", None)
                return doubt or frame is not self.outermost
            if not doubt and _catches(code):
                doubt = module not in _TRUSTED
            frame = frame.f_back
        return True

    def _died(self, mark):
        # type: (ref[set[int]]) -> None
        """Note that a SystemExit has died. Called by the interpreter, wherever that was."""
        if mark is self.exit_mark:
            last_frame = sys._getframe().f_back is None and get_ident() == self.main_thread
            self.exit_state = CAUGHT
            if last_frame:
                _guarded(self._died_last)

    def _died_last(self):
        # type: () -> None
        """Note that the last SystemExit ended the program, unless it was only the context of the one that did."""
        frame = self.outermost
        if frame is None:
            return
        if not self.exit_in_excepthook and (self.exit_origin is not None or frame.f_lasti != self.exit_offset):
            failure = failure_module()
            if (
                failure is None
                or not failure.passed(frame, self.exit_offset)
                or not failure.reached(frame, self.exit_origin)
            ):
                return
        self.exit_state = ENDED_PROGRAM

    def ending(self):
        # type: () -> tuple[int | None, str, str]
        """Return (exit code the parent sees, outcome, error type); the code is None where it can't be known.

        The table at the head of this module, row by row.
        """
        if self.ended is not None:
            return self.ended
        code: int | None = None
        hint, error, signalled = self.exit_hint or self.parsing_outcome, "", False
        names = sys.__dict__  # asking a module for what it has not is dear
        last = names.get("last_exc") or names.get("last_value")
        trace = last.__traceback__ if last is not None else None
        frame = self.outermost
        if frame is not None and _returned(frame):
            code = 0
        elif (
            last is not None
            and trace is not None
            and (trace.tb_frame is frame or (frame is None and trace.tb_frame.f_back is None))
            and not (self.exit_in_excepthook and self.exit_state == ENDED_PROGRAM)
        ):
            signalled = issubclass(type(last), KeyboardInterrupt)  # ends the process by a signal, whatever is left
            code = 130 if signalled else 1
            failure = failure_module()
            if failure is not None:
                hint, error = failure.outcome_of(last), failure.error_type(last, self.package)
        elif self.exit_state == ENDED_PROGRAM:
            code = exit_code_of(self.exit_status)
            error = self.exit_error if code else ""
        elif self.exit_state == RAISED:
            failure = failure_module()
            if failure is not None and failure.surfaced(self.exit_mark and self.exit_mark(), frame, self.exit_offset):
                code, error = exit_code_of(self.exit_status), self.exit_error
        environ: Any = os.environ._data  # type: ignore[attr-defined]  # asking os.environ costs ten times as much
        # The interpreter goes on to its prompt, and ends there.
        if sys.flags.inspect or b"PYTHONINSPECT" in environ or "PYTHONINSPECT" in environ:
            code = None
        elif not signalled:
            flushed = _flush_error()
            if flushed:
                code, error, hint = 120, flushed, ""
            elif flushed is None:
                code = None
        if code is None:
            return None, "unknown", ""
        if hint == "parsing":
            hint = "usage_error" if code else "help"
        if code == 0:
            return 0, "help" if hint == "help" else "success", ""
        return code, hint if hint and hint != "help" else "failure", error

    def close(self):
        # type: () -> None
        """Let go of the interpreter, and of the program's objects.

        What is still held at the interpreter's end costs it time: its last collections look at all that can be reached.
        """
        unwatch_exit(self)
        self.watching = False
        for let_go in self.on_closed:
            let_go()
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        self.outermost = self.on_named = self.on_left = None

    # The import hook: see frameworks.py.

    def find_spec(self, name, path=None, target=None):
        # type: (str, Any, Any) -> Any
        """Return the spec of a framework that is about to be imported, made to tell us when that is done; else None."""
        if self.outermost is None:  # we were there before the program: this is it, importing
            self.keep_outermost(sys._getframe())
        return find_framework(self, name, path, target) if name in HOOKS else None


def _dict_of(raised):
    # type: (BaseException) -> dict[str, object]
    """Return the ``__dict__`` of *raised*, without asking a subclass of the host's; an empty one if it has none."""
    try:
        return _DICT.__get__(raised)  # type: ignore[no-any-return]
    except AttributeError:  # of a class that mypyc has compiled
        return {}


def failure_module():
    # type: () -> Any
    """Return the module that explains failures, None where it can't be had: the program has replaced our files."""
    try:
        return _load("recording.failure")
    except Exception:
        return None


def _module(frame):
    # type: (FrameType) -> str
    """Return the name of the top-level package whose code *frame* runs."""
    name = frame.f_globals.get("__name__")
    return name.partition(".")[0] if isinstance(name, str) else ""


def _catches(code):
    # type: (CodeType) -> bool
    """True if *code* has a try or with statement anywhere."""
    table = getattr(code, "co_exceptiontable", None)
    if table is not None:
        return bool(table)
    # Python 3.10: SETUP_FINALLY, SETUP_WITH, SETUP_ASYNC_WITH.
    return not {122, 143, 154}.isdisjoint(code.co_code[::2])


def _returned(frame):
    # type: (FrameType) -> bool
    """True if *frame* ended by returning. Its instruction is compared with those that functions of ours end with."""
    offset = frame.f_lasti
    returns = (Run.close.__code__.co_code[-2], _returned.__code__.co_code[-2])  # None; a value
    return offset >= 0 and frame.f_code.co_code[offset] in returns


def _flush_error():
    # type: () -> str | None
    """Flush stdout and stderr, as the interpreter will do next; return what `failure.flush_error` says if one fails."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                if type(stream.flush) is not type(len):
                    raise TypeError
                if not stream.closed:
                    stream.flush()  # type: ignore[call-arg]  # mypy takes it for len
    except Exception:
        failure = failure_module()
        return failure and failure.flush_error()  # type: ignore[no-any-return]
    return ""
