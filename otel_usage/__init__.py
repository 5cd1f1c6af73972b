"""Record how a program is used, at no cost to the people who use it.  PYTEST_DONT_REWRITE

(pytest would warn, and fail under ``-W error``, where a program that is pytest imports us before its plugins are loaded.)

The front door: the public names, `init`, and the loader of everything behind them. Importing it does no work.
"""

import _thread
import os
import sys

__version__ = "0.1.0"
__all__ = [
    "SettingError",
    "Usage",
    "action",
    "bucket",
    "command",
    "count",
    "error",
    "flush",
    "heartbeat",
    "init",
    "integer",
    "mount",
    "retired",
    "run",
    "several",
    "show_flag",
    "shutdown",
    "snapshot",
    "version",
]
__dir__ = __all__.copy  # what editors complete
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType, TracebackType
    from typing import Any, Literal

    from .consent.decision import Decision
    from .consent.retirement import retired
    from .control.flag_help import show_flag
    from .control.mount import mount
    from .recording.actions import Events
    from .recording.handle import Methods as _Methods
    from .recording.recorder import Recorder
    from .schema.rows import Schema
    from .setting_error import SettingError

    Consent = Literal["opt-in", "opt-out", "ask", "host"]
    Sender = Literal["detached", "inline", "none"]
else:
    _Methods = object


class Usage(_Methods):
    """What `init` returns: records actions, counts and errors of one program.

    Every method is safe in threads, tasks and forked children, returns at once, and does nothing
    when recording is off. The functions of the same names are those of the handle that `init` returns.
    """

    # The methods are in recording/handle.py, and put in here when one is first asked for: see `_complete`.
    _recorder = None  # type: Recorder | None
    _current = None  # type: Events | None  # what this process records with, once it has recorded something
    _strict = False

    def __init__(self):
        # type: () -> None
        self.app = ""
        self.decision = None  # type: Decision | None
        self.settings = {}  # type: dict[str, Any]

    # While nothing is recorded, the handle itself stands for the action or command that a program enters.
    def __enter__(self):
        # type: () -> Usage
        return self

    def __exit__(self, kind, raised, trace):
        # type: (object, object, TracebackType | None) -> None
        return None

    def __reduce__(self):
        # type: () -> tuple[Callable[[str], Usage], tuple[str]]
        """Copied it is itself; pickled it is a name, and arrives in a worker as the worker's own handle."""
        return _load("recording.handle").handle_of, (self.app,)


def _complete(usage, name):
    # type: (Usage, str) -> Any
    """Return the attribute *name* of the handle, which has got its methods first: the class's ``__getattr__`` until then.
    Building fifteen functions that few runs use would cost every run 0.18 M instructions."""
    try:
        _load("recording.handle").complete()
    except Exception:  # a signal handler interrupts the loading; or the program has replaced our files
        if name == "run":
            return lambda main, *args, **kwargs: main(*args, **kwargs)
        if name in __all__ or name == "set":
            return lambda *args, **kwargs: (_loading and _late.append((usage, name, args, kwargs))) or usage  # type: ignore[func-returns-value]
    return object.__getattribute__(usage, name)


Usage.__getattr__ = _complete  # type: ignore[attr-defined]
_usage = Usage()  # of the app whose program this is: the module's functions are its methods
_handles = {}  # type: dict[str, Usage]  # {app: handle}: its, and those of plugins and libraries
# Set where a shell asks for completions: by argcomplete's, bash's own (``complete -C``), click's and typer's scripts.
_COMPLETING = frozenset((b"_ARGCOMPLETE", b"COMP_LINE", b"COMP_WORDS", b"_TYPER_COMPLETE_ARGS"))
if TYPE_CHECKING:
    action, command, count, error = _usage.action, _usage.command, _usage.count, _usage.error
    flush, heartbeat, run, shutdown = _usage.flush, _usage.heartbeat, _usage.run, _usage.shutdown
    snapshot = _usage.snapshot


