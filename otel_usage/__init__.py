"""Record how a program is used, at no cost to the people who use it.

Ring 0 (foreground): the public names, and the gate: `decide` says whether a run may be recorded, and by whose word.
Both in one module, since it is all that a program loads whose user said no: another would cost it 0.4 M instructions.
"""

import os
import sys
from time import monotonic as _monotonic  # hosts replace that of the module, in tests

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
    "show_flag",
    "shutdown",
    "version",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType
    from typing import Any, TypeVar

    from .decision import Decision as Decision
    from .events import Action, Events
    from .mounting import mount, show_flag
    from .recorder import Recorder, Run
    from .retirement import retired
    from .schema import SettingError

    T = TypeVar("T")
else:
    Decision = type(sys.implementation)  # types.SimpleNamespace, without importing it


class Usage:
    """What `init` returns: records actions, counts and errors of one program.

    Every method is safe in threads, tasks and forked children, returns at once, and does nothing
    when recording is off. The functions of the same names are those of the handle that `init` returns.
    """

    def __init__(self):
        # type: () -> None
        self.app = ""
        self.decision: Decision | None = None
        self.settings: dict[str, Any] = {}
        self._recorder: Recorder | None = None
        self._kept: Events | None = None
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
        if self._strict:
            self._check("action", name, fields)
        events = self._events()
        return self if events is None else events.action("action", name, fields)

    def count(self, name: str, n: int = 1, /, **fields: object) -> None:
        """Add *n* to the declared counter *name*."""
        events = self._kept
        if events is None:  # off, in development, or the first
            if self._strict:
                self._check("count", name, fields)
            events = self._events()
            if events is None:
                return
        # Only noted, and added up with the next few hundred. In here, since a call more would be a fifth of the cost.
        events.pending.append((name, n, fields))
        if len(events.pending) >= 256 or _monotonic() >= events.due:
            events.tick()

    def error(self, name: str, /, **fields: object) -> None:
        """Record that the declared error *name* happened. Takes no message: messages hold people's data."""
        if self._strict:
            self._check("error", name, fields)
        events = self._events()
        if events is not None:
            events.action("error", name, fields)

    def heartbeat(self, name: str, /, **fields: object) -> None:
        """Record that a service is alive, with the declared *fields*."""
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
            recorder.handle, self._kept = self, events
        return events

    def command(self, name: str) -> "Run | Usage":
        """Name the command that is running, in a program without a command-line framework.

        *name* must be a literal in the calling function: a word that the code does not hold may be
        one that a user typed, and is recorded as ``(unknown)``.
        """
        recorder = self._recorder
        return self if recorder is None else recorder.run.command(name, sys._getframe(1))

    def run(self, main: "Callable[..., T]", /, *args: "Any", **kwargs: "Any") -> "T":
        """Return ``main(*args, **kwargs)``, recording how it ended."""
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
        recorder, self._recorder, self._kept = self._recorder, None, None
        if recorder is not None:
            recorder.finish()

    def _check(self, kind, name, fields):
        # type: (str, str, Mapping[str, object]) -> None
        from .schema import check_event

        check_event(self.settings["schema"], kind, name, fields)

    # While nothing is recorded, the handle itself stands for the action or command that a program enters.

    def __enter__(self):
        # type: () -> Usage
        return self

    def __exit__(self, kind, raised, trace):
        # type: (object, object, TracebackType | None) -> None
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
    service: bool = False,
    flag: str = "--disable-analytics",
) -> Usage:
    """Start recording this program's run, if its user lets us, and return the handle.

    app: the program's name, lower case; it names the environment variables (``my-cli`` → ``MY_CLI_TELEMETRY``).
    consent: ``"opt-in"``, ``"opt-out"`` (a notice is shown first, and that run is not recorded) or ``"ask"`` (once, on
        a terminal; that run is not recorded).
    destinations: ``{exporter entry-point name: endpoint, or {constructor keyword: value}}``;
        None leaves it to ``OTEL_TRACES_EXPORTER`` and ``OTEL_EXPORTER_*``.
    schema: what may be recorded besides runs; see docs/schema.md.
    sender: ``"detached"``, ``"inline"`` (waited for, at most 500 ms) or ``"none"`` (records wait).
    policy: raise it when more is collected than before; about: address of the page that tells what.
    flush_s: how often a long-running program hands over actions and counts.
    service: nobody sits at a terminal: the operator's environment decides, and one line at start-up says so.
    flag: switches this run off; taken out of ``sys.argv`` before the program's parser sees it. "" for none.
    Raises SettingError in tests and development (pytest, ``python -X dev``, ``OTEL_USAGE_STRICT=1``);
    elsewhere what is recorded waits, and is never sent until the settings are right: `status` says what is wrong. With
    an unknown consent nothing is recorded unless the user says so.
    Calling it again returns the first handle; for another app, one that records nothing.
    """
    usage = _usage
    if usage.app:
        return usage if usage.app == app else Usage()
    environ, given = os.environ, ""
    if flag and flag in sys.argv:
        from .flags import take

        given = take(flag)
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
        "service": service,
        "flag": flag,
    }
    testing = "pytest" in sys.modules
    usage._strict = testing or sys.flags.dev_mode or environ.get("OTEL_USAGE_STRICT", "") not in ("", "0")
    if usage._strict:
        from .schema import check_settings

        check_settings(settings)
    usage.app = app
    try:
        usage.decision = decision = decide(app, consent, policy, environ, testing, given, service)
        if decision.notice or service or decision.overruled == "log":
            from .notice import show

            show(settings, decision)
        if decision.mode != "off":
            Recorder = _ring0("recorder").Recorder  # noqa: N806
            usage._recorder = Recorder(settings, decision, sys._getframe(1)).begin()
    except Exception:  # a fault of ours, or a wrong setting at a user's: the program goes on without us
        if usage._strict:
            raise
        try:
            from .recorder import fault

            fault()
        except Exception:
            pass
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


