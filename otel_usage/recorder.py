"""Observe one process's run and write what it did as OTLP JSON lines into the spool.

Ring 0 (foreground): os, sys, time, atexit and built-in modules, and only what tests/test_imports.py lists.
`Run` (what happened) and `Recorder` (how it is kept) share a module, and signatures are typed in comments: another module
would cost every run 0.4 M instructions, annotations 0.15 M.
"""

import atexit
import os
import sys
from _functools import partial, reduce  # type: ignore[import-not-found]  # functools itself is Python code
from _operator import matmul
from _thread import RLock, get_ident
from _weakref import ref
from time import monotonic, monotonic_ns, sleep, time, time_ns  # hosts replace those of the module, in tests

from . import __version__, _ring0

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CodeType, FrameType, ModuleType, TracebackType
    from typing import Any

    from . import Decision, Usage
    from .events import Events

FORMAT = "1"  # folder of the spool's format version
FD = 127  # our descriptor's number: low ones are the host's to count on
MAX_OPTIONS = 64
SEND_DELAY_S = 10.0
STALE_S = 86_400.0  # a token further ahead than this is a clock jump, not a circuit breaker
INLINE_S = 0.5  # what a host waits for an inline sender, at most
LONG_NS = 60_000_000_000  # of a run that lasted longer it is asked again, at its end, whether it may be kept
LOG_S = 10.0  # what it waits for the child that prints
BRAKE = b"OTEL_USAGE_CHILD"

# What the child runs first, with nothing of ours on its path yet: let go of everything that is the host's.
BOOT = """import os,sys,time
try: fds=[int(n) for n in os.listdir("/proc/self/fd")]
except OSError: fds=range(3,1024)
for fd in fds:
    if fd>2:
        try: os.close(fd)
        except OSError: pass
text=b""
while 1:
    part=os.read(0,65536)
    if not part: break
    text+=part
fd=os.open(os.devnull,os.O_RDONLY)
os.dup2(fd,0)
os.close(fd)
os.chdir("/")
delay,ours,told=text.split(b"\\n",2)
time.sleep(float(delay))
from ast import literal_eval
ours=literal_eval(ours.decode())
sys.path[:]=ours["path"]
from otel_usage.sender import start
start(ours,told.decode())
"""


def fault():
    # type: () -> None
    """Note the exception being handled, which is ours, in ``<home>/debug/faults.log`` if that folder exists."""
    try:
        from .failure import note

        note()
    except Exception:  # not even that: the host must never know
        pass


def guarded(step, *args):
    # type: (Callable[..., object], *object) -> None
    """Call ``step(*args)``; a fault of ours never reaches the host."""
    try:
        step(*args)
    except Exception:
        fault()


# -- how the run ends -------------------------------------------------------------------------------------------


class _Exit(partial):  # type: ignore[misc]  # of _functools, which no type checker knows
    """What sys.exit is while a run is observed. Calling it runs C code only; asked who it is, it says sys.exit.

    ``raised @ _Exit(…)`` is the C function sys.exit itself: no frame of ours is ever in a traceback.
    """

    __module__ = "sys"
    __doc__ = sys.exit.__doc__
    __array_ufunc__ = None
    __rmatmul__ = sys.exit

    def __repr__(self):
        # type: () -> str
        return "<built-in function exit>"

    def __reduce_ex__(self, protocol):
        # type: (object) -> str
        return "exit"


# Frames below which a sys.exit is the parser's: help and version if its status is 0, else a usage error.
_PARSING = ("parse_args", "parse_known_args", "_parse_known_args", "parse_intermixed_args", "error")
_TRUSTED = ("argparse", "click", "otel_usage", "runpy", "typer")  # where nobody turns one SystemExit into another


