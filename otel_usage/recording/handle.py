"""The methods of the handle that `init` returns. Loaded when a program first uses one of them.

Most runs of most programs use none, and building them costs a run 0.18 M instructions: so the front door's `Usage` is
only a shell, and `complete` puts these methods into it. From then on it is an ordinary class.
"""

import sys
from os import getpid
from time import monotonic  # bound here, before a program's tests can patch the module

from .. import Usage, _fault, _guarded, _handles, _late, _load, _loading, _usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType
    from typing import Any, NoReturn, TypeVar

    from .actions import Action, Events
    from .recorder import Recorder
    from .run import Run

    T = TypeVar("T")

MAX_EARLY = 16  # errors that are kept until `init` is called
FUNCTIONS = (
    "action",
    "command",
    "count",
    "error",
    "flush",
    "heartbeat",
    "run",
    "shutdown",
    "snapshot",
)  # of otel_usage, too


def handle_of(app: str) -> Usage:
    """Return this process's handle of *app*, the program's for "": what a copied or pickled handle becomes.

    It records nothing until `init` is called for that app in this process.
    """
    if not app:
        return _usage
    usage = _handles.get(app)
    if usage is None:
        usage = _handles.setdefault(app, Usage())
        usage.app = app
    return usage


class Methods:  # of `Usage`, whose attributes they use
    """Every method is safe in threads, tasks and forked children, returns at once, and does nothing when recording is
    off. Inside them, *self* is a `Usage`."""

    if TYPE_CHECKING:
        settings: dict[str, Any]
        _strict: bool
        _current: Events | None
        _recorder: Recorder | None

    @property
    def recording(self) -> bool:
        """True while this process records."""
        return self._recorder is not None

    # Called wrongly, no method raises at a user's: what it can't use is dropped and counted. Hence names that may be
    # missing, and *more*, which type checkers refuse, of what people pass by position: ``usage.error("x", str(exc))``.

    def action(self, name: str = "", /, *more: "NoReturn", **fields: object) -> "Action | Usage":
        """Record that the action *name* happened; as a context manager, how long it took too.

        *name* and *fields* must be declared in the schema. Inside ``with … as a``, ``a.set(format="pdf")``
        adds a field that is known only later.

        >>> with usage.action("report.upload", retried=False) as upload:
        ...     upload.set(format="pdf")
        """
        return self._record("action", name, more, fields) or self  # type: ignore[return-value]

    def count(self, name: str = "", n: int = 1, /, *more: "NoReturn", **fields: object) -> None:
        """Add *n* to the declared counter *name*.

        >>> usage.count("events.handled", 3, channel="slack")
        """
        events = self._current
        if events is None or more or events.pid != getpid():  # off, in development, the first, or in a forked child
            if self._strict:
                self._check("count", name, (*more, n) if n.__class__ is not int or n < 0 else more, fields)
            events = self._events()
            if events is None:
                if _loading and self._recorder is not None:
                    _late.append((self, "count", (name, n, *more), fields))  # type: ignore[arg-type]
                return
            events.drop("undeclared_field", len(more))
        # Only noted here: `Events.settle` adds up 256 at a time. Written out, since one more call costs a fifth.
        events.note((name, n, fields))
        if len(events.pending) >= 256 or monotonic() >= events.due:
            events.tick()

    def error(self, name: str = "", /, *more: "NoReturn", **fields: object) -> None:
        """Record that the declared error *name* happened. Takes no message: messages hold people's data.

        As `otel_usage.error` also before `init`, which may need what the program has to read first: sixteen are kept until then.

        >>> usage.error("config.invalid")
        """
        if self is _usage and not self.app:
            early = self.__dict__.setdefault("early", [])
            if len(early) < MAX_EARLY:
                early.append((name, more, fields))
        self._record("error", name, more, fields)

    def heartbeat(self, name: str = "", /, *more: "NoReturn", **fields: object) -> None:
        """Record that a service is alive, with the declared *fields*.

        >>> usage.heartbeat("alive", plugins=4)
        """
        self._record("heartbeat", name, more, fields)

    def _record(
        self, kind: str, name: str, more: "tuple[object, ...]", fields: "Mapping[str, object]"
    ) -> "Action | None":
        if self._strict:
            self._check(kind, name, more, fields)
        events = self._events()
        if events is None:
            if _loading and self._recorder is not None:
                _late.append((self, kind, (name, *more), fields))  # type: ignore[arg-type]
            return None
        events.drop("undeclared_field", len(more))
        return events.action(kind, name, fields)

    def _events(self) -> "Events | None":
        recorder = self._recorder  # once: another thread may shut down meanwhile
        if recorder is None:
            return None
        events = recorder._events  # None until there is something that it could keep
        if events is None or events.pid != getpid():
            try:
                events = _load("recording.actions").of_this_process(recorder)
            except (
                ImportError,
                KeyError,
            ):  # in a signal handler that interrupts the loading; or the files were replaced
                _fault(expected=True)
                events = None
        if not self._strict:
            self._current = events
        return events

    def snapshot(self, fields: "Callable[[], Mapping[str, object]] | None" = None, /, name: str = "") -> None:
        """Have every heartbeat of a service hold what *fields* returns: ``{declared field: value}``.

        It is asked in a thread of its own, at most hourly, and should take no longer than 50 ms; one that raises, or has not
        answered after a second, is counted as dropped. With ``heartbeat="calls"`` there is no thread: the call that sees to the
        heartbeat asks, and waits.
        name: of the declared heartbeat; by default of the only one. Nothing happens in a program that is no service.

        >>> usage.snapshot(lambda: {"plugins": enabled_plugins()})
        """
        recorder = self._recorder
        if recorder is not None and recorder.service is not None and callable(fields):
            heartbeat = recorder.service.heartbeat
            heartbeat.snapshot, heartbeat.name = fields, str.__str__(name) if issubclass(type(name), str) else ""

    def command(self, name: str = "", /, *more: "NoReturn") -> "Command | Usage":
        """Name the command that is running, in a program without a command-line framework.

        *name* must be a literal in the calling function: a word that the code does not hold may be
        one that a user typed, and is recorded as ``(unknown)``. In a plugin or library it names nothing.

        >>> with usage.command("scan"):
        ...     scan()
        """
        frame = sys._getframe(1)
        if self._strict:
            from ..schema.declaration import check_command

            check_command(name, more, frame.f_code.co_consts)
        recorder = self._recorder
        if recorder is None or not recorder.has_run:
            return self  # type: ignore[return-value]
        # A subclass of str may be equal to a word in the code and hold another: its text is what counts.
        _name(recorder.run, str.__str__(name) if issubclass(type(name), str) else "(unknown)", frame)
        return Command(self)

    def run(self, main: "Callable[..., T]", /, *args: "Any", **kwargs: "Any") -> "T":
        """Return ``main(*args, **kwargs)``, recording how it ended.

        >>> usage.run(main, argv)
        """
        recorder = self._recorder
        if recorder is not None and recorder.has_run:
            with Command(self):
                return main(*args, **kwargs)
        return main(*args, **kwargs)

    def flush(self, *more: "NoReturn") -> None:  # noqa: ARG002
        """Hand over what was recorded so far. Never needed at exit."""
        events = self._events()
        if events is not None:
            events.flush()

    def shutdown(self, *more: "NoReturn") -> None:  # noqa: ARG002
        """Finish the run now and record nothing further in this process."""
        recorder, self._recorder, self._current = self._recorder, None, None
        if recorder is not None:
            recorder.finish()

    def _check(self, kind, name, more, fields):
        # type: (str, str, tuple[object, ...], Mapping[str, object]) -> None
        from ..schema.declaration import check_event

        check_event(self.settings.get("schema", {}), kind, name, fields, more)

    def set(self, /, *more: "NoReturn", **fields: object) -> None:
        """Do nothing: while nothing is recorded, the handle stands for the action that a program enters."""