def _ring0(name: str) -> "Any":
    """Return our module *name*, straight from its bytecode where that is current, else as `import` would.

    The import system's search costs a run 0.25 M instructions per module: docs/decisions/0006-own-loading.md.
    """
    whole = "otel_usage." + name
    if whole not in sys.modules:
        try:
            source = __path__[0] + "/" + name + ".py"
            cached = f"{__path__[0]}/__pycache__/{name}.{sys.implementation.cache_tag}.pyc"
            descriptor = os.open(cached, os.O_RDONLY)
            try:
                code = os.read(descriptor, os.fstat(descriptor).st_size)
            finally:
                os.close(descriptor)
            status = os.stat(source)
            current = sys.modules["_frozen_importlib_external"].MAGIC_NUMBER + bytes(4)
            for number in (int(status.st_mtime), status.st_size):
                current += (number & 0xFFFFFFFF).to_bytes(4, "little")
            if code[:16] != current or sys.flags.optimize:
                raise OSError
        except (OSError, AttributeError, KeyError):  # no bytecode, or stale; a zip file; another implementation
            __import__(whole)
        else:
            from marshal import loads

            made = sys.modules[whole] = type(sys)(whole)  # as our attribute it is found by `lazy`
            made.__dict__.update(__package__=__name__, __file__=source, __cached__=cached)
            made.__spec__ = type(__spec__)(whole, __loader__, origin=source)  # type: ignore[name-defined]
            try:
                exec(loads(memoryview(code)[16:]), made.__dict__)  # noqa: S102, S302  our own bytecode
            except BaseException:
                del sys.modules[whole]
                raise
    return sys.modules[whole]


def __getattr__(name):
    # type: (str) -> object
    from .lazy import find

    return find(name)


# -- the gate -----------------------------------------------------------------------------------------------------

MACHINE = "/etc/otel-usage"  # ``off`` or ``<app>.off`` in it switches everybody off

# Where somebody may say something, strongest first: variables, {APP} being the app's name in capitals, that hold a mode
# or, with a "!", are an off by being set; and files in MACHINE, an off by being there. Above all of them stands the
# host's flag, below them the user's stored choice. Any off beats any on; otherwise the strongest that says something
# decides; otherwise the host's default. docs/consent.md is checked against this.
VOICES = (
    "!{APP}_DISABLE_ANALYTICS",
    "{APP}_TELEMETRY",
    "!DO_NOT_TRACK",
    "!OTEL_SDK_DISABLED",
    "!OTEL_USAGE_DISABLED",
    "/off",
    "/{app}.off",
)
WORDS = {
    "1": "on", "true": "on", "yes": "on", "on": "on", "enabled": "on",
    "0": "off", "false": "off", "no": "off", "off": "off", "disabled": "off",
    "local": "local", "log": "log",
}  # fmt: skip

# {variable: vendor}: the first that is set, and not to a false value, names the CI system.
CI = {
    "GITHUB_ACTIONS": "github",
    "GITLAB_CI": "gitlab",
    "JENKINS_URL": "jenkins",
    "CIRCLECI": "circleci",
    "TRAVIS": "travis",
    "TF_BUILD": "azure",
    "BUILDKITE": "buildkite",
    "TEAMCITY_VERSION": "teamcity",
    "BITBUCKET_BUILD_NUMBER": "bitbucket",
    "CODEBUILD_BUILD_ID": "codebuild",
    "APPVEYOR": "appveyor",
    "DRONE": "drone",
    "CI": "other",
}