class Run:
    """One run of a program, as its parent process will see it: what was called, and how it ended.

    words: the command's path, None while unknown. options: names of declared options that were given.
    parsed: ``help`` or ``usage_error`` if parsing ended there, told by an adapter.
    How the exit code is known without touching the host: docs/decisions/0002-exit-codes.md.
    """

    __array_ufunc__ = None  # numpy scalars leave ``status @ run`` to us

    def __init__(self, frame, on_named):
        # type: (FrameType | None, Callable[[], None]) -> None
        self.words: Sequence[str] | None = None
        self.options: list[str] = []
        self.settled = False  # a framework has told the path: others, called later, are the host's own affair
        self.fixed = False  # the host has
        self.parsed = ""
        self.noted = ("", "")  # (error type, outcome) of what a framework turns into an exit code
        self.hint = ""  # outcome that the last sys.exit stands for, from who called it
        self.on_named: Callable[[], None] | None = on_named
        self.pid = os.getpid()
        self.ended: tuple[int | None, str, str] | None = None  # where another process than this one is watched
        threading = sys.modules.get("threading")
        self.thread = threading.main_thread().ident if threading is not None else get_ident()
        self.status: object = None
        self.fate = ""  # of the last SystemExit: "" none, "alive", "top" it ended the program, "caught"
        self.at = -1  # where the outermost frame stood when it was raised
        self.origin: tuple[object, int] | None = None  # who raised it, (code, instruction), if somebody may catch it
        self.hooked = False  # it was sys.excepthook
        self.error = ""
        self.mark: ref[set[int]] | None = None
        self.package = ""
        self.frame: FrameType | None = None
        if frame is not None:
            names = frame.f_globals
            self.package = (names.get("__package__") or names.get("__name__") or "").partition(".")[0]
            self.watch(frame)
        self.exit = plain = sys.exit
        if type(plain) is type(len):  # else it is the host's own, and stays
            # sys.exit(status) is now reduce(matmul, (run, raise, raise), status): C all the way, but for `__rmatmul__`.
            again = _Exit(reduce)
            sys.exit = leave = _Exit(reduce, matmul, (self, again, again))
            leave.__dict__.update(__name__="exit", __qualname__="exit", __wrapped__=plain)

    def __rmatmul__(self, status):
        # type: (object) -> SystemExit
        """Return the SystemExit that ``sys.exit(status)`` is to raise, and note it."""
        if isinstance(status, SystemExit):
            raised = status
        elif status is None:
            raised = SystemExit()
        elif isinstance(status, tuple):  # a message before 3.12, then SystemExit's arguments: left to sys.exit
            self.fate = "caught"
            return status  # type: ignore[return-value]
        else:
            raised = SystemExit(status)
        guarded(self.leaving, raised, sys._getframe().f_back, sys.exc_info()[1])
        return raised

    def __matmul__(self, other):
        # type: (object) -> SystemExit
        return self.__rmatmul__(None)  # sys.exit()

    def close(self):
        # type: () -> None
        """Let go of the interpreter: what is still held at its end costs it time."""
        if getattr(sys.exit, "func", None) is reduce:
            sys.exit = self.exit
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        self.frame = self.on_named = None

    def watch(self, frame):
        # type: (FrameType | None) -> None
        """Keep the outermost frame of the main program, reached from *frame*."""
        if get_ident() != self.thread:
            frame = sys._current_frames().get(self.thread)
        while frame is not None and frame.f_back is not None:
            frame = frame.f_back
        # Any other is the interpreter's own start-up: the program comes later.
        if frame is not None and frame.f_globals.get("__name__") in ("__main__", "runpy"):
            self.frame = frame

    def named(self, words, final=True):
        # type: (Sequence[str], bool) -> None
        """Note the command's path as known so far; not *final* if a sub-command is about to follow."""
        if not self.fixed:
            self.words = words
        if self.frame is None:
            self.watch(sys._getframe())
        if final and self.on_named is not None:
            self.on_named()

    def command(self, name, frame):
        # type: (str, FrameType) -> Run
        """Name the run after *name*, if it is a literal of the code in *frame*. The first name stays."""
        if not self.words:
            constants = frame.f_code.co_consts
            literal = any([name == c or (isinstance(c, (tuple, frozenset)) and name in c) for c in constants])
            guarded(self.named, str(name).split() if literal else ["(unknown)"])
            self.fixed = True
        return self

    def given(self, option):
        # type: (str) -> None
        """Note that a declared option was given."""
        if option not in self.options and len(self.options) < MAX_OPTIONS:
            self.options.append(option)

    def leaving(self, raised, frame, handled, trace=None):
        # type: (SystemExit, FrameType | None, BaseException | None, TracebackType | None) -> None
        """Note a SystemExit about to be raised. Whether it ends the program shows when it dies: see `_died`.

        frame: who called sys.exit; handled: the exception it was handling; trace: the traceback so far.
        """
        if get_ident() != self.thread or self.fate == "top" or frame is None:  # None: called by atexit itself
            return
        if self.frame is None:
            self.watch(frame)
        last = self.mark() if self.mark is not None else None
        again = handled is not None and handled.__dict__.get("_otel_usage", self) is last
        if not again or raised.code != self.status:
            self.hint, self.error = "", "SystemExit"  # else the same once more
        self.status = raised.code
        self.origin, self.hooked = None, False
        if self._doubtful(frame):
            self.origin = (
                (trace.tb_frame.f_code, trace.tb_lasti) if trace is not None else (frame.f_code, frame.f_lasti)
            )
        if self.frame is not None:
            self.at = self.frame.f_lasti
        if raised.code:
            error, outcome = self.noted if _module(frame) in ("click", "typer") else ("", "")
            if handled is not None:
                from .failure import error_type, outcome_of

                error = error or error_type(handled, self.package)
                outcome = outcome or outcome_of(handled) or outcome_of(handled.__cause__)
            self.error, self.hint = error or self.error, outcome or self.hint
        mark: set[int] = set()  # dies with it
        raised.__dict__["_otel_usage"] = mark
        self.mark = ref(mark, self._died)
        self.fate = "alive"

    def _doubtful(self, frame):
        # type: (FrameType) -> bool
        """Take a hint from who called sys.exit in *frame*; True if somebody on the way out may catch it."""
        doubt = False
        for _ in range(64):
            code, module = frame.f_code, _module(frame)
            if code.co_name in _PARSING and module == "argparse":
                self.hint = "usage_error" if self.status else "help"
            elif code.co_name == "_main_shell_completion":
                self.hint = "help"
            if frame.f_back is None:
                self.hooked = code is getattr(sys.excepthook, "__code__", None)
                return doubt or frame is not self.frame
            if not doubt and _catches(code):
                doubt = module not in _TRUSTED
            frame = frame.f_back
        return True

    def _died(self, mark):
        # type: (ref[set[int]]) -> None
        # With no Python frame left it was the interpreter that let go of it: it ended the program, or was the
        # __context__ of the one that did, raised by somebody who caught this one.
        if mark is self.mark:
            top = sys._getframe().f_back is None and get_ident() == self.thread
            self.fate = "caught"
            if top:
                guarded(self._ended)

    def _ended(self):
        # type: () -> None
        """Note that the last SystemExit ended the program, if it did."""
        frame = self.frame
        if frame is None:
            return
        if not self.hooked and (self.origin is not None or frame.f_lasti != self.at):
            from .failure import passed, reached

            if not passed(frame, self.at) or not reached(frame, self.origin):
                return
        self.fate = "top"

    def path(self):
        # type: () -> str
        """Return what ``usage.command`` says."""
        return "(unknown)" if self.words is None else " ".join(self.words) or "(root)"

    def find_spec(self, name, path=None, target=None):
        # type: (str, Any, Any) -> Any
        """Return what the other finders find; have a framework's spec tell us when its import ends.

        The import system sets ``spec._initializing`` to False as its last step, so no frame of ours is around it.
        """
        if self.frame is None:  # we were there before the program: this is it, importing
            self.watch(sys._getframe())
        if name not in HOOKS:
            return None
        for finder in sys.meta_path:
            if finder is not self:
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    guarded(_tell, self, spec)
                    return spec
        return None

    # As a context manager: the command of a program without a framework.

    def __enter__(self):
        # type: () -> Run
        return self

    def __exit__(self, kind, raised, trace):
        # type: (object, BaseException | None, object) -> None
        if isinstance(raised, SystemExit):
            guarded(self.leaving, raised, sys._getframe(1), raised.__context__, trace)

    def ending(self):
        # type: () -> tuple[int | None, str, str]
        """Return (exit code the parent sees, outcome, error type); the code is None where it can't be known."""
        if self.ended is not None:
            return self.ended
        code: int | None = None
        hint, error = self.hint or self.parsed, ""
        last = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        trace = last.__traceback__ if last is not None else None
        frame = self.frame
        if frame is not None and _returned(frame):
            code = 0
        elif (
            last is not None
            and trace is not None
            and (trace.tb_frame is frame or (frame is None and trace.tb_frame.f_back is None))
            and not (self.hooked and self.fate == "top")
        ):
            from .failure import error_type, outcome_of

            code = 130 if isinstance(last, KeyboardInterrupt) else 1
            hint, error = outcome_of(last), error_type(last, self.package)
        elif self.fate == "top" and (self.status is None or (self.status.__class__ is int and not self.status)):
            code = 0
        elif self.fate in ("top", "alive"):
            from .failure import status_code, surfaced

            if self.fate == "top" or surfaced(self.mark and self.mark(), frame, self.at):
                code, error = status_code(self.status), self.error
        if code is not None and not _flushed():
            code, error, hint = 120, "BrokenPipeError", ""
        if code is None:
            return None, "unknown", ""
        if code == 0:
            return 0, "help" if hint == "help" else "success", ""
        return code, hint if hint and hint != "help" else "failure", error


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
    operations = code.co_code[::2]  # Python 3.10
    return any([number in operations for number in (122, 143, 154)])  # SETUP_FINALLY, SETUP_WITH, SETUP_ASYNC_WITH


