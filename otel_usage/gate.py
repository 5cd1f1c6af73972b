"""Decide whether a run may be recorded, and by whose word.

Ring 0 (foreground): os and sys only. Touches nothing; looks at three files at most.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