def word(text, switch=False):
    # type: (str, bool) -> str
    """Return the mode that a variable's *text* asks for; "" if it is empty, "off" if it can't be understood.

    switch: the variable's name says off already (``DO_NOT_TRACK``): a false value asks for nothing, any other for off.
    """
    text = text.strip().lower()
    said = WORDS.get(text, "off") if text else ""
    if switch and said:
        return "" if said == "off" and text in WORDS else "off"
    return said


def variable(app):
    # type: (str) -> str
    """Return the prefix of the app's variables: ``my-cli`` → ``MY_CLI``."""
    return "".join([c if c.isalnum() else "_" for c in app]).upper()


def getter(environ):
    # type: (Mapping[str, str]) -> Callable[[str], str]
    """Return a function that looks a variable up, "" if unset. os.environ raises on every miss: go below it."""
    if os.name == "posix" and environ is os.environ:
        raw = os.environ._data  # type: ignore[attr-defined]
        return lambda name: text.decode("utf-8", "surrogateescape") if (text := raw.get(name.encode())) else ""
    return lambda name: environ.get(name, "")


def home(get):
    # type: (Callable[[str], str]) -> str
    """Return the folder that holds all apps' state, or "" where there is none. Creates nothing."""
    chosen = get("OTEL_USAGE_HOME")
    if chosen:
        return os.path.abspath(chosen)
    if os.name != "posix":
        base = get("LOCALAPPDATA")
        return base + "\\otel-usage" if base else ""
    base = get("XDG_STATE_HOME")
    if not base.startswith("/"):
        base = os.path.expanduser("~/.local/state")
    return base + "/otel-usage" if base.startswith("/") else ""  # without a home folder nothing can be kept


def stored(path):
    # type: (str) -> tuple[str, int, int]
    """Return the user's stored (mode, since_s, policy).

    Shape of the file: one line, ``<on|local|off|noticed|asked> <Unix seconds> <policy version>``.
    A missing file is ``("", 0, 0)``; one that can't be read or understood is off: it may have said so.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return ("", 0, 0)
    except OSError:
        return ("off", 0, 0)
    try:
        mode, since, policy = os.read(descriptor, 256).split()[:3]
        if mode in (b"on", b"local", b"off", b"noticed", b"asked"):
            return (mode.decode(), int(since), int(policy))
    except (OSError, ValueError):
        pass
    finally:
        os.close(descriptor)
    return ("off", 0, 0)


def _there(path):
    # type: (str) -> bool
    """True if there is something at *path*, or if that can't be known."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True


def voices(app, get, flag=""):
    # type: (str, Callable[[str], str], str) -> Iterator[tuple[str, str, str]]
    """Yield (layer, where, mode) of all that say something, strongest first, but for the stored choice."""
    if flag:
        yield "flag", flag, "off"
    prefix = variable(app)
    for where in VOICES:
        if where[0] == "/":
            where = MACHINE + where.replace("{app}", app)
            if os.access(MACHINE, os.F_OK) and _there(where):
                yield "machine", where, "off"
        else:
            switch = where[0] == "!"
            where = where[switch:].replace("{APP}", prefix)
            text = get(where)
            said = text and word(text, switch)
            if said:
                yield "environment", where, said


def decide(app, consent, policy, environ, testing=False, flag="", service=False):
    # type: (str, str, int, Mapping[str, str], bool, str, bool) -> Decision
    """Return what may happen in this run: any explicit off, else the strongest setting, else the host's default.

    testing: we run inside a test runner, whose default is off. flag: the host's flag, if it was given.
    """
    get = getter(environ)
    root = home(get)
    folder = root and root + "/" + app
    mode, layer, source, overruled, vendor = "", "", "", "", ""
    notice, since = False, 0
    for at, where, said in voices(app, get, flag):
        if said == "off":
            overruled = mode or word(get(variable(app) + "_TELEMETRY"))
            mode, layer, source = said, at, where
            break
        if not mode:
            mode, layer, source = said, at, where
    else:
        file = folder + "/consent"
        choice, since, seen = stored(file) if folder else ("off", 0, 0)
        for name in CI:
            text = get(name)
            if text and word(text, True):
                vendor = CI[name]
                break
        if choice == "off" or (choice in ("on", "local") and not mode):
            overruled, mode, layer, source = mode, choice, "stored", file
            if not folder:
                layer, source = "nowhere", "no home folder"
            if choice == "on" and seen < policy and not service:  # agreed to less than is collected now
                mode, notice = "off", not (vendor or testing)
        elif not mode:
            layer, source, mode = "default", consent, "off"
            if testing or get("PYTEST_CURRENT_TEST"):
                source = "test runner"
            elif vendor:
                source = "CI"
            elif consent == "opt-out" and (service or (choice == "noticed" and seen >= policy)):
                mode = "on"
            else:
                notice = consent == "opt-out" or (consent == "ask" and choice != "asked")
    return Decision(
        mode=mode, layer=layer, source=source, overruled=overruled, home=folder, ci=vendor, since_s=since, notice=notice
    )