def _returned(frame):
    # type: (FrameType) -> bool
    """True if *frame* ended by returning."""
    at = frame.f_lasti
    returns = ((lambda: None).__code__.co_code[-2], (lambda x: x).__code__.co_code[-2])
    return at >= 0 and frame.f_code.co_code[at] in returns


def _flushed():
    # type: () -> bool
    """Flush stdout if it is a pipe or socket; False if nobody reads it: the interpreter will exit with 120."""
    try:
        if os.fstat(1).st_mode & 0o170000 in (0o010000, 0o140000) and sys.stdout is not None and not sys.stdout.closed:
            sys.stdout.flush()
    except BrokenPipeError:
        return False
    except (OSError, ValueError, AttributeError):
        pass
    return True


# -- frameworks -------------------------------------------------------------------------------------------------


def _hook_argparse(run, module):
    # type: (Run, ModuleType) -> None
    # Installed now, loaded at the first parse: many programs import argparse and never use it.
    class Seen:  # in here, since it costs 65,000 instructions
        """A method that tells when it is looked up on an instance, and then is itself again.

        So nothing of ours is on the stack while the host's code runs.
        """

        def __init__(self, name):
            # type: (str) -> None
            self.name = name
            self.function = module.ArgumentParser.__dict__[name]

        def __get__(self, instance, owner=None):
            # type: (object, object) -> Any
            if instance is not None:
                guarded(self.tell, instance)
            return self.function.__get__(instance, owner)

        def __getattr__(self, name):
            # type: (str) -> Any
            return getattr(self.function, name)

        def tell(self, parser):
            # type: (object) -> None
            began = _ring0("argparse_adapter").began

            began(run, module, self.name, parser)

    for name in ("_parse_known_args", "parse_args"):
        setattr(module.ArgumentParser, name, Seen(name))