def init(
    app: str,
    *,
    version: str,
    consent: "Consent",
    destinations: "Mapping[str, str | Mapping[str, object]] | None" = None,
    schema: "Schema | None" = None,
    sender: "Sender" = "detached",
    policy: int = 1,
    about: str = "",
    flush_s: "float | None" = None,
    service: bool = False,
    heartbeat: "Literal['thread', 'calls']" = "thread",
    flag: str = "--disable-analytics",
) -> Usage:
    """Start recording this program's run, if its user lets us, and return the handle.

    app: the program's name, lower case; it names the environment variables (``my-cli`` → ``MY_CLI_TELEMETRY``).
    consent: ``"opt-in"``, ``"opt-out"`` (a notice is shown first, and that run is not recorded) or ``"ask"`` (once, on
        a terminal; that run is not recorded); for a plugin or library also ``"host"``: what was decided for the program.
    destinations: ``{exporter entry-point name: endpoint, or {constructor keyword: value}}``; None: ``OTEL_EXPORTER_*``.
    schema: what may be recorded besides runs; see docs/schema.md.
    sender: ``"detached"``, ``"inline"`` (waited for, at most 500 ms) or ``"none"`` (records wait).
    policy: raise it when more is collected than before; about: address of the page that tells what.
    flush_s: how often a long-running program hands over actions and counts; None: 60, of a service 3600.
    service: no run; nobody sits at a terminal: the operator's environment decides, and one line at start-up says so.
    heartbeat: what writes a service's: ``"thread"``, one that sleeps until then, or ``"calls"``, whichever comes next.
    flag: switches this run off; taken out of ``sys.argv`` before the program's parser sees it. "" for none.
    Raises SettingError in tests and development (pytest, ``python -X dev``, ``OTEL_USAGE_STRICT=1``);
    elsewhere what is recorded waits, and is never sent until the settings are right: `status` says what is wrong. With
    an unknown consent nothing is recorded unless the user says so.
    Calling it again returns the first handle. Where the program is another app's (a plugin, a library, an imported
    module), actions, counts and errors are recorded, and never its run: see docs/plugins.md.

    >>> usage = otel_usage.init("mycli", version="1.4", consent="opt-out", destinations={"otlp": "https://usage.example.org"})
    """
    flush_s = (3600.0 if service else 60.0) if flush_s is None else flush_s
    settings = {
        "app": app, "version": version, "consent": consent, "destinations": destinations, "schema": schema or {},
        "sender": sender, "policy": policy, "about": about, "flush_s": flush_s, "service": service, "flag": flag,
        "heartbeat": heartbeat,
    }  # fmt: skip
    usage, strictness, frame, testing = _usage, 2, sys._getframe(1), "pytest" in sys.modules
    try:
        environ = getattr(os.environ, "_data", os.environ)  # os.environ itself costs ten times as much
        strictness = _strictness(frame, testing, environ)
        handle = _handles.get(app)  # it may have come from another process, before this call
        if handle is not None and "app" in handle.settings:
            return handle
        is_program = not _usage.app and consent != "host" and (testing or bool(service) or _is_program(app, frame))
        if not is_program:
            usage = handle or Usage()
        elif handle is not None:
            handle.__dict__ = usage.__dict__  # it and ours have one state
        typed = is_program and flag and flag in getattr(sys, "argv", ())
        flag_seen = _load("consent.flag").take_flag(flag) if typed else ""
        # We are the sender, or something that it has started.
        if b"OTEL_USAGE_CHILD" in environ or "OTEL_USAGE_CHILD" in environ:
            return usage
        if strictness:
            from .settings.development import check_in_development

            check_in_development(settings, strictness)
        usage.settings, usage.app, usage._strict = settings, app, strictness > 1
        _handles[app] = handle or usage
        if not _COMPLETING.isdisjoint(environ):  # a shell asks what may come next: no use of it
            return usage
        if consent == "host":
            return _load("consent.host").follow(usage, frame, testing)  # type: ignore[no-any-return]
        gate = _load("consent.gate")
        usage.decision = decision = gate.decide(app, consent, policy, os.environ, testing, flag_seen, service)
        if is_program and ((decision.notice and not service) or decision.overruled == "log"):
            _load("consent.due").show_due(settings, decision)
        if decision.mode != "off":
            Recorder = _load("recording.recorder").Recorder  # noqa: N806
            usage._recorder = Recorder(settings, decision, frame, is_program).begin()
            if "early" in usage.__dict__:
                _load("recording.handle").record_early(usage)
    except Exception:  # a fault of ours, or a wrong setting at a user's: the program goes on without us
        if strictness > 1:
            raise
        _fault()
    return usage


