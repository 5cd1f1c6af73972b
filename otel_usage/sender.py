"""The background process: takes what hosts recorded, and delivers it to every destination.

Ring 1 (background). Started by `recorder.BOOT`, which has slept already. Nothing heavy is imported before the lock is
held: of senders that meet, all but one leave at once.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import decide
from .fingerprint import fingerprint
from .recorder import FORMAT

if TYPE_CHECKING:
    from .destination import Destination
    from .queue import Queue

DEADLINE_S = 600  # no sender lives longer; what it leaves, the next one finds
MAX_WHY = 300  # characters kept of what is wrong with the settings
PLAIN = (
    "must be plain values: text, numbers, booleans, None, lists and dicts; in the schema also bool and what "
    "otel_usage.bucket, integer and version return"
)


def start(ours: dict[str, Any], told: str) -> None:
    """Do what a host asks for. ours: what `recorder` says; told: the settings that its ``init`` got, as text."""
    try:
        theirs = read(told)
    except ValueError:
        # Nothing is known of the consent they ask for: anybody's off is one.
        why = f"settings {PLAIN}. OTEL_USAGE_STRICT=1 says which is not"
        theirs = {"consent": "opt-out", "policy": 1, "service": True, "wrong": why}
    main({**theirs, **ours, "fingerprint": fingerprint(told, os.environ)})


def read(told: str) -> Any:
    """Return what *told*, a host's settings as Python shows them, stands for. Raises ValueError if it can't be known.

    A class, such as bool in a schema, becomes its name.
    """
    from ast import literal_eval

    try:  # within a text "<class 'bool'>" can only stand between double quotes, so that it stays one
        return literal_eval(re.sub(r"<class '([\w.]+)'>", r"'\1'", told))
    except (SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(PLAIN) from None  # what they say may hold a key


def main(settings: dict[str, Any]) -> None:
    """Deliver what waits, then return. settings: what the host's ``init`` got, and where it keeps things."""
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(DEADLINE_S)
    if settings["mode"] == "log":
        if why := wrong(settings):
            sys.stderr.write(f"{settings['app']} telemetry, log mode: nothing would be sent, wrong settings: {why}\n")
            return
        from .show import show

        show(settings, sys.stderr)
        return
    try:
        os.nice(5)
    except OSError:
        pass
    Sender(settings).run()


def wrong(settings: Mapping[str, Any]) -> str:
    """Return what is wrong with *settings*, for whatever destination; "" if nothing is. The foreground does not look."""
    from .schema import SettingError, check_own

    if "wrong" in settings:
        return str(settings["wrong"])
    try:
        check_own(settings)
    except SettingError as exc:
        return str(exc)[:MAX_WHY]
    return ""