def _hook_click(run, module):
    # type: (Run, Any) -> None
    push = module.push_context

    def first(context):
        # type: (object) -> None
        def load():
            # type: () -> None
            install = _ring0("click_adapter").install

            install(run, module, push)

        module.push_context = push  # whatever happens next, the host has click as it was
        guarded(load)
        module.push_context(context)

    module.push_context = first


HOOKS = {"argparse": _hook_argparse, "click.core": _hook_click, "typer._click.core": _hook_click}


def _tell(run, spec):
    # type: (Run, Any) -> None
    plain = type(spec)  # type: Any

    class Telling(plain):  # type: ignore[misc]
        def __setattr__(self, name, value):
            # type: (str, object) -> None
            plain.__setattr__(self, name, value)
            if name == "_initializing" and not value:
                spec.__class__ = plain
                module = sys.modules.get(spec.name)
                if module is not None:  # None: the import failed
                    guarded(HOOKS[spec.name], run, module)

    spec.__class__ = Telling


def hook(run):
    # type: (Run) -> None
    """Have every framework that is or will be imported tell *run* what is called."""
    for name in HOOKS:
        module = sys.modules.get(name)
        if module is not None:
            guarded(HOOKS[name], run, module)
    sys.meta_path.insert(0, run)


# -- OTLP JSON --------------------------------------------------------------------------------------------------


