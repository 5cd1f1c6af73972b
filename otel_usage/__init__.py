"""Record how a program is used, at no cost to the people who use it.

Ring 0 (foreground): the public names, and the gate: `decide` says whether a run may be recorded, and by whose word.
Both in one module, since it is all that a program loads whose user said no: another would cost it 0.4 M instructions.
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

    from .events import Action, Events
    from .recorder import Recorder, Run
    from .schema import SettingError

    T = TypeVar("T")

    class Decision:
        """What may happen in this run.

        mode: ``on``, ``local`` (recorded, never sent), ``off`` or ``log`` (printed, never sent).
        layer: who decided: ``environment``, ``machine``, ``stored`` or ``default``; source: the variable, file or rule.
        home: the folder of this app, "" where there is none. ci: vendor of the CI system, or "".
        since_s: Unix seconds; nothing begun earlier may be sent. notice: the first-run notice is due.
        """

        mode: str
        layer: str
        source: str
        home: str
        ci: str
        since_s: int
        notice: bool

        def __init__(
            self, *, mode: str, layer: str, source: str, home: str, ci: str, since_s: int, notice: bool
        ) -> None: ...

else:
    Decision = type(sys.implementation)  # types.SimpleNamespace, without importing it


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
        if self._strict:
            self._check("action", name, fields)
        events = self._events()
        return self if events is None else events.action("action", name, fields)

    def count(self, name: str, n: int = 1, /, **fields: object) -> None:
        """Add *n* to the declared counter *name*."""
        if self._strict:
            self._check("count", name, fields)
        events = self._events()
        if events is not None:
            events.count(name, n, fields)

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
        return None if self._recorder is None else self._recorder.events()

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
        usage.decision = decision = decide(app, consent, policy, environ, testing)
        if decision.notice:
            from .notice import show

            show(settings, decision)
        if decision.mode != "off":
            from .recorder import Recorder

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


def __getattr__(name: str) -> object:
    if name == "SettingError":
        from .schema import SettingError

        return SettingError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# -- the gate -----------------------------------------------------------------------------------------------------

MACHINE = "/etc/otel-usage"  # ``off`` or ``<app>.off`` in it switches everybody off

# (variable, vendor): the first that is set, and not to a false value, names the CI system.
CI = (
    ("GITHUB_ACTIONS", "github"),
    ("GITLAB_CI", "gitlab"),
    ("JENKINS_URL", "jenkins"),
    ("CIRCLECI", "circleci"),
    ("TRAVIS", "travis"),
    ("TF_BUILD", "azure"),
    ("BUILDKITE", "buildkite"),
    ("TEAMCITY_VERSION", "teamcity"),
    ("BITBUCKET_BUILD_NUMBER", "bitbucket"),
    ("CODEBUILD_BUILD_ID", "codebuild"),
    ("APPVEYOR", "appveyor"),
    ("DRONE", "drone"),
    ("CI", "other"),
)

# Off-switches for every app: a false value says nothing, any other says off.
OFF_SWITCHES = ("DO_NOT_TRACK", "OTEL_SDK_DISABLED", "OTEL_USAGE_DISABLED")
FALSE = ("", "0", "false", "no", "off")
WORDS = {
    "1": "on", "true": "on", "yes": "on", "on": "on", "enabled": "on",
    "0": "off", "false": "off", "no": "off", "off": "off", "disabled": "off",
    "local": "local", "log": "log",
}  # fmt: skip


def word(text: str) -> str:
    """Return the mode that *text* names; "" if it is empty, "off" if it can't be understood."""
    text = text.strip().lower()
    return WORDS.get(text, "off") if text else ""


def variable(app: str) -> str:
    """Return the prefix of the app's variables: ``my-cli`` → ``MY_CLI``."""
    return "".join([c if c.isalnum() else "_" for c in app]).upper()


def getter(environ: "Mapping[str, str]") -> "Callable[[str], str]":
    """Return a function that looks a variable up, "" if unset. os.environ raises and catches on every miss: go below."""
    if os.name == "posix" and environ is os.environ:
        raw = os.environ._data  # type: ignore[attr-defined]
        return lambda name: raw.get(name.encode(), b"").decode("utf-8", "surrogateescape")  # type: ignore[no-any-return]
    return lambda name: environ.get(name, "")


def home(get: "Callable[[str], str]") -> str:
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


def stored(path: str) -> "tuple[str, int, int]":
    """Return the user's stored (mode, since_s, policy).

    Shape of the file: one line, ``<on|local|off|noticed> <Unix seconds> <policy version>``.
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
        if mode in (b"on", b"local", b"off", b"noticed"):
            return (mode.decode(), int(since), int(policy))
    except (OSError, ValueError):
        pass
    finally:
        os.close(descriptor)
    return ("off", 0, 0)


def decide(app: str, consent: str, policy: int, environ: "Mapping[str, str]", testing: bool = False) -> Decision:
    """Return what may happen in this run: any explicit off, else the strongest setting, else the host's default.

    testing: we run inside a test runner, whose default is off.
    """
    get = getter(environ)
    root = home(get)
    folder = root and root + "/" + app
    prefix = variable(app)
    notice, since, vendor = False, 0, ""
    layer, source = "environment", prefix + "_TELEMETRY"
    mode = word(get(source))
    if mode != "off":
        for switch in (prefix + "_DISABLE_ANALYTICS", *OFF_SWITCHES):
            if get(switch).strip().lower() not in FALSE:
                mode, source = "off", switch
                break
    if mode != "off":
        for file in (MACHINE + "/off", MACHINE + "/" + app + ".off"):
            if os.path.exists(file):
                mode, layer, source = "off", "machine", file
                break
    if mode != "off":
        file = folder + "/consent"
        choice, since, seen = stored(file) if folder else ("off", 0, 0)
        for name, vendor in CI:
            if get(name).strip().lower() not in FALSE:
                break
        else:
            vendor = ""
        if choice == "off" or (choice in ("on", "local") and not mode):
            mode, layer, source = choice, "stored", file
        elif not mode:
            layer, source, mode = "default", consent, "off"
            if testing:
                source = "test runner"
            elif vendor:
                source = "CI"
            elif consent == "opt-out":
                if choice == "noticed" and seen >= policy:
                    mode = "on"
                else:
                    notice = True
    return Decision(mode=mode, layer=layer, source=source, home=folder, ci=vendor, since_s=since, notice=notice)