def _strictness(frame, testing, environ):
    # type: (FrameType, bool, Any) -> int
    """Return how a wrong setting is met: 2, it is an error; 1, it is said on stderr; 0, `status` says it.

    So "in development" is: tests, ``-X dev``, OTEL_USAGE_STRICT; less so, a program at a terminal that is not installed.
    """
    asked = b"OTEL_USAGE_STRICT" in environ or "OTEL_USAGE_STRICT" in environ
    if testing or sys.flags.dev_mode or (asked and os.environ["OTEL_USAGE_STRICT"] not in ("", "0")):
        return 2
    installed = "-packages" in frame.f_code.co_filename or getattr(sys, "frozen", False)
    return int(not installed and os.isatty(2))  # which is False, too, where 2 is closed


def _is_program(app, frame):
    # type: (str, FrameType) -> bool
    """True if the module that called `init`, in *frame*, belongs to the program: the usual rows of recording/program.py."""
    main, package = sys.modules.get("__main__"), str(frame.f_globals.get("__name__")).partition(".")[0]
    if main is not None and "__file__" in main.__dict__:
        folder, _, name = str(*getattr(sys, "argv", ())[:1]).replace("\\", "/").rpartition("/")
        if package == "__main__" or name == app:
            return True
        spec = main.__dict__.get("__spec__")
        if spec is not None and spec.name.partition(".")[0] == package:
            return True
        if folder.endswith(("bin", "Scripts")):
            script = frame
            while script.f_back is not None:
                script = script.f_back
            names = script.f_code.co_names  # 6 to 16 where pip, uv, Nix or Debian has written it
            for name in names if len(names) <= 24 else ():
                if name.partition(".")[0] == package:
                    return True
    return bool(_load("recording.program").is_program(app, frame, main))


def bucket(unit: str, *bounds: float) -> "tuple[object, ...]":
    """Schema field: a number, recorded only as the range it falls in: ``<1 MB``, ``1-10 MB``, ``>=10 MB``."""
    return ("bucket", unit, *bounds)


def integer(max: int) -> "tuple[object, ...]":
    """Schema field: a whole number from 0 to *max*; larger ones are recorded as *max*."""
    return ("integer", max)


def several(words: "Sequence[str]") -> "tuple[object, ...]":
    """Schema field: which of *words* hold, as a list or set of them; ``other``, if it is one, stands for all others."""
    return ("several", words)


def version() -> "tuple[object, ...]":
    """Schema field: numbers and dots, at most four (``3.11.7``)."""
    return ("version",)


# -- loading ------------------------------------------------------------------------------------------------------

# {module: the file of ours in which it stands}, "" being this one. Empty in the source tree. In the wheel, the modules
# that every recorded run needs are put together into two files: see hatch_build.py, and docs/decisions/0007-one-file.md.
_BUNDLED = {}  # type: dict[str, str]
_installed = None  # type: tuple[str, int, float] | None  # (file, inode, time of change) of the first that was loaded
_loading = {}  # type: dict[str, tuple[int, int]]  # {module: (process, thread) that loads it}
_locks = {}  # type: dict[int, Any]  # {process: lock}: a forked child may have inherited one that nobody will release
_LOCK_S = 0.5  # nobody waits longer for another thread to load a module
_late = []  # type: list[tuple[Usage, str, tuple[Any, ...], Mapping[str, Any]]]  # calls by signal handlers: see `_load`


