"""Run senders that are killed, each one system call later than the one before: a program of test_killed.py.

Usage: kill_at_every_call.py SETTINGS; prints one line per death. Forks from one process that has everything imported, so that
dozens of deaths take seconds.
"""

from __future__ import annotations

import ast
import os
import shutil
import signal
import sys

import otel_usage.delivery.destination
import otel_usage.delivery.installation_id
import otel_usage.delivery.intake
import otel_usage.delivery.ledger
import otel_usage.delivery.otlp_session
import otel_usage.delivery.resource
import otel_usage.delivery.segment_file
from otel_usage.delivery.sender import Sender

CALLS = ("rename", "replace", "unlink", "fsync", "open", "write", "utime", "lockf")


def die_at(n: int, after: bool) -> None:
    """Have this process kill itself at the *n*-th system call that matters, before or after it is done."""
    left = [n]

    def wrap(real: object) -> object:
        def call(*args: object, **kwargs: object) -> object:
            left[0] -= 1
            if left[0] == 0 and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*args, **kwargs)  # type: ignore[operator]
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for name in CALLS:
        setattr(os, name, wrap(getattr(os, name)))
    session = otel_usage.delivery.otlp_session.OtlpSession
    session.request = wrap(session.request)  # type: ignore[method-assign,assignment]


def one(settings: dict[str, object], n: int, after: bool) -> bool:
    """Run one sender; True if it died."""
    child = os.fork()
    if child == 0:
        try:
            die_at(n, after)
            Sender(settings).run()
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    return os.WIFSIGNALED(status)


def main() -> None:
    """Kill at every call, before and after it, each time on a fresh copy of the spool; then let a sender finish."""
    settings = ast.literal_eval(sys.argv[1])
    home = str(settings["home"])
    pristine = home + ".pristine"
    shutil.copytree(home, pristine)
    for after in (False, True):
        n = 1
        died = True
        while died:
            shutil.rmtree(home)
            shutil.copytree(pristine, home)
            died = one(settings, n, after)
            one(settings, 1 << 60, False)
            left = [
                name
                for _folder, _folders, names in os.walk(home + "/1")
                for name in names
                if name not in ("lock", "wake", "pause", "dropped")
            ]
            print(f"{n} {after} {died} {len(left)}", flush=True)
            n += 1


main()
