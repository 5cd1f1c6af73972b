"""Begin the life of the process that a host has started: send, or in log mode print what would be sent.

FORMAT  of what recording/sender_start.py writes to this process's standard input: a tuple, as `marshal` writes it.
        1. seconds to sleep before anything is imported
        2. the order, a dict: ``app``, ``path``, ``home``, ``mode``, ``since_s``, ``ci``, ``lines``, ``token`` (for BOOT)
        3. the settings that the host's ``init`` got
        2 and 3 are the texts of them where anything in them is of no plain type: see settings/text.py.
        The first part of the code is in sender_start.py (``BOOT``), since it runs before anything of ours can be imported.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from ..recording.fingerprint import fingerprint
from ..settings.check import PROBLEM, find_problem
from ..settings.text import MUST_BE_PLAIN, read_settings
from .sender import Sender
from .stop import DEADLINE_S, Stop


def start(order: dict[str, Any], settings_text: str) -> None:
    """Do what a host asks for. order: as `recording.sender_start` writes it; settings_text: what ``init`` got."""
    try:
        settings = read_settings(settings_text)
    except ValueError:
        # The default that the host asks for is not known. With opt-out the sender gets as far as writing the problem into
        # the ledger, unless anybody has said off. It sends nothing.
        problem = f"settings {MUST_BE_PLAIN}. OTEL_USAGE_STRICT=1 says which is not"
        settings = {"consent": "opt-out", "policy": 1, "service": True, PROBLEM: problem}
    main({**settings, **order, "fingerprint": fingerprint(settings_text, os.environ)})


def main(settings: dict[str, Any]) -> None:
    """Deliver what waits, then return. settings: what the host's ``init`` got, and the order."""
    if settings["mode"] == "log":
        if hasattr(signal, "alarm"):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the host may have had it ignored
            signal.alarm(int(DEADLINE_S))
        if problem := find_problem(settings):
            head = f"{settings['app']} telemetry, log mode: nothing would be sent, wrong settings: "
            sys.stderr.write(f"{head}{problem}\n")
            return
        from .rehearsal import print_requests

        print_requests(settings, sys.stderr)
        return
    try:
        os.nice(5)
    except OSError:
        pass
    stop = Stop()
    stop.install(DEADLINE_S)
    Sender(settings, stop).run()
