"""The methods of the handle that `init` returns. Loaded when a program first uses one of them.

Most runs of most programs use none, and building them costs a run 0.18 M instructions: so the front door's `Usage` is
only a shell, and `complete` puts these methods into it. From then on it is an ordinary class.
"""

import sys
from os import getpid
from time import monotonic  # bound here, before a program's tests can patch the module

from .. import Usage, _usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    from .actions import Action, Events
    from .recorder import Recorder
    from .run import Run

    T = TypeVar("T")

FUNCTIONS = ("action", "command", "count", "error", "flush", "heartbeat", "run", "shutdown")  # of otel_usage, too


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

    def action(self, name: str, /, **fields: object) -> "Action | Usage":
        """Record that the action *name* happened; as a context manager, how long it took too.

        *name* and *fields* must be declared in the schema. Inside ``with … as a``, ``a.set(format="pdf")``
        adds a field that is known only later.

        >>> with usage.action("report.upload", retried=False) as upload:
        ...     upload.set(format="pdf")
        """
        if self._strict:
            self._check("action", name, fields)
        events = self._events()
        return self if events is None else events.action("action", name, fields)  # type: ignore[return-value]

    def count(self, name: str, n: int = 1, /, **fields: object) -> None:
        """Add *n* to the declared counter *name*.

        >>> usage.count("events.handled", 3, channel="slack")
        """
        events = self._current
        if events is None or events.pid != getpid():  # off, in development, the first, or in a forked child
            if self._strict:
                self._check("count", name, fields)
            events = self._events()
            if events is None:
                return
        # Only noted here: `Events.settle` adds up 256 at a time. Written out, since one more call costs a fifth.
        events.pending.append((name, n, fields))
        if len(events.pending) >= 256 or monotonic() >= events.due:
            events.tick()

    def error(self, name: str, /, **fields: object) -> None:
        """Record that the declared error *name* happened. Takes no message: messages hold people's data.

        >>> usage.error("config.invalid")
        """
        if self._strict:
            self._check("error", name, fields)
        events = self._events()
        if events is not None:
            events.action("error", name, fields)

    def heartbeat(self, name: str, /, **fields: object) -> None:
        """Record that a service is alive, with the declared *fields*.

        >>> usage.heartbeat("alive", plugins=4)
        """
        if self._strict:
            self._check("heartbeat", name, fields)
        events = self._events()
        if events is not None:
            events.action("heartbeat", name, fields)

    def _events(self) -> "Events | None":
        recorder = self._recorder  # once: another thread may shut down meanwhile
        if recorder is None:
            return None
        events = recorder.events()
        if not self._strict:
            self._current = events
        return events

    def command(self, name: str) -> "Run | Usage":
        """Name the command that is running, in a program without a command-line framework.

        *name* must be a literal in the calling function: a word that the code does not hold may be
        one that a user typed, and is recorded as ``(unknown)``.

        >>> with usage.command("scan"):
        ...     scan()
        """
        recorder = self._recorder
        return self if recorder is None else recorder.run.command(name, sys._getframe(1))  # type: ignore[return-value]

    def run(self, main: "Callable[..., T]", /, *args: "Any", **kwargs: "Any") -> "T":
        """Return ``main(*args, **kwargs)``, recording how it ended.

        >>> usage.run(main, argv)
        """
        recorder = self._recorder
        if recorder is not None:
            with recorder.run:
                return main(*args, **kwargs)
        return main(*args, **kwargs)

    def flush(self) -> None:
        """Hand over what was recorded so far. Never needed at exit."""
        recorder = self._recorder
        events = recorder and recorder.events()
        if events:
            events.flush()

    def shutdown(self) -> None:
        """Finish the run now and record nothing further in this process."""
        recorder, self._recorder, self._current = self._recorder, None, None
        if recorder is not None:
            recorder.finish()

    def _check(self, kind, name, fields):
        # type: (str, str, Mapping[str, object]) -> None
        from ..schema.declaration import check_event

        check_event(self.settings["schema"], kind, name, fields)

    def set(self, **fields: object) -> None:
        """Do nothing: while nothing is recorded, the handle stands for the action that a program enters."""


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
