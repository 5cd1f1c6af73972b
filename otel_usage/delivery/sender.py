"""Send what hosts have written: the one process per app and user that talks to destinations.

FORMAT  ``<spool>/lock``     empty; locked for as long as a sender works
        Losses that no batch has reported yet are described in losses.py, the queues' files in queue.py, the intake's in
        intake.py, ``wake`` in spool/wake_token.py.

ALGORITHM
1. Ask the gate whether the user still agrees, and take the lock; leave if either fails.
2. Put out of the way what is none of ours (spool/set_aside.py).
3. Stop if the settings are wrong or name no destination: write that into the ledger, and postpone the next sender.
4. Recover what an earlier sender left (intake.py, and files in flight), and hand in the stubs of dead hosts.
5. Move a batch into the queues, send everything that the queues hold (dispatch.py), and so on until ``new/`` is empty. The
   gate is asked before each segment file: an off that is given meanwhile stops the next one.
6. Postpone the next sender if all destinations are paused.
7. Unlock, and begin again with 1 if there is more to send.
Imports stand in functions: most senders find nothing to do, and the SDK takes half a second.

FAULTS
1. The disk is full, or the user's share of it: take in less at a time; if not even one file can be taken in, the oldest makes
   room, counted, at most `MAX_MADE_ROOM` of them.
2. Anything else that nobody expected ends this sender. The ledger says so, what waits is bounded (`trim`), and the next sender
   is postponed as for wrong settings: a sender that can't work is not started by every run.

RACES
1. Two senders start at once: the lock is a POSIX record lock, which one of them gets and which dies with its process. The
   other leaves.
2. A host writes a file after the last look into ``new/``, and starts no sender, since one is at work: the sender looks once
   more after it has unlocked (ALGORITHM 7). A file that comes later still finds the lock free.
3. A sender is killed at any moment: see the RACES of intake.py and queue.py. tests/delivery/test_killed.py kills one before
   and after every system call that matters.
"""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..consent.gate import decide
from ..recording.fingerprint import fingerprint
from ..settings.check import MAX_PROBLEM, find_problem
from ..spool.files import list_folder
from ..spool.layout import FORMAT, ID, JSON, LEDGER, LOCK, NEW, OLDER_LEDGER, QUEUE
from ..spool.set_aside import clear_way
from .ledger import Ledger, Result
from .stop import Stop

if TYPE_CHECKING:
    from .destination import Destination
    from .dispatch import Dispatch
    from .intake import Intake
    from .queue import Queue

FULL = (errno.ENOSPC, errno.EDQUOT)
MAX_MADE_ROOM = 16  # of the oldest files that one sender drops from a full disk