def quote(text):
    # type: (str) -> str
    """Return *text* as a JSON string."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return '"' + text + '"'
    from _json import encode_basestring_ascii  # a shared object: loaded only when needed

    return encode_basestring_ascii(text)


def line(signal, inner, resource, body):
    # type: (str, str, str, str) -> bytes
    """Return one line of an OTLP file: one resource, one scope. signal: ``Spans`` or ``Metrics``; inner: its list.

    resource and body are OTLP JSON lists already, without their brackets.
    """
    return (
        f'{{"resource{signal}":[{{"resource":{{"attributes":[{resource}]}},'
        f'"scope{signal}":[{{"scope":{{"name":"otel_usage","version":"{__version__}"}},"{inner}":[{body}]}}]}}]}}\n'
    ).encode("ascii", "replace")


# -- recording --------------------------------------------------------------------------------------------------


class Recorder:
    """Keeps one process's run and hands it, with what else it recorded, to the spool.

    Concurrency: every method may be called from any thread; a forked child records actions and counts in files of
    its own, and never a run. Disk: one file in ``open/``, locked while the process lives, with a stub that says what
    to report if it dies; rewritten in place and renamed into ``new/`` at exit. See docs/spool.md.
    """

    def __init__(self, settings, decision, frame):
        # type: (dict[str, Any], Decision, FrameType | None) -> None
        ids = os.urandom(24).hex()
        self.trace, self.root = ids[:32], ids[32:]
        self.settings = settings
        self.decision = decision
        self.app: str = settings["app"]
        # What is kept locally lies apart: a later on is for what comes, and no sender looks there.
        self.folder = decision.home + "/" + FORMAT + ("/local" if decision.mode == "local" else "")
        self.start_ns = time_ns()
        self.clock_ns = monotonic_ns()
        self.path = f"{self.folder}/open/{self.start_ns:016x}-{self.root}.traces.jsonl"
        self.descriptor = -1
        self.inode = (0, 0)
        self.owner = True  # False in forked children, and once the run is written
        self.tty = False
        self.log: list[bytes] = []
        self._events: Events | None = None
        self.handle: Usage | None = None  # it keeps our events at hand
        self.lock = RLock()  # re-entrant: a signal handler may count while it is held
        app, version = quote(self.app), quote(str(settings["version"])[:64])
        self.resource = (
            f'{{"key":"service.name","value":{{"stringValue":{app}}}}},'
            f'{{"key":"service.version","value":{{"stringValue":{version}}}}},'
            f'{{"key":"process.runtime.name","value":{{"stringValue":"{sys.implementation.name}"}}}},'
            f'{{"key":"process.runtime.version","value":{{"stringValue":"{sys.version.split()[0]}"}}}}'
        )
        if getattr(sys.exit, "func", None) is reduce:  # `otel` watches already: a run is watched once
            self.run: Run = sys.exit.args[1][0]  # type: ignore[attr-defined]
            self.run.on_named = self._stub
        else:
            self.run = Run(frame, self._stub)

    # Start.

    def begin(self):
        # type: () -> Recorder | None
        """Open this run's file and start observing. Returns None if this run can't be recorded."""
        if _worker():
            self.owner = False
            self.run.close()
            atexit.register(self.finish)
            return self
        if self.decision.mode != "log":
            try:
                if not self._ours():
                    self.run.close()
                    return None
                self._create()
            except OSError:  # read-only, full, no folder: nothing to do, nobody to tell
                self.run.close()
                return None
        try:
            self.tty = os.isatty(1)
        except OSError:
            pass
        if self.run not in sys.meta_path:
            hook(self.run)
        atexit.register(self.finish)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)
        return self

    def _ours(self):
        # type: () -> bool
        """True if the app's folder is this user's; makes what is missing above it."""
        home = self.decision.home
        if not home:
            return False
        if not hasattr(os, "geteuid"):
            return True
        me = os.geteuid()
        try:
            return os.stat(home).st_uid == me
        except FileNotFoundError:
            from .spool import own

            return own(home)

    def _create(self):
        # type: () -> None
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        try:
            descriptor = os.open(self.path, flags, 0o600)
        except FileNotFoundError:
            from .spool import make

            make(self.decision.home, self.folder)
            descriptor = os.open(self.path, flags, 0o600)
        try:
            for free in range(FD, FD + 64):
                try:
                    os.fstat(free)
                except OSError:  # nobody's
                    os.dup2(descriptor, free, False)
                    os.close(descriptor)
                    descriptor = free
                    break
        except OSError:  # beyond the limit on descriptors: keep the low one
            pass
        status = os.fstat(descriptor)
        self.descriptor, self.inode = descriptor, (status.st_dev, status.st_ino)
        if hasattr(os, "lockf"):
            os.lockf(descriptor, os.F_TLOCK, 0)  # after the dup: closing any descriptor of the file drops the lock

    def _own(self):
        # type: () -> int
        """Return a descriptor that still is our file's: hosts close and reuse descriptors.

        Raises FileNotFoundError if the sender took us for dead: it has reported us.
        """
        try:
            status = os.fstat(self.descriptor)
            if (status.st_dev, status.st_ino) == self.inode and status.st_nlink:
                return self.descriptor
        except OSError:
            pass
        self.descriptor = os.open(self.path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        return self.descriptor

    def _write(self, text):
        # type: (bytes) -> None
        """Make *text* the content of our open file, or remove it."""
        descriptor = self._own()
        try:
            if os.pwrite(descriptor, text, 0) != len(text):
                raise OSError("short write")
            os.ftruncate(descriptor, len(text))
        except OSError:  # disk full: half a line is worse than none
            os.unlink(self.path)
            raise

    # What happens meanwhile.

    def _stub(self):
        # type: () -> None
        """Write what the sender reports if this process dies."""
        if self.owner and self.descriptor >= 0:
            try:
                self._write(
                    line("Spans", "spans", self.resource, self._run_span(None, "unfinished", "", self.start_ns))
                )
            except OSError:
                pass

    def events(self):
        # type: () -> Events | None
        """Return what keeps actions and counts, loading it for the first of them; None where it can't be loaded."""
        if self._events is None:
            try:
                from .events import Events

                with self.lock:
                    if self._events is None:
                        self._events = Events(self)
            except (ImportError, KeyError):  # a signal handler, that interrupts this very import
                pass
            except Exception:
                fault()
        return self._events

    def _forked(self):
        # type: () -> None
        """In a forked child: what the parent holds is the parent's to report."""
        self._events, self.lock = None, RLock()
        if self.handle is not None:
            self.handle._kept = None
        if self.owner:
            self.owner = False
            try:
                status = os.fstat(self.descriptor)
                if (status.st_dev, status.st_ino) == self.inode:
                    os.close(self.descriptor)
            except OSError:
                pass
            self.descriptor = -1

    # What is written.

    def _run_span(self, code, outcome, error, end_ns):
        # type: (int | None, str, str, int) -> str
        """Return the run as OTLP JSON. Written out: put together from pairs it costs ten times as much."""
        run = self.run
        path = run.path()
        name = self.app if path == "(root)" else self.app + " " + path
        options = ",".join(['{"stringValue":' + quote(option) + "}" for option in run.options])
        return (
            f'{{"traceId":"{self.trace}","spanId":"{self.root}","name":{quote(name)},"kind":1,'
            f'"startTimeUnixNano":"{self.start_ns}","endTimeUnixNano":"{end_ns}","attributes":['
            f'{{"key":"usage.kind","value":{{"stringValue":"run"}}}},'
            f'{{"key":"usage.command","value":{{"stringValue":{quote(path)}}}}},'
            f'{{"key":"usage.outcome","value":{{"stringValue":"{outcome}"}}}},'
            f'{{"key":"usage.options","value":{{"arrayValue":{{"values":[{options}]}}}}}},'
            f'{{"key":"process.executable.name","value":{{"stringValue":{quote(self.app)}}}}},'
            + ("" if code is None else f'{{"key":"process.exit.code","value":{{"intValue":"{code}"}}}},')
            + (f'{{"key":"error.type","value":{{"stringValue":{quote(error)}}}}},' if error else "")
            + f'{{"key":"usage.ci","value":{{"boolValue":{"true" if self.decision.ci else "false"}}}}},'
            f'{{"key":"usage.tty","value":{{"boolValue":{"true" if self.tty else "false"}}}}}],'
            + ('"status":{"code":2}}' if code else '"status":{}}')
        )

    def finish(self):
        # type: () -> None
        """Write the run down and wake the sender. Called at exit; in a forked child it is only a flush."""
        atexit.unregister(self.finish)
        try:
            if self.owner:
                self.owner = False
                self._finish()
            elif self._events is not None:
                self._events.flush()
        except OSError:  # full, read-only, gone: the run is lost, and nobody hears of it
            pass
        except Exception:
            fault()
        self.run.close()

    def _finish(self):
        # type: () -> None
        code, outcome, error = self.run.ending()
        end_ns = self.start_ns + max(0, monotonic_ns() - self.clock_ns)
        if end_ns - self.start_ns > LONG_NS:
            from .forget import withdrawn

            if withdrawn(self):
                return
        spans, metrics = [self._run_span(code, outcome, error, end_ns)], b""
        if self._events is not None:
            actions, metrics = self._events.take()
            spans += actions
        text = line("Spans", "spans", self.resource, ",".join(spans))
        if self.decision.mode == "log":
            self.log.append(text)
        else:
            self._write(text)
            os.rename(self.path, self.path.replace("/open/", "/new/"))
            os.close(self.descriptor)
        if metrics and self._events is not None:
            self._events.put("metrics", metrics)
        self.wake()

    # The sender.

    def wake(self, orphan=False):
        # type: (bool) -> None
        """Start a sender, unless one is due soon, the circuit breaker is open, or nothing may be sent.

        Races are harmless: two processes may both find the token due; the second sender finds the lock.
        """
        mode, how = self.decision.mode, os.environ.get("OTEL_USAGE_SENDER", "")
        if mode == "log":
            lines, self.log = self.log, []
            self._spawn(0.0, LOG_S, lines, orphan)  # waited for at exit alone
            return
        told = self.settings["sender"]
        inline = how == "inline" or (not how and (told == "inline" or bool(self.decision.ci) or _contained()))
        if mode != "on" or "none" in (how, told) or not hasattr(os, "posix_spawn") or getattr(sys, "frozen", False):
            from .spool import trim

            trim(self.folder)
            return
        delay = SEND_DELAY_S
        try:
            delay = max(0.0, float(os.environ.get("OTEL_USAGE_SEND_DELAY_S", "") or delay))
        except ValueError:
            pass
        now, token = time(), self.folder + "/wake"
        try:
            found = os.stat(token)
            ahead = found.st_mtime - now
        except FileNotFoundError:
            ahead = 0.0
            os.close(os.open(token, os.O_WRONLY | os.O_CREAT, 0o600))
        # A pause for wrong settings has their checksum in its token, and ends with them.
        if (delay if inline else 0.0) < ahead <= STALE_S and (
            ahead <= delay or not found.st_size or not _ring0("fingerprint").changed(token, repr(self.settings))
        ):
            return
        if inline:
            self._spawn(0.0, INLINE_S, [], orphan=False)
        else:
            os.utime(token, (now + delay, now + delay))
            self._spawn(delay, 0.0, [], orphan)

    def _spawn(self, delay, wait_s, lines, orphan):
        # type: (float, float, list[bytes], bool) -> None
        """Start the child: own session, no stream, descriptor or folder of the host's, nothing secret to be seen.

        wait_s: wait for it that long, at most. orphan: leave no child that the host's own wait() could meet.
        """
        settings, decision = self.settings, self.decision
        program = settings.get("python") or sys.executable
        if not program:
            return
        # The script's folder comes last, so that its modules shadow none of ours.
        path = settings.get("path") or [
            p if p[0] == "/" else os.path.abspath(p) for p in sys.path[1:] + sys.path[:1] if p
        ]
        ours = {"app": self.app, "path": path, "home": decision.home, "mode": decision.mode}
        ours.update(since_s=decision.since_s, ci=decision.ci, lines=lines)
        text = f"{delay}\n{ours!r}\n{settings!r}".encode()
        if hasattr(os, "memfd_create"):
            source = os.memfd_create("otel-usage")
            os.write(source, text)
            os.lseek(source, 0, 0)
        else:
            source, sink = os.pipe()
            os.set_blocking(sink, False)
            whole = os.write(sink, text) == len(text)
            os.close(sink)
            if not whole:  # larger than a pipe holds: the records wait
                os.close(source)
                return
        os.set_inheritable(source, True)
        command = [
            program,
            "-I",
            "-S",
            *(["-B"] if sys.dont_write_bytecode else []),
            "-c",
            BOOT,
            "otel-usage",
            self.app,
        ]
        stdin = 0
        if orphan and os.access("/bin/sh", os.X_OK):
            # By way of 3: a shell takes the standard input of what it puts into the background from /dev/null.
            stdin, command, wait_s = 3, ["/bin/sh", "-c", '"$@" <&3 3<&- &', "sh", *command], 1.0
        actions: list[Any] = [
            (os.POSIX_SPAWN_DUP2, source, stdin),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        ]
        if decision.mode != "log":
            actions.append((os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0))
        environ = {**os.environ._data, BRAKE: b"1"}  # type: ignore[attr-defined]
        try:
            try:
                pid = os.posix_spawn(command[0], command, environ, file_actions=actions, setsid=True)
            except NotImplementedError:
                pid = os.posix_spawn(command[0], command, environ, file_actions=actions, setpgroup=0)
        finally:
            os.close(source)
        end = monotonic() + wait_s
        while wait_s and monotonic() < end and not os.waitpid(pid, os.WNOHANG)[0]:
            sleep(0.001 if orphan else 0.005)


def _worker():
    # type: () -> bool
    """True if multiprocessing started this process: what it does is its parent's run."""
    process = sys.modules.get("multiprocessing.process")
    if process is None:
        return False
    return process.parent_process() is not None or hasattr(process.current_process(), "_inheriting")


def _contained():
    # type: () -> bool
    """True if a container ends when we do, and would take the sender along."""
    return 1 in (os.getpid(), os.getppid()) and (
        os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv") or "KUBERNETES_SERVICE_HOST" in os.environ
    )