def _load(name):
    # type: (str) -> Any
    """Return our module *name* (``recording.recorder``), straight from its bytecode where that is current.

    The import system's search costs a run 0.3 M instructions and more per module, and again for each package above it;
    this costs 0.13 M, and the packages nothing: docs/decisions/0006-own-loading.md. Where there is no bytecode, or a
    stale one, in a zip file and under ``-O``, it is loaded as `import` would.

    A program may replace our files while it runs (``mycli self-update``). Modules of two versions do not fit together:
    so, once the first file that was loaded is another than it was, nothing further is loaded.
    RACES  Threads that want one module wait for the one that loads it. A signal handler that interrupts the loading gets
    none: what it records waits in `_late` until all is loaded. What a thread had begun to load when another forked is
    begun anew in the child. Raises ImportError, and whatever the module raises.
    """
    name = _BUNDLED.get(name, name)
    if not name:
        return sys.modules[__name__]
    whole = __name__ + "." + name
    module = sys.modules.get(whole)
    if module is not None and whole not in _loading:
        return module
    me = os.getpid(), _thread.get_ident()
    lock = _locks.setdefault(me[0], _thread.RLock())
    locked = lock.acquire(True, _LOCK_S)
    try:
        module, loader = sys.modules.get(whole), _loading.get(whole)
        if loader == me and module is not None:
            raise ImportError(f"{whole} is being loaded", name=whole)
        if module is None or (loader is not None and loader[0] != me[0]):
            sys.modules.pop(whole, None)
            _loading[whole] = me
            try:
                module = _loaded(whole, name)
            finally:
                _loading.pop(whole, None)
    finally:
        if locked:
            lock.release()
    if _late and me not in _loading.values():
        _load("recording.handle").make_up()
    return module


def _loaded(whole, name):
    # type: (str, str) -> Any
    """Load a module that is not loaded yet: the second half of `_load`."""
    global _installed
    if _installed is not None:
        try:
            status = os.stat(_installed[0])
        except OSError:
            status = None
        if status is None or (status.st_ino, status.st_mtime) != _installed[1:]:
            raise ImportError(f"{__name__} was replaced while the program ran")
    folder, _, leaf = (__path__[0] + "/" + name.replace(".", "/")).rpartition("/")
    source, cached = f"{folder}/{leaf}.py", f"{folder}/__pycache__/{leaf}.{sys.implementation.cache_tag}.pyc"
    try:
        status = os.stat(source)
        _installed = _installed or (source, status.st_ino, status.st_mtime)
        descriptor = os.open(cached, os.O_RDONLY)
        try:
            code = os.read(descriptor, os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)
        current = sys.modules["_frozen_importlib_external"].MAGIC_NUMBER + bytes(4)
        for number in (int(status.st_mtime), status.st_size):
            current += (number & 0xFFFFFFFF).to_bytes(4, "little")
        if code[:16] != current or sys.flags.optimize:
            raise OSError
    except (OSError, AttributeError, KeyError):  # no bytecode, or stale; a zip file; another implementation
        __import__(whole)
        return sys.modules[whole]
    if whole in sys.modules:  # a signal handler has loaded it meanwhile
        return sys.modules[whole]
    from marshal import loads

    module = sys.modules[whole] = type(sys)(whole)
    module.__dict__.update(__package__=whole.rpartition(".")[0], __file__=source, __cached__=cached)
    module.__spec__ = type(__spec__)(whole, __loader__, origin=source)  # type: ignore[name-defined]
    try:
        exec(loads(memoryview(code)[16:]), module.__dict__)  # noqa: S102, S302  our own bytecode
    except BaseException:
        del sys.modules[whole]
        raise
    package = sys.modules.get(whole.rpartition(".")[0])
    if package is not None:  # as `import` would; else the package does it, if it is ever imported: aliases.py
        setattr(package, leaf, module)
    return module


def __getattr__(name):
    # type: (str) -> object
    """Return a public name that not every program uses: from the module that holds it, or of the handle."""
    if name in _ELSEWHERE:
        return getattr(_load(_ELSEWHERE[name]), name)
    if name in __all__:
        return getattr(_usage, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_ELSEWHERE = {
    "SettingError": "setting_error",
    "mount": "control.mount",
    "show_flag": "control.flag_help",
    "retired": "consent.retirement",
}


# -- faults of ours -----------------------------------------------------------------------------------------------


def _fault(expected=False):
    # type: (bool) -> None
    """Swallow the exception being handled; or raise it again, if the host has thrown it in through our code.

    A fault of ours is noted in ``<root>/debug/faults.log`` if that folder exists; what is *expected* (a full disk) is not.
    """
    try:
        failure = _load("recording.failure")
    except Exception:  # the program has replaced our files
        return
    if failure.is_thrown_in(sys.exc_info()[1]):
        raise
    if not expected and getattr(sys.exc_info()[1], "name", None) not in _loading:
        failure.note()


def _guarded(step, *args):
    # type: (Callable[..., object], *object) -> None
    """Call ``step(*args)``; a fault of ours never reaches the host."""
    try:
        step(*args)
    except Exception:
        _fault()
