"""Send what hosts have written: the one process per app and user that talks to destinations.

FORMAT  ``<spool>/lock``     empty; locked for as long as a sender works
        ``<spool>/dropped``  ``{reason: how many}``, JSON: losses that no batch has reported yet
        The queues' files are described in queue.py, the intake's in intake.py, ``wake`` in spool/wake_token.py.

ALGORITHM
1. Ask the gate whether the user still agrees, and take the lock; leave if either fails.
2. Stop if the settings are wrong or name no destination: write that into the ledger, and postpone the next sender.
3. Recover what an earlier sender left (intake.py, and files in flight), and hand in the stubs of dead hosts.
4. Move a batch into the queues, send everything that the queues hold, and so on until ``new/`` is empty. The gate is asked
   before each segment file: an off that is given meanwhile stops the next one.
5. Postpone the next sender if all destinations are paused.
6. Unlock, and begin again with 1 if there is more to send.
Imports stand in functions: most senders find nothing to do, and the SDK takes half a second.

RACES
1. Two senders start at once: the lock is a POSIX record lock, which one of them gets and which dies with its process. The
   other leaves.
2. A host writes a file after the last look into ``new/``, and starts no sender, since one is at work: the sender looks once
   more after it has unlocked (ALGORITHM 6). A file that comes later still finds the lock free.
3. A sender is killed at any moment: see the RACES of intake.py and queue.py. tests/delivery/test_killed.py kills one before
   and after every system call that matters.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..consent.gate import decide
from ..recording.fingerprint import fingerprint
from ..settings.check import MAX_PROBLEM, find_problem
from ..spool.layout import DROPPED, FORMAT, LOCK, NEW, TRACES
from .ledger import Ledger, Result

if TYPE_CHECKING:
    from .destination import Destination
    from .queue import Queue
    from .segment_file import Points, Spans
    from .verdict import Verdict


class Sender:
    """One life of a sender. Concurrency: `acquire_lock` sees to it that only one per app and user works.

    settings: what the host's ``init`` got, ``home`` and what else the order of start.py holds. Any: of whatever host.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        # Taken before any variable is removed from the environment: the host compares it with its own.
        self.fingerprint: str = settings.get("fingerprint") or fingerprint(repr(settings), os.environ)
        self.home: str = settings["home"]
        self.spool = os.path.join(self.home, FORMAT)
        self.ledger = Ledger(self.home)
        self.queues: list[Queue] = []
        self.since_s = 0.0  # nothing begun earlier may be sent
        self._added: Mapping[str, str] | None = None  # resource attributes; see `added_attributes`

    def run(self) -> None:
        """Drain the spool; unlock; look again, since a host may have written meanwhile. Return once nothing is left."""
        while self.may_send() and (lock := self.acquire_lock()) is not None:
            try:
                self.drain()
            finally:
                os.close(lock)
            if not self.has_work():
                return

    def may_send(self) -> bool:
        """True if the user still agrees: a choice made since the run was recorded counts."""
        settings = self.settings
        service = bool(settings.get("service"))
        decision = decide(settings["app"], settings["consent"], settings["policy"], os.environ, service=service)
        self.since_s = decision.since_s
        # Whoever typed `otel-usage run` has asked for it, whatever the default.
        return decision.mode == "on" or (decision.layer == "default" and bool(settings.get("attached")))

    def acquire_lock(self) -> int | None:
        """Return the descriptor that holds the lock, or None if another sender has it."""
        descriptor = os.open(os.path.join(self.spool, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.lockf(descriptor, os.F_TLOCK, 0)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor

    def has_work(self) -> bool:
        """True if there is something that could be taken in or sent now."""
        if self.queues and os.listdir(os.path.join(self.spool, NEW)):
            return True
        now_s = time.time()
        return any(queue.list_waiting() and not queue.paused_until_s(now_s) for queue in self.queues)

    # One pass over the spool.

    def drain(self) -> None:
        """Take in everything that waits and send it, segment file by segment file."""
        if problem := find_problem(self.settings):
            self.ledger.append("", "", 0, Result.REFUSED, None, {}, why=problem)
            self._give_up(f"wrong settings: {problem}")
            return
        from ..settings.remembered import remember
        from .environment import choose_destinations, forget_ambient
        from .intake import Intake
        from .queue import Queue

        destinations = self.settings["destinations"]
        if destinations is not None:
            forget_ambient()
        self.keywords = choose_destinations(destinations)
        self.queues = [Queue(self.spool, name) for name in self.keywords]
        self.destinations: dict[str, Destination | None] = {}  # built so far; None: its settings are wrong
        remember(self.home, self.settings)
        if not self.queues:
            self._give_up("no destination is set")
            return
        for queue in self.queues:
            queue.make_folders()
            if queue.blamed_settings()[0] not in ("", self.fingerprint):  # the settings have changed since
                queue.resume()
        self.intake = Intake(self.spool, self.settings, self.queues, self.since_s)
        self._load_losses()
        try:
            self.intake.recover()
            self._recover_flights()
            for reason, n in self.intake.reap().items():
                self.ledger.append("", "", n, Result.DROPPED, None, {reason: n})
            names = self.intake.list_new()
            while names:
                del names[: self.intake.move_into_queues(names)]
                dropped = self.intake.newest_dropped
                if dropped:
                    self.ledger.append("", "", sum(dropped.values()), Result.DROPPED, None, dropped)
                self.send()
            self.send()
        finally:
            self._save_losses()
            for destination in self.destinations.values():
                if destination is not None:
                    destination.close()
        self._postpone_next()

    def _give_up(self, problem: str) -> None:
        """Let everything wait, as much as may: it is tried again when the settings change, or after a while."""
        from ..recording.folders import trim
        from ..spool.wake_token import WRONG_SETTINGS_PAUSE_S, postpone_senders

        trim(self.spool)
        postpone_senders(self.spool, time.time() + WRONG_SETTINGS_PAUSE_S, self.fingerprint, problem)

    def _postpone_next(self) -> None:
        """Have hosts start no sender while all destinations are paused."""
        from ..spool.wake_token import postpone_senders, senders_postponed_until

        now_s = time.time()
        paused = [queue.paused_until_s(now_s) for queue in self.queues]
        problems = [
            f"{queue.name}: wrong settings: {problem}"
            for queue in self.queues
            if (problem := queue.blamed_settings()[1])
        ]
        if all(paused):
            postpone_senders(self.spool, min(paused), self.fingerprint, "; ".join(problems))
        elif senders_postponed_until(self.spool, now_s)[1]:  # because of settings that have changed since
            postpone_senders(self.spool, now_s)

    def send(self) -> None:
        """Send what every queue holds; the ones that failed before come last, so that they hold up nobody."""
        now_s = time.time()
        for queue in sorted(self.queues, key=lambda queue: queue.failures()):
            for path, reason in list(queue.find_excess(now_s)):
                self._count_loss(queue, reason, _count_lines(path))
                os.unlink(path)
            if queue.paused_until_s(now_s):
                continue
            for segment_file in queue.list_waiting():
                if not self.may_send():  # the user has just said off
                    return
                if not self._deliver(queue, segment_file):
                    break

    # One segment file.

    def _deliver(self, queue: Queue, segment_file: str) -> bool:
        """Send one segment file. False if the destination should be left alone for a while."""
        destination = self._destination(queue)
        if destination is None:
            return False
        signal = "traces" if segment_file.endswith(TRACES) else "metrics"
        path = queue.take_to_flight(segment_file)
        if signal not in destination.exporters:
            queue.remove_from_flight(segment_file)
            return True
        try:
            content = self._read(path, signal)
        except ValueError:
            self._count_loss(queue, "corrupt", _count_lines(path))
            queue.remove_from_flight(segment_file)
            return True
        try:
            verdict = destination.deliver(signal, content.items, len(content))
        except Exception:  # somebody else's exporter: as good as an answer that never came
            if destination.at_most_once:
                self._count_loss(queue, "unknown_delivery", len(content))
                queue.remove_from_flight(segment_file)
            else:
                queue.return_to_wait(segment_file)
            queue.pause(time.time(), None, random.random())  # noqa: S311  jitter
            self.ledger.append(queue.name, signal, len(content), Result.RETRY, None, {})
            return False
        return self._settle(queue, segment_file, signal, content, verdict)

    def _read(self, path: str, signal: str) -> Spans | Points:
        """Return what the segment file at *path* holds. Raises ValueError if it can't be read."""
        from .segment_file import Points, Spans

        newest, records = self.intake.newest
        if os.path.basename(path) == newest:
            return Spans(records, self.added_attributes())
        return (Spans if signal == "traces" else Points).read(path, self.added_attributes())

    def _settle(self, queue: Queue, segment_file: str, signal: str, content: Spans | Points, verdict: Verdict) -> bool:
        """Do with a segment file in flight what *verdict* says, and write it down. False: leave the destination alone."""
        from ..schema.attributes import REASONS

        for reason, n in verdict.dropped.items():
            self.intake.dropped[reason if reason in REASONS else "rejected"] += n
        dropped = sum(verdict.dropped.values())
        sent = len(content) - len(verdict.unsent) - dropped - verdict.skipped
        if verdict.unsent:
            all_unsent = len(verdict.unsent) == len(content)
            queue.return_to_wait(segment_file, None if all_unsent else content.lines(verdict.unsent))
            queue.pause(time.time(), verdict.retry_after_s, random.random())  # noqa: S311  jitter
        else:
            queue.remove_from_flight(segment_file)
            queue.resume()
        result = Result.SENT if sent > 0 else Result.RETRY if verdict.unsent else Result.DROPPED
        if sent > 0 or verdict.unsent or verdict.dropped:
            n = sent if sent > 0 else len(verdict.unsent) + dropped
            words = {"reason": verdict.reason, "why": verdict.objections}
            self.ledger.append(queue.name, signal, n, result, verdict.status, verdict.dropped, **words)
        return not verdict.unsent

    def _recover_flights(self) -> None:
        """Deal with what an earlier sender was sending: send it again where that does no harm, else count it as lost."""
        for queue in self.queues:
            for segment_file in queue.list_in_flight():
                destination = self._destination(queue)
                if destination is not None and destination.at_most_once:
                    path = os.path.join(queue.flight_folder, segment_file)
                    self._count_loss(queue, "unknown_delivery", _count_lines(path))
                    queue.remove_from_flight(segment_file)
                elif segment_file in queue.list_waiting():
                    queue.remove_from_flight(segment_file)  # killed while it was put back
                else:
                    queue.return_to_wait(segment_file)

    # Destinations.

    def _destination(self, queue: Queue) -> Destination | None:
        """Return the destination of a queue, built on first use; None if its settings are wrong: then the queue is paused."""
        from ..setting_error import SettingError

        if queue.name not in self.destinations:
            try:
                self.destinations[queue.name] = self.build(queue.name)
            except SettingError as exc:
                self.destinations[queue.name] = None
                self.refuse(queue, str(exc)[:MAX_PROBLEM])
        return self.destinations[queue.name]

    def build(self, name: str) -> Destination:
        """Return the destination *name*. Raises SettingError."""
        from .destination import build_destination

        return build_destination(name, self.keywords[name], home=self.home, schema=self.settings["schema"])

    def refuse(self, queue: Queue, problem: str) -> None:
        """Write down that a destination can't be built, and pause its queue until the settings change."""
        queue.pause_for_settings(time.time(), self.fingerprint, problem)
        self.ledger.append(queue.name, "", 0, Result.REFUSED, None, {}, why=problem)

    def added_attributes(self) -> Mapping[str, str]:
        """Return the resource attributes that are added to every record. The first call may generate the id."""
        from .installation_id import obtain_installation_id
        from .resource import describe_installation

        if self._added is None:
            vendor = self.settings.get("ci")
            self._added = describe_installation(f"ci.{vendor}" if vendor else obtain_installation_id(self.home))
        return self._added

    # Losses.

    def _count_loss(self, queue: Queue, reason: str, n: int) -> None:
        """Count *n* records that *queue* will never send, for the user's own record and for the next batch."""
        self.intake.dropped[reason] += n
        self.ledger.append(queue.name, "", n, Result.DROPPED, None, {reason: n})

    def _load_losses(self) -> None:
        try:
            with open(os.path.join(self.spool, DROPPED), encoding="ascii") as file:
                self.intake.dropped.update(json.load(file))
        except (OSError, ValueError):
            pass

    def _save_losses(self) -> None:
        """Write down counts of what was lost, for the next batch to report."""
        from ..spool.files import write_whole

        path = os.path.join(self.spool, DROPPED)
        if self.intake.dropped:
            write_whole(path, json.dumps(self.intake.dropped).encode())
        elif os.path.exists(path):
            os.unlink(path)


def _count_lines(path: str) -> int:
    """Return how many lines a segment file has: as near as need be to how many records were lost with it."""
    try:
        with open(path, "rb") as file:
            return sum(1 for _ in file)
    except OSError:
        return 0
