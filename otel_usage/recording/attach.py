"""Record the program that is about to start, from outside: what `otel-usage run` has its interpreter do.

Loaded in place of a program's own `otel_usage.init`.
"""

import os
import sys

from .. import _handles, _load, _usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from .run import Run

MOST_EVENTS = 10_000  # of a start-up; beyond them nothing is looked for any more


def attach(settings: "dict[str, Any]") -> None:
    """Start recording, unless somebody said off: who types ``otel-usage run`` has asked for it."""
    if "OTEL_USAGE_CHILD" in os.environ:
        return
    decision = _load("consent.gate").decide(settings["app"], "opt-in", 1, os.environ)
    if decision.layer == "default":
        decision.mode = "on"
    if decision.mode != "off":
        _usage.app, _usage.settings, _usage.decision = settings["app"], settings, decision
        _handles[_usage.app] = _usage  # what the program's own `init` returns, should it be the same app's
        _usage._recorder = _load("recording.recorder").Recorder(settings, decision, None).begin()
        if _usage._recorder is not None:
            keep_first_frame(_usage._recorder.run)


def keep_first_frame(run: "Run") -> None:
    """Have *run* keep the program's outermost frame, once it is there: how it ended shows how the program ended.

    A profiling function sees the first call, and takes itself away; the program has not begun by then.
    """
    seen = 0

    def profile(frame: "FrameType", event: str, arg: object) -> None:  # noqa: ARG001  its shape
        nonlocal seen
        seen += 1
        if frame.f_back is None:
            run.keep_outermost(frame)
        if run.outermost is not None or seen > MOST_EVENTS:
            sys.setprofile(None)

    if sys.getprofile() is None:
        sys.setprofile(profile)
