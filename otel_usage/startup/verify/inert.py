"""What a program finds in our place when `otel-usage verify` runs it without us: the public names, doing nothing.

Runs in the program's process and imports nothing but sys. The sitecustomize.py beside it executes this file, and sets
`_note`, which adds a line to the log. The program's own code sees the command line and its handle's settings; so the
option that says off is taken out of the one, and the others are stored, as `otel_usage` does.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    def _note(*words: str) -> None: ...


__version__ = ""  # that of the real one, put here by sitecustomize.py


class SettingError(ValueError):
    """Never raised."""


class Usage:
    """The handle: everything it is asked to do is nothing."""

    recording = False

    def __init__(self) -> None:
        self.app = ""
        self.decision: "Any" = None
        self.settings: dict[str, Any] = {}

    def action(self, name: str = "", /, *more: object, **fields: object) -> "Usage":  # noqa: ARG002
        return self

    def command(self, name: str = "", /, *more: object) -> "Usage":  # noqa: ARG002
        return self

    def count(self, name: str = "", n: int = 1, /, *more: object, **fields: object) -> None: ...

    def error(self, name: str = "", /, *more: object, **fields: object) -> None: ...

    def heartbeat(self, name: str = "", /, *more: object, **fields: object) -> None: ...

    def run(self, main: "Callable[..., Any]", /, *args: object, **kwargs: object) -> object:
        return main(*args, **kwargs)

    def flush(self, *more: object) -> None: ...

    def shutdown(self, *more: object) -> None: ...

    def snapshot(self, fields: object = None, /, name: str = "") -> None: ...

    def set(self, /, *more: object, **fields: object) -> None: ...

    def __enter__(self) -> "Usage":
        return self

    def __exit__(self, *raised: object) -> None: ...


_usage = Usage()
action, command, count, error = _usage.action, _usage.command, _usage.count, _usage.error
flush, heartbeat, run, shutdown = _usage.flush, _usage.heartbeat, _usage.run, _usage.shutdown
snapshot = _usage.snapshot


def init(
    app: str,
    *,
    version: str,
    consent: str,
    destinations: object = None,
    schema: object = None,
    sender: str = "detached",
    policy: int = 1,
    about: str = "",
    flush_s: "float | None" = None,
    service: bool = False,
    heartbeat: str = "thread",
    flag: str = "--disable-analytics",
) -> Usage:
    if _usage.app:
        return _usage if _usage.app == app else Usage()
    _usage.settings = {
        "app": app,
        "version": version,
        "consent": consent,
        "destinations": destinations,
        "schema": schema or {},
        "sender": sender,
        "policy": policy,
        "about": about,
        "flush_s": flush_s,
        "service": service,
        "heartbeat": heartbeat,
        "flag": flag,
    }
    _usage.app = app
    namespace: "Any" = type(sys.implementation)  # types.SimpleNamespace, as the real one's
    _usage.decision = namespace(mode="off", layer="", source="", overruled="", home="", ci="", since_s=0, notice=False)
    _note("init", repr((app, consent, policy, service, _take(flag))))
    return _usage


def retired(app: str, *, flag: str = "--disable-analytics") -> Usage:  # noqa: ARG001
    _take(flag)
    return Usage()


def _take(flag: str) -> str:
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    if not flag or flag not in sys.argv[1:end]:
        return ""
    sys.argv[1:end] = [word for word in sys.argv[1:end] if word != flag]
    return flag


def bucket(unit: str, *bounds: float) -> "tuple[object, ...]":
    return ("bucket", unit, *bounds)


def integer(max: int) -> "tuple[object, ...]":
    return ("integer", max)


def several(words: "Sequence[str]") -> "tuple[object, ...]":
    return ("several", *words)


def version() -> "tuple[object, ...]":
    return ("version",)


def mount(parent: "Any", name: str = "telemetry") -> None:
    """Add a command that does nothing: a Typer with one command has another command line than one with two."""
    if hasattr(parent, "add_parser"):
        parent.add_parser(name)
    else:
        parent.command(name)(lambda: None)


def show_flag(parser: object, flag: str = "") -> None: ...


class _Nothing:
    """Stands for what is not public: can be called, entered and asked for anything."""

    def __call__(self, *args: object, **kwargs: object) -> "_Nothing":  # noqa: ARG002
        return self

    def __getattr__(self, name: str) -> "_Nothing":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __enter__(self) -> "_Nothing":
        return self

    def __exit__(self, *raised: object) -> None: ...

    def __bool__(self) -> bool:
        return False


def __getattr__(name: str) -> object:
    """Return what a module of ours has under *name*: the public thing, else one that does nothing."""
    if name.startswith("__"):
        raise AttributeError(name)
    return globals().get(name) or _Nothing()
