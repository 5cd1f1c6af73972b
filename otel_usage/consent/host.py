"""``consent="host"``: a plugin or library goes by what was decided for the program that it is a part of.

Loaded only where an app asks for it.

ALGORITHM  The first row that applies decides.

    what is said of the plugin itself    what was decided for the program       the plugin
    -----------------------------------  -------------------------------------  -----------------
    off, by any voice                    anything                               off
    anything else                        nothing (yet)                          off
    anything else                        off, by any voice                      off
    on, local or log, by any voice       anything else                          as is said of it
    nothing                              on, local or log                       as the program
    nothing                              off by default                         off

A program has decided once its own `init` has. It may come after the plugin's: until then nothing of the plugin's is
recorded. A program that does not use otel-usage never decides, nor does one that `otel-usage run` watches: who typed that
has agreed to a record of that program alone, for himself.
"""

import os
import sys

from .. import Usage, _fault, _load, _usage
from ..spool.layout import HOST
from .gate import decide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType
    from typing import Any

    from ..recording.recorder import Recorder
    from .decision import Decision


class _Undecided:
    """Stands for a plugin's recorder, until the program has decided; then makes it, once, in its own place.

    It has no ``__set__``: what is in the handle's ``__dict__`` comes first.
    """

    def __get__(self, usage: "Usage | None", owner: type) -> "Recorder | None":
        host = _usage.decision
        if usage is None or host is None or "attached" in _usage.settings:
            return None
        recorder = None
        try:
            settings = usage.settings
            own = _own(settings, os.environ, "pytest" in sys.modules)
            settings["host"] = {key: _usage.settings[key] for key in ("app", "consent", "policy", "service")}
            usage.decision = decision = combine(own, host, _usage.app)
            if decision.mode != "off":
                recorder = _load("recording.recorder").Recorder(settings, decision, None, False)
                recorder.run.package = usage.__dict__["_package"]
                recorder = recorder.begin()
                if recorder is not None and decision.mode != "log":
                    _remember_host(recorder, _usage.app)
        except Exception:
            _fault()
        return usage.__dict__.setdefault("_recorder", recorder)  # the first thread's


class Guest(Usage):
    """The handle of an app that goes by the program's decision."""

    _recorder = _Undecided()


def follow(usage: Usage, frame: "FrameType", testing: bool) -> Usage:
    """Return *usage*, which has its settings, as one that goes by the program's decision. frame: of who called `init`."""
    usage.decision = combine(_own(usage.settings, os.environ, testing), None, "")
    usage.__dict__["_package"] = str(frame.f_globals.get("__name__")).partition(".")[0]
    usage.__class__ = Guest
    return usage


def _remember_host(recorder: "Recorder", app: str) -> None:
    """Write down which program's word counts: ``off`` of that one removes what waits here, even if nothing was sent yet."""
    path = f"{recorder.decision.home}/{HOST}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileNotFoundError:  # the first of its records here
            _load("recording.folders").make_spool(recorder.decision.home, recorder.spool)
            descriptor = os.open(path, flags, 0o600)
        try:
            os.write(descriptor, app.encode())
        finally:
            os.close(descriptor)
    except OSError:  # read-only, full: what waits will not be sent all the same, since a sender asks again
        _fault(expected=True)


def combine(own: "Decision", host: "Decision | None", host_app: str) -> "Decision":
    """Return what the table says. own: what is said of the plugin; host: what was decided for the program *host_app*."""
    spoken = own.layer != "default"
    if own.mode == "off" and (spoken or host is None):
        return own
    if host is None:
        return type(own)(**{**vars(own), "mode": "off", "layer": "default", "source": "host"})
    refused = host.mode == "off" and host.layer != "default"
    if not refused and (spoken or host.mode == "off"):
        return own
    since_s = max(own.since_s, host.since_s)
    return type(own)(**{**vars(own), "mode": host.mode, "layer": "host", "source": host_app, "since_s": since_s})


def decide_with_host(settings: "Mapping[str, Any]", environ: "Mapping[str, str]", testing: bool = False) -> "Decision":
    """Return what may happen now, for a sender and for commands. settings: of the plugin, with those of its last host."""
    own, host = _own(settings, environ, testing), settings.get("host")
    if not host:
        return combine(own, None, "")
    decision = decide(host["app"], host["consent"], host["policy"], environ, testing, "", host["service"])
    return combine(own, decision, host["app"])


def _own(settings: "Mapping[str, Any]", environ: "Mapping[str, str]", testing: bool) -> "Decision":
    return decide(settings["app"], "host", settings["policy"], environ, testing)