class Sender:
    """One life of a sender. Concurrency: `lock` sees to it that there is only one per app and user."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        from .ledger import Ledger

        self.settings = settings
        # Taken before any variable is forgotten.
        self.fingerprint: str = settings.get("fingerprint") or fingerprint(repr(settings), os.environ)
        self.home: str = settings["home"]
        self.spool = os.path.join(self.home, FORMAT)
        self.ledger = Ledger(self.home)
        self.queues: list[Queue] = []
        self.since_s = 0.0

    def run(self) -> None:
        """Drain; unlock; look again, since a host may have written meanwhile; until nothing is left or another drains."""
        while self.allowed() and (lock := self.lock()) is not None:
            try:
                self.drain()
            finally:
                os.close(lock)
            if not self.left():
                return

    def allowed(self) -> bool:
        """True if the user still agrees: a choice made since the run was recorded counts."""
        settings = self.settings
        service = bool(settings.get("service"))
        told = decide(settings["app"], settings["consent"], settings["policy"], os.environ, service=service)
        self.since_s = told.since_s
        # Who typed `otel-usage run` has asked for it, whatever the default.
        return told.mode == "on" or (told.layer == "default" and bool(settings.get("attached")))

    def lock(self) -> int | None:
        """Return the descriptor that holds the lock, or None if another sender has it."""
        descriptor = os.open(os.path.join(self.spool, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.lockf(descriptor, os.F_TLOCK, 0)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor

    def left(self) -> bool:
        """True if there is something that could be taken or sent now."""
        if self.queues and os.listdir(os.path.join(self.spool, "new")):
            return True
        now = time.time()
        return any(queue.waiting() and not queue.paused_until_s(now) for queue in self.queues)

    def drain(self) -> None:
        """Take in everything that waits and send it, segment by segment."""
        from .queue import Queue, quiet, quiet_until_s

        if why := wrong(self.settings):
            self.ledger.note("", "", 0, "refused", None, {}, why=why)
            self._give_up(f"wrong settings: {why}")
            return
        from .destination import destinations, forget_ambient
        from .intake import Intake
        from .remembered import remember

        told = self.settings["destinations"]
        if told is not None:
            forget_ambient()
        self.keywords = destinations(told)
        self.queues = [Queue(self.spool, name) for name in self.keywords]
        self.built: dict[str, Destination | None] = {}
        remember(self.home, self.settings)
        if not self.queues:
            self._give_up("no destination is set")
            return
        for queue in self.queues:
            queue.make()
            if queue.refused()[0] not in ("", self.fingerprint):  # the settings have changed since
                queue.resume()
        self.intake = Intake(self.spool, self.settings, self.queues, self.since_s)
        self._load_losses()
        try:
            self.intake.recover()
            self._recover_flights()
            for reason, n in self.intake.reap().items():
                self.ledger.note("", "", n, "dropped", None, {reason: n})
            names = self.intake.names()
            while names:
                del names[: self.intake.take(names)]
                if self.intake.lost:
                    self.ledger.note("", "", sum(self.intake.lost.values()), "dropped", None, self.intake.lost)
                self.send()
            self.send()
        finally:
            self._save_losses()
            for destination in self.built.values():
                if destination is not None:
                    destination.close()
        now = time.time()
        paused = [queue.paused_until_s(now) for queue in self.queues]
        refusals = [f"{queue.name}: wrong settings: {why}" for queue in self.queues if (why := queue.refused()[1])]
        if all(paused):
            quiet(self.spool, min(paused), self.fingerprint, "; ".join(refusals))
        elif quiet_until_s(self.spool, now)[1]:  # of settings that are no more
            quiet(self.spool, now)

    def _give_up(self, why: str) -> None:
        """Let everything wait, as much as may: it is tried again when the settings change, or after a while."""
        from .queue import QUIET_S, quiet
        from .spool import trim

        trim(self.spool)
        quiet(self.spool, time.time() + QUIET_S, self.fingerprint, why)

    def send(self) -> None:
        """Send what every queue holds; the ones that failed before come last, so that they hold up nobody."""
        now = time.time()
        for queue in sorted(self.queues, key=lambda queue: queue.failures()):
            for path, reason in list(queue.bound(now)):
                self._lost(queue, reason, _records(path))
                os.unlink(path)
            if queue.paused_until_s(now):
                continue
            for segment in queue.waiting():
                if not self.allowed():  # the user has just said off
                    return
                if not self._deliver(queue, segment):
                    break

    def _deliver(self, queue: Queue, segment: str) -> bool:
        """Send one segment. False if the destination should be left alone for a while."""
        from .schema import REASONS
        from .segment import Points, Spans

        destination = self._destination(queue)
        if destination is None:
            return False
        signal_ = "traces" if segment.endswith(".traces.jsonl") else "metrics"
        path = queue.take(segment)
        if signal_ not in destination.exporters:
            queue.done(segment)
            return True
        try:
            content: Spans | Points
            if segment == self.intake.fresh[0]:
                content = Spans(self.intake.fresh[1], self._resource())
            else:
                content = (Spans if signal_ == "traces" else Points).read(path, self._resource())
        except ValueError:
            self._lost(queue, "corrupt", _records(path))
            queue.done(segment)
            return True
        try:
            verdict = destination.deliver(signal_, content.items, len(content))
        except Exception:  # somebody else's exporter: as good as an answer that never came
            if destination.at_most_once:
                self._lost(queue, "unknown_delivery", len(content))
                queue.done(segment)
            else:
                queue.back(segment)
            queue.pause(time.time(), None, random.random())  # noqa: S311  jitter
            self.ledger.note(queue.name, signal_, len(content), "retry", None, {})
            return False
        for reason, n in verdict.dropped.items():
            self.intake.dropped[reason if reason in REASONS else "rejected"] += n
        sent = len(content) - len(verdict.unsent) - sum(verdict.dropped.values()) - verdict.skipped
        if verdict.unsent:
            whole = len(verdict.unsent) == len(content)
            queue.back(segment, None if whole else content.lines(verdict.unsent))
            queue.pause(time.time(), verdict.retry_after_s, random.random())  # noqa: S311
        else:
            queue.done(segment)
            queue.resume()
        result = "sent" if sent > 0 else "retry" if verdict.unsent else "dropped"
        if sent > 0 or verdict.unsent or verdict.dropped:
            n = sent if sent > 0 else len(verdict.unsent) + sum(verdict.dropped.values())
            self.ledger.note(queue.name, signal_, n, result, verdict.status, verdict.dropped)
        return not verdict.unsent

    def _lost(self, queue: Queue, reason: str, n: int) -> None:
        """Count *n* records that *queue* will never send, for the user's own record and for the next batch."""
        self.intake.dropped[reason] += n
        self.ledger.note(queue.name, "", n, "dropped", None, {reason: n})

    def _destination(self, queue: Queue) -> Destination | None:
        """Return the destination of a queue, built on first use; None if its settings are wrong: then the queue is paused."""
        from .schema import SettingError

        if queue.name not in self.built:
            try:
                self.built[queue.name] = self.build(queue.name)
            except SettingError as exc:
                self.built[queue.name] = None
                self.refused(queue, str(exc)[:MAX_WHY])
        return self.built[queue.name]

    def build(self, name: str) -> Destination:
        """Return the destination *name*. Raises SettingError."""
        from .destination import build

        return build(name, self.keywords[name], home=self.home, schema=self.settings["schema"])

    def refused(self, queue: Queue, why: str) -> None:
        """Note that a destination can't be built, and let it rest until the settings change."""
        queue.refuse(time.time(), self.fingerprint, why)
        self.ledger.note(queue.name, "", 0, "refused", None, {}, why=why)

    def _recover_flights(self) -> None:
        """What an earlier sender was sending: again where that does no harm, else counted as lost."""
        for queue in self.queues:
            for segment in queue.cut_off():
                destination = self._destination(queue)
                if destination is not None and destination.at_most_once:
                    self._lost(queue, "unknown_delivery", _records(os.path.join(queue.flight, segment)))
                    queue.done(segment)
                elif segment in queue.waiting():
                    queue.done(segment)  # killed while it was put back
                else:
                    queue.back(segment)

    def _resource(self) -> Mapping[str, str]:
        from .enrich import resource
        from .identity import installation_id

        if not hasattr(self, "_told"):
            vendor = self.settings.get("ci")
            self._told = resource(f"ci.{vendor}" if vendor else installation_id(self.home))
        return self._told

    def _load_losses(self) -> None:
        try:
            with open(os.path.join(self.spool, "dropped"), encoding="ascii") as file:
                self.intake.dropped.update(json.load(file))
        except (OSError, ValueError):
            pass

    def _save_losses(self) -> None:
        """Keep counts of what was lost, for the next batch to report."""
        from .queue import write

        path = os.path.join(self.spool, "dropped")
        if self.intake.dropped:
            write(path, json.dumps(self.intake.dropped).encode())
        elif os.path.exists(path):
            os.unlink(path)


def _records(path: str) -> int:
    """Return how many lines a segment has: as near as need be to how many records were lost with it."""
    try:
        with open(path, "rb") as file:
            return sum(1 for _ in file)
    except OSError:
        return 0
