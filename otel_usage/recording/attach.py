"""Record the program that is about to start, from outside: what `otel-usage run` has its interpreter do.

Loaded in place of a program's own `otel_usage.init`.
"""

import os

from .. import _load, _usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def attach(settings: "dict[str, Any]") -> None:
    """Start recording, unless somebody said off: who types ``otel-usage run`` has asked for it."""
    if "OTEL_USAGE_CHILD" in os.environ:
        return
    decision = _load("consent.gate").decide(settings["app"], "opt-in", 1, os.environ)
    if decision.layer == "default":
        decision.mode = "on"
    if decision.mode != "off":
        _usage.app, _usage.settings, _usage.decision = settings["app"], settings, decision
        _usage._recorder = _load("recording.recorder").Recorder(settings, decision, None).begin()