class Sender:
    """One life of a sender. Concurrency: `acquire_lock` sees to it that only one per app and user works.

    settings: what the host's ``init`` got, ``home`` and what else the order of start.py holds. Any: of whatever host.
    stop: whether the process is to end.
    """

    def __init__(self, settings: Mapping[str, Any], stop: Stop | None = None) -> None:
        self.settings = settings
        self.stop = stop or Stop()
        # Taken before any variable is removed from the environment: the host compares it with its own.
        self.fingerprint: str = settings.get("fingerprint") or fingerprint(repr(settings), os.environ)
        self.version = str(settings.get("version", ""))[:64]  # as hosts write it
        self.home: str = settings["home"]
        self.spool = os.path.join(self.home, FORMAT)
        self.ledger = Ledger(self.home)
        self.queues: list[Queue] = []
        self.intake: Intake | None = None
        self.since_s = 0.0  # nothing begun earlier may be sent
        self.id_folder = self.home
        self.is_service = bool(settings.get("service"))
        self._added: Mapping[str, str | bool] | None = None  # resource attributes; see `added_attributes`

    def run(self) -> None:
        """Drain the spool; unlock; look again, since a host may have written meanwhile. Return once nothing is left."""
        while self.may_send() and (lock := self.acquire_lock()) is not None:
            try:
                self.drain()
            except Exception as exc:
                self._write_down_fault(exc)
                raise
            finally:
                os.close(lock)
            if self.stop.asked or not self.has_work():
                return

    def may_send(self) -> bool:
        """True if the user still agrees: a choice made since the run was recorded counts."""
        settings = self.settings
        service = bool(settings.get("service"))
        if settings["consent"] == "host":
            from ..consent.host import decide_with_host

            decision = decide_with_host(settings, os.environ)
        else:
            decision = decide(settings["app"], settings["consent"], settings["policy"], os.environ, service=service)
        self.since_s = decision.since_s
        # Whoever typed `otel-usage run` has asked for it, whatever the default.
        return decision.mode == "on" or (decision.layer == "default" and bool(settings.get("attached")))

    def acquire_lock(self) -> int | None:
        """Return the descriptor that holds the lock, or None if another sender has it."""
        clear_way(self.home, self.spool, (), ())
        path = os.path.join(self.spool, LOCK)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.lockf(descriptor, os.F_TLOCK, 0)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor

    def has_work(self) -> bool:
        """True if there is something that could be taken in or sent now."""
        if self.intake is not None and self.intake.list_new():
            return True
        now_s = time.time()
        return any(
            not queue.paused_until_s(now_s, "metrics" if "metrics" in segment_file else "traces")
            for queue in self.queues
            for segment_file in queue.list_due(self.version, now_s)
        )

    # One pass over the spool.

    def drain(self) -> None:
        """Take in everything that waits and send it, segment file by segment file."""
        if problem := find_problem(self.settings):
            self.ledger.append("", "", 0, Result.REFUSED, None, {}, why=problem)
            self._give_up(f"wrong settings: {problem}")
            return
        from ..settings.remembered import remember
        from ..spool.wake_token import read_blamed
        from .dispatch import Dispatch
        from .environment import choose_destinations, forget_ambient
        from .intake import Intake
        from .losses import Losses
        from .queue import Queue

        destinations = self.settings["destinations"]
        if destinations is not None:
            forget_ambient()
        self.keywords = choose_destinations(destinations)
        remembered = [name for name in list_folder(self.home) if name.endswith(JSON)]  # the exporters' too
        clear_way(self.home, self.spool, (ID, LEDGER, OLDER_LEDGER, *remembered), self.keywords)
        self.queues = [Queue(self.spool, name) for name in self.keywords]
        self.destinations: dict[str, Destination | None] = {}  # built so far; None: its settings are wrong
        try:
            remember(self.home, self.settings)
        except OSError:  # commands without the host know less, and nothing else is worse
            pass
        if not self.queues:
            self._give_up("no destination is set")
            return
        blamed, problem = read_blamed(self.spool)
        mended = problem != "" and blamed != self.fingerprint  # what another version could not send is for whoever can
        for queue in self.queues:
            queue.make_folders()
            queue.takes_all = mended
            same = ("", self.fingerprint, self.destination_fingerprint(queue.name))
            settings, problem = queue.blamed_settings()
            if settings not in same:  # they have changed since, or are another version's
                queue.takes_all = mended or bool(problem)
                queue.resume()
        losses = Losses(self.spool)
        self.intake = Intake(
            self.spool,
            self.settings,
            self.queues,
            self.since_s,
            losses,
            takes_all=mended,
            installation_id=self.installation_id,
        )
        dispatch = Dispatch(self, self.queues, losses)
        try:
            self.intake.recover()
            dispatch.recover()
            if trimmed := losses.take_trimmed():
                dispatch.count("", "", {"limit": trimmed})
            if lost := self.intake.reap() + self._take_counts():
                dispatch.count("", "", lost)
            self._meet_installation(self.intake)
            self._take_in_and_send(self.intake, dispatch)
            dispatch.send()
            for name in set(list_folder(os.path.join(self.spool, QUEUE))) - self.keywords.keys():
                dispatch.drop_excess(Queue(self.spool, name))  # no longer a destination: what waits there grows old
        finally:
            for destination in self.destinations.values():
                if destination is not None:
                    destination.close()
        self._postpone_next()

    def _take_counts(self) -> Counter[str]:
        """Take what processes have counted in their cells, unless there is no room; return what was lost."""
        from .cell_intake import CellIntake

        try:
            return CellIntake(self.spool).take()
        except OSError as exc:
            if exc.errno not in FULL:
                raise
            return Counter()

    def _meet_installation(self, intake: Intake) -> None:
        """Where there is something to take in and no id yet, record the first run, and generate the id."""
        from .first_run import ENDING, record_first_run
        from .installation_id import is_new

        names = intake.list_new()
        log_mode = bool(self.settings.get("lines"))  # shows what one run recorded
        if not names or log_mode or self.settings.get("ci"):
            return
        if self.is_service:  # has no first run: its `start` says whether it is the first
            from .beats import tell_phase

            tell_phase(self.spool, self.installation_id(), self.settings["app"])
        elif is_new(self.id_folder):
            app = self.settings["app"]
            try:
                record_first_run(self.spool, names, app=app, version=self.version, since_s=self.since_s)
            except OSError as exc:  # what is sent first makes room, and then there is an id
                if exc.errno not in FULL:
                    raise
            self.added_attributes()
            if self.id_folder == self.home and is_new(self.home):  # it can't be stored: each sending would be a first
                for name in intake.list_new():
                    if name.endswith(ENDING):
                        os.unlink(os.path.join(self.spool, NEW, name))

    def _take_in_and_send(self, intake: Intake, dispatch: Dispatch) -> None:
        """Move what is new into the queues, batch by batch, and send each. See FAULTS 1 for a full disk."""
        names = intake.list_new()
        most, made_room = len(names), 0
        while names and not self.stop.asked:
            try:
                n = intake.move_into_queues(names[:most])
            except OSError as exc:
                if exc.errno not in FULL:
                    raise
                intake.recover()
                dispatch.send()  # what is sent makes room
                if most > 1:
                    most = max(1, min(most, len(names)) // 8)
                elif made_room < MAX_MADE_ROOM:
                    made_room += 1
                    dispatch.count("", "", {"limit": intake.drop(names.pop(0))})
                else:
                    return
                continue
            del names[:n]
            most *= 2
            if intake.newest_dropped:
                self.ledger.append(
                    "", "", sum(intake.newest_dropped.values()), Result.DROPPED, None, intake.newest_dropped
                )
            dispatch.send(intake.newest)

    def _give_up(self, problem: str) -> None:
        """Let everything wait, as much as may: it is tried again when the settings change, or after a while."""
        from ..recording.folders import trim
        from ..spool.wake_token import WRONG_SETTINGS_PAUSE_S, postpone_senders

        trim(self.spool)
        postpone_senders(self.spool, time.time() + WRONG_SETTINGS_PAUSE_S, self.fingerprint, problem)

    def _write_down_fault(self, exc: Exception) -> None:
        """Write down, where that can be done, that this sender could not work. The text of *exc* may hold anything."""
        if not os.path.isdir(self.spool):  # the user has just said off, and nothing is to be written any more
            return
        name = type(exc).__qualname__
        missing = getattr(exc, "name", "") if isinstance(exc, ImportError) else ""
        problem = f"the sender failed: {name}" + (f" of {missing}" if missing else "")
        self.ledger.append("", "", 0, Result.RETRY, None, {}, reason="fault", why=problem[:MAX_PROBLEM])
        try:
            self._give_up(problem[:MAX_PROBLEM])
        except OSError:
            pass

    def _postpone_next(self) -> None:
        """Have hosts start no sender while all destinations are paused."""
        from ..spool.wake_token import postpone_senders, read_blamed

        now_s = time.time()
        paused = [queue.paused_until_s(now_s) for queue in self.queues]
        problems = [
            f"{queue.name}: wrong settings: {problem}"
            for queue in self.queues
            if (problem := queue.blamed_settings()[1])
        ]
        if all(paused):
            # Programs of another version, whose records were left, do not wait for the pauses of this one's destinations.
            shared = self.intake is not None and bool(self.intake.left)
            postpone_senders(self.spool, min(paused), self.fingerprint, "; ".join(problems), shared=shared)
        elif any(read_blamed(self.spool)):  # of settings that have changed since
            postpone_senders(self.spool, now_s)

    # Destinations.

    def destination(self, queue: Queue) -> Destination | None:
        """Return the destination of a queue, built on first use; None if its settings are wrong: then the queue is paused."""
        from ..setting_error import SettingError

        if queue.name not in self.destinations:
            try:
                self.destinations[queue.name] = self.build(queue.name)
            except SettingError as exc:
                self.destinations[queue.name] = None
                self.refuse(queue, str(exc)[:MAX_PROBLEM])
        return self.destinations[queue.name]

    def destination_fingerprint(self, name: str) -> str:
        """Return what changes with what is said of the destination *name*, in code or by variables."""
        return fingerprint(repr(self.keywords[name]), os.environ)

    def build(self, name: str) -> Destination:
        """Return the destination *name*. Raises SettingError."""
        from .destination import build_destination

        return build_destination(name, self.keywords[name], home=self.home, schema=self.settings["schema"])

    def refuse(self, queue: Queue, problem: str) -> None:
        """Write down that a destination can't be built, and pause its queue until the settings change."""
        queue.pause_for_settings(time.time(), self.fingerprint, problem)
        self.ledger.append(queue.name, "", 0, Result.REFUSED, None, {}, why=problem)

    def added_attributes(self) -> Mapping[str, str | bool]:
        """Return the resource attributes that are added to every record. The first call may generate the id."""
        from .installation_id import obtain_installation
        from .resource import describe_installation

        if self._added is None:
            ci = self.settings.get("ci", "")
            if self.is_service and not ci:
                from .cluster_identity import find_cluster
                from .service_identity import find_identity

                identity = find_identity(self.settings["app"], self.home, os.environ)
                added = describe_installation(identity.installation, ephemeral=identity.is_ephemeral)
                cluster = find_cluster(self.settings["app"], self.home, os.environ)
                self._added = {**added, **({"k8s.cluster.uid": cluster} if cluster else {})}
            else:
                self._added = describe_installation(None if ci else obtain_installation(self.home), ci)
        return self._added

    def installation_id(self) -> str:
        """Return the installation's id, "" in CI. The first call may generate it."""
        return str(self.added_attributes().get("app.installation.id", ""))
