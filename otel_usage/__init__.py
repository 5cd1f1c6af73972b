"""Record how a program is used, at no cost to the people who use it.

Ring 0 (foreground): loads nothing but `gate`, and `recorder` once a run is recorded.
"""

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
    "run",
    "shutdown",
    "version",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Any, TypeVar

    from .events import Action
    from .gate import Decision
    from .recorder import Command, Recorder
    from .schema import SettingError

    T = TypeVar("T")


class Usage:
    """What `init` returns: records actions, counts and errors of one program.

    Every method is safe in threads, tasks and forked children, returns at once, and does nothing
    when recording is off. The functions of the same names are those of the handle that `init` returns.
    """

    def __init__(self) -> None:
        self.app = ""
        self.decision: Decision | None = None
        self.settings: dict[str, Any] = {}
        self._recorder: Recorder | None = None
        self._strict = False

    @property
    def recording(self) -> bool:
        """True while this process records."""
        return self._recorder is not None

    def action(self, name: str, /, **fields: object) -> "Action | Usage":
        """Record that the action *name* happened; as a context manager, how long it took too.

        *name* and *fields* must be declared in the schema. Inside ``with … as a``, ``a.set(format="pdf")``
        adds a field that is known only later.
        """
        if self._recorder is not None:
            return self._recorder.action("action", name, fields)
        if self._strict:
            self._check("action", name, fields)
        return self

    def count(self, name: str, n: int = 1, /, **fields: object) -> None:
        """Add *n* to the declared counter *name*."""
        if self._recorder is not None:
            self._recorder.count(name, n, fields)
        elif self._strict:
            self._check("count", name, fields)

    def error(self, name: str, /, **fields: object) -> None:
        """Record that the declared error *name* happened. Takes no message: messages hold people's data."""
        if self._recorder is not None:
            self._recorder.action("error", name, fields)
        elif self._strict:
            self._check("error", name, fields)

    def heartbeat(self, name: str, /, **fields: object) -> None:
        """Record that a service is alive, with the declared *fields*."""
        if self._recorder is not None:
            self._recorder.action("heartbeat", name, fields)
        elif self._strict:
            self._check("heartbeat", name, fields)

    def command(self, name: str) -> "Command | Usage":
        """Name the command that is running, in a program without a command-line framework.

        *name* must be a literal in the calling function: a word that the code does not hold may be
        one that a user typed, and is recorded as ``(unknown)``.
        """
        if self._recorder is not None:
            return self._recorder.command(name, sys._getframe(1))
        return self

    def run(self, main: "Callable[..., T]", /, *args: "Any", **kwargs: "Any") -> "T":
        """Return ``main(*args, **kwargs)``, recording how it ended."""
        if self._recorder is not None:
            return self._recorder.call(main, args, kwargs)
        return main(*args, **kwargs)

    def flush(self) -> None:
        """Hand over what was recorded so far. Never needed at exit."""
        if self._recorder is not None:
            self._recorder.flush()

    def shutdown(self) -> None:
        """Finish the run now and record nothing further in this process."""
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.finish()

    def _check(self, kind: str, name: str, fields: "Mapping[str, object]") -> None:
        from .schema import check_event

        check_event(self.settings["schema"], kind, name, fields)

    # While nothing is recorded, the handle itself stands for the action or command that a program enters.

    def __enter__(self) -> "Usage":
        return self

    def __exit__(self, kind: object, raised: object, trace: "TracebackType | None") -> None:
        return None

    def set(self, **fields: object) -> None:
        """Do nothing: there is no action to add to."""


_usage = Usage()
action = _usage.action
command = _usage.command
count = _usage.count
error = _usage.error
flush = _usage.flush
heartbeat = _usage.heartbeat
run = _usage.run
shutdown = _usage.shutdown


def init(
    app: str,
    *,
    version: str,
    consent: str,
    destinations: "Mapping[str, object] | None" = None,
    schema: "Mapping[str, Any] | None" = None,
    sender: str = "detached",
    policy: int = 1,
    about: str = "",
    flush_s: float = 60.0,
) -> Usage:
    """Start recording this program's run, if its user lets us, and return the handle.

    app: the program's name, lower case; it names the environment variables (``my-cli`` → ``MY_CLI_TELEMETRY``).
    consent: ``"opt-in"`` or ``"opt-out"`` (a notice is shown first, and that run is not recorded).
    destinations: ``{exporter entry-point name: endpoint, or {constructor keyword: value}}``;
        None leaves it to ``OTEL_TRACES_EXPORTER`` and ``OTEL_EXPORTER_*``.
    schema: what may be recorded besides runs; see docs/schema.md.
    sender: ``"detached"``, ``"inline"`` (waited for, at most 500 ms) or ``"none"`` (records wait).
    policy: raise it when more is collected than before; about: address of the page that tells what.
    flush_s: how often a long-running program hands over actions and counts.
    Raises SettingError in tests and development (pytest, ``python -X dev``, ``OTEL_USAGE_STRICT=1``);
    elsewhere a wrong setting turns recording off.
    Calling it again returns the first handle; for another app, one that records nothing.
    """
    usage = _usage
    if usage.app:
        return usage if usage.app == app else Usage()
    environ = os.environ
    if "OTEL_USAGE_CHILD" in environ:  # we are the sender, or something it started
        return usage
    usage.settings = settings = {
        "app": app,
        "version": version,
        "consent": consent,
        "destinations": destinations,
        "schema": schema or {},
        "sender": sender,
        "policy": policy,
        "about": about,
        "flush_s": flush_s,
    }
    testing = "pytest" in sys.modules
    usage._strict = testing or sys.flags.dev_mode or environ.get("OTEL_USAGE_STRICT", "") not in ("", "0")
    if usage._strict:
        from .schema import check_settings

        check_settings(settings)
    usage.app = app
    try:
        from . import gate

        usage.decision = decision = gate.decide(app, consent, policy, environ, testing)
        if decision.notice:
            from .notice import show

            show(settings, decision)
        if decision.mode != "off":
            from .recorder import Recorder

            usage._recorder = Recorder(settings, decision, sys._getframe(1)).begin()
    except Exception:  # a fault of ours, or a wrong setting at a user's: the program goes on without us
        if usage._strict:
            raise
    return usage


def bucket(unit: str, *bounds: float) -> "tuple[object, ...]":
    """Schema field: a number, recorded only as the range it falls in: ``<1 MB``, ``1-10 MB``, ``>=10 MB``."""
    return ("bucket", unit, *bounds)


def integer(max: int) -> "tuple[object, ...]":
    """Schema field: a whole number from 0 to *max*; larger ones are recorded as *max*."""
    return ("integer", max)


def version() -> "tuple[object, ...]":
    """Schema field: numbers and dots, at most four (``3.11.7``)."""
    return ("version",)


def __getattr__(name: str) -> object:
    if name == "SettingError":
        from .schema import SettingError

        return SettingError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