def record_early(usage: Usage) -> None:
    """Record the errors that happened before `init`."""
    for name, more, fields in usage.__dict__.pop("early"):
        usage.error(name, *more, **fields)


def _name(run: "Run", name: str, frame: "FrameType") -> None:
    """Name *run* after *name*, if it is a literal of the code in *frame*. The first name stays."""
    if not run.command_path:
        constants = frame.f_code.co_consts
        literal = any([name == c or (isinstance(c, (tuple, frozenset)) and name in c) for c in constants])
        _guarded(run.name_command, name.split() if literal else ["(unknown)"])
        run.named_by_host = True


class Command:
    """A command that the program has named. As a context manager it sees a SystemExit on its way out."""

    __slots__ = ("_usage",)

    def __init__(self, usage: "Usage | Methods") -> None:
        self._usage = usage

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, kind: object, raised: "BaseException | None", trace: object) -> None:
        recorder = self._usage._recorder
        if recorder is not None and issubclass(type(raised), SystemExit):
            _guarded(recorder.run.note_exit, raised, sys._getframe(1), raised.__context__, trace)  # type: ignore[union-attr]


def make_up() -> None:
    """Record what signal handlers recorded while our modules were being loaded. An action of theirs has no duration."""
    calls = _late[:]
    del _late[: len(calls)]
    for usage, method, args, fields in calls:
        if method not in ("action", "count", "error", "heartbeat"):
            continue
        try:
            getattr(usage, method)(*args, **fields)
        except Exception:  # in development, and said there where it was called
            _fault(expected=True)


def complete() -> None:
    """Give the front door's `Usage` its methods, and the front door its functions. Twice does no harm."""
    for name, method in vars(Methods).items():
        if name not in ("__module__", "__dict__", "__weakref__", "__doc__", "__annotations__"):
            if hasattr(method, "__qualname__"):
                method.__qualname__ = f"Usage.{name}"
            setattr(Usage, name, method)
    package = vars(sys.modules[Usage.__module__])
    for name in FUNCTIONS:
        package[name] = getattr(_usage, name)
    if "__getattr__" in vars(Usage):
        try:
            del Usage.__getattr__  # type: ignore[attr-defined]
        except AttributeError:  # another thread was first
            pass
