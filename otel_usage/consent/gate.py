"""The gate: may this run be recorded, and by whose word? `decide` answers; hosts, senders and commands all ask it.

FORMAT  ``consent`` holds one line, ``<on|local|off|noticed|asked> <Unix seconds> <policy version>``. No file: no choice.
        A file that can't be read or understood is an off: it may have said so.

ALGORITHM  Any explicit off beats any on; otherwise the strongest that says something decides (`VOICES`, strongest
        first); otherwise the user's stored choice; otherwise the host's default. docs/consent.md is checked against it.
"""

import os
import sys

from .. import _fault
from ..spool.layout import CONSENT, MACHINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .decision import Decision
else:
    Decision = type(sys.implementation)  # types.SimpleNamespace, without importing it


# -- the gate -----------------------------------------------------------------------------------------------------

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

# {variable: vendor}: the first that is set, and not to a false value, names the CI system. In bytes, as os.environ keeps them:
# mostly none is there, and one look says so.
CI = {
    b"GITHUB_ACTIONS": "github",
    b"GITLAB_CI": "gitlab",
    b"JENKINS_URL": "jenkins",
    b"CIRCLECI": "circleci",
    b"TRAVIS": "travis",
    b"TF_BUILD": "azure",
    b"BUILDKITE": "buildkite",
    b"TEAMCITY_VERSION": "teamcity",
    b"BITBUCKET_BUILD_NUMBER": "bitbucket",
    b"CODEBUILD_BUILD_ID": "codebuild",
    b"APPVEYOR": "appveyor",
    b"DRONE": "drone",
    b"CI": "other",
}


def word(text, switch=False):
    # type: (str, bool) -> str
    """Return the mode that a variable's *text* asks for; "" if it is empty, "off" if it can't be understood.

    switch: the variable's name says off already (``DO_NOT_TRACK``): a false value asks for nothing, any other for off.
    """
    text = text.strip().lower()
    mode = WORDS.get(text, "off") if text else ""
    if switch and mode:
        return "" if mode == "off" and text in WORDS else "off"
    return mode


def variable(app):
    # type: (str) -> str
    """Return the prefix of the app's variables: ``my-cli`` → ``MY_CLI``."""
    prefix = ""
    for character in app:
        prefix += character if character.isalnum() else "_"
    return prefix.upper()


def getter(environ):
    # type: (Mapping[str, str]) -> Callable[[str], str]
    """Return a function that looks a variable up, "" if unset. os.environ raises on every miss: go below it."""
    raw = os.environ._data if os.name == "posix" and environ is os.environ else None  # type: ignore[attr-defined]

    def get(name):
        # type: (str) -> str
        if raw is None:
            return environ.get(name, "")
        text = raw.get(name.encode())
        return text.decode("utf-8", "surrogateescape") if text else ""

    return get


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
        own = get("HOME")  # as expanduser reads it, which takes six times as long
        base = own.rstrip("/") + "/.local/state" if own else os.path.expanduser("~/.local/state")
    return base + "/otel-usage" if base.startswith("/") else ""  # without a home folder nothing can be kept


_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)


def stored(path):
    # type: (str) -> tuple[str, int, int]
    """Return the user's stored (mode, since_s, policy).

    Shape of the file: one line, ``<on|local|off|noticed|asked> <Unix seconds> <policy version>``.
    A missing file is ``("", 0, 0)``; one that can't be read or understood is off: it may have said so.
    """
    try:
        descriptor = os.open(path, _READ)  # of a pipe or device in its place, nothing may wait
    except OSError as exc:
        if exc.filename == path and isinstance(exc, (FileNotFoundError, NotADirectoryError)):
            return ("", 0, 0)
        _fault(expected=True)
        return ("off", 0, 0)
    try:
        mode, since, policy = os.read(descriptor, 256).split()[:3]
        if mode in (b"on", b"local", b"off", b"noticed", b"asked"):
            return (mode.decode(), int(since), int(policy))
    except (OSError, ValueError):
        _fault(expected=True)
    finally:
        os.close(descriptor)
    return ("off", 0, 0)


def _there(path):
    # type: (str) -> bool
    """True if there is something at *path*, or if that can't be known."""
    try:
        os.lstat(path)
    except OSError as exc:
        if exc.filename == path and isinstance(exc, (FileNotFoundError, NotADirectoryError)):
            return False
        _fault(expected=True)
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
            mode = text and word(text, switch)
            if mode:
                yield "environment", where, mode


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
    for voice_layer, where, asked in voices(app, get, flag):
        if asked == "off":
            overruled = mode or word(get(variable(app) + "_TELEMETRY"))
            mode, layer, source = asked, voice_layer, where
            break
        if not mode:
            mode, layer, source = asked, voice_layer, where
    else:
        file = folder + "/" + CONSENT
        choice, since, seen = stored(file) if folder else ("off", 0, 0)
        raw = getattr(environ, "_data", CI)
        if type(next(iter(raw), "")) is str or not CI.keys().isdisjoint(raw):  # texts: Windows, or a test's own
            for name in CI:
                text = get(name.decode())
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
