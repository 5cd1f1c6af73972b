"""Record the program that is about to start, from outside: what `otel-usage run` has its interpreter do.

Ring 0 (foreground): loaded in place of a program's own `otel_usage.init`.
"""

import os

from . import _usage, decide
from .recorder import Recorder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def attach(settings: "dict[str, Any]") -> None:
    """Start recording, unless somebody said off: who types ``otel-usage run`` has asked for it."""
    if "OTEL_USAGE_CHILD" in os.environ:
        return
    decision = decide(settings["app"], "opt-in", 1, os.environ)
    if decision.layer == "default":
        decision.mode = "on"
    if decision.mode != "off":
        _usage.app, _usage.settings, _usage.decision = settings["app"], settings, decision
        _usage._recorder = Recorder(settings, decision, None).begin()
