"""What a user can see and change of one program's usage data: its mode, what waits, what was sent, and all of it gone.

Ring 1 (background): what ``otel-usage status`` and ``mycli telemetry status`` call. Works on this machine's files only;
nothing here sends anything, or reads an answer from a terminal.
"""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import Decision, _usage, decide, getter, home, stored, variable, voices
from .ledger import Ledger
from .queue import Queue, abandoned, entries, quiet_until_s
from .recorder import FORMAT
from .remembered import recall
from .removal import clear, discard, obstacle, why
from .spool import keep

if TYPE_CHECKING:
    from .show import Preview

STOP_S = 2.0  # how long a sender is waited for that was told to stop


class ControlError(Exception):
    """It could not be done. The text says what, why, and what to do."""


@dataclass(frozen=True)
class Voice:
    """One who says something. effect: ``decides``, ``agrees``, ``overruled``, or ``paused``: an on to less than now."""

    layer: str
    source: str
    mode: str
    effect: str


class App:
    """One program as its user sees it.

    settings: as the host's ``init`` got them, or as the sender remembers them; None if the program is not known here.
    """

    def __init__(
        self,
        name: str,
        settings: Mapping[str, Any] | None = None,
        environ: MutableMapping[str, str] | None = None,
        *,
        flag: str = "",
        testing: bool = False,
    ) -> None:
        self.name = name
        self.environ = os.environ if environ is None else environ
        self.flag = flag
        self.testing = testing
        root = home(getter(self.environ))
        self.home = f"{root}/{name}" if root else ""
        self.spool = f"{self.home}/{FORMAT}"
        self.settings = settings if settings else recall(self.home) if self.home else None

    @classmethod
    def running(cls) -> App:
        """Return the program that this process is."""
        if not _usage.app:
            raise ControlError("this program has not called otel_usage.init, so there is nothing to show or change")
        decision = _usage.decision
        flag = decision.source if decision is not None and decision.layer == "flag" else ""
        return cls(_usage.app, _usage.settings, flag=flag, testing="pytest" in sys.modules)

    # What is.

    @property
    def consent(self) -> str:
        """The host's default; where it is not known, what the stored choice lets us conclude."""
        if self.settings is not None:
            return str(self.settings["consent"])
        return "opt-out" if self.home and stored(self.home + "/consent")[0] == "noticed" else "opt-in"

    @property
    def policy(self) -> int:
        """The version of what is collected; 1 where it is not known."""
        return int(self.settings["policy"]) if self.settings is not None else 1

    def decision(self) -> Decision:
        """Return what would happen in a run that starts now."""
        service = bool(self.settings and self.settings.get("service"))
        return decide(self.name, self.consent, self.policy, self.environ, self.testing, self.flag, service)

    def voices(self) -> list[Voice]:
        """Return everyone who says something, strongest first."""
        decided = self.decision()
        found = list(voices(self.name, getter(self.environ), self.flag))
        if self.home:
            choice = stored(self.home + "/consent")[0]
            if choice in ("on", "local", "off"):
                found.append(("stored", self.home + "/consent", choice))
        return [
            Voice(
                layer,
                source,
                mode,
                ("paused" if mode == "on" and decided.mode == "off" else "decides")
                if source == decided.source
                else ("agrees" if mode == decided.mode else "overruled"),
            )
            for layer, source, mode in found
        ]

    def reason(self, decided: Decision) -> str:
        """Return why it is off though nobody said so, or why nothing can be recorded though it is on; else ""."""
        if decided.layer == "nowhere":
            return "set HOME or OTEL_USAGE_HOME: without a folder to keep records in, nothing is recorded"
        if decided.mode in ("on", "local"):
            problem = obstacle(self.home)
            return f"nothing can be recorded: {self.home!r} can't be used ({problem})" if problem else ""
        mode = stored(self.home + "/consent")[0]
        if decided.mode == "off" and (decided.notice or decided.layer == "stored") and mode in ("on", "noticed"):
            return f"policy {self.policy}: its notice was not seen yet; on a terminal, the program's next run shows it"
        return ""

    def queues(self) -> list[Queue]:
        """Return the queues that exist."""
        folder = os.path.join(self.spool, "queue")
        return [Queue(self.spool, name) for name in sorted(entries(folder))]

    def status(self) -> dict[str, Any]:
        """Return everything there is to know, as JSON would have it."""
        decided = self.decision()
        choice, since_s, seen = stored(self.home + "/consent") if self.home else ("", 0, 0)
        now = time.time()
        ledger = list(Ledger(self.home).entries()) if self.home else []
        last: dict[str, dict[str, Any]] = {}
        dropped: Counter[str] = Counter()
        for entry in ledger:
            if entry["destination"]:
                last[entry["destination"]] = entry
            dropped.update(entry["dropped"])
        queues = {queue.name: queue for queue in self.queues()}
        until_s, blamed = quiet_until_s(self.spool, now)
        told = (self.settings or {}).get("destinations")
        if told is None:
            with self._ambient(None):
                from .destination import destinations

                names = list(destinations(None))
        else:
            names = list(told) if isinstance(told, Mapping) else []
        return {
            "app": self.name,
            "known": self.settings is not None,
            "mode": decided.mode,
            "layer": decided.layer,
            "source": decided.source,
            "value": self.environ.get(decided.source, "") if decided.layer == "environment" else "",
            "reason": self.reason(decided) or None,
            "notice_due": decided.notice,
            "default": self.consent,
            "settings": [vars(voice) for voice in self.voices()],
            "choice": {"mode": choice, "since": _iso(since_s), "policy": seen} if choice else None,
            "policy": self.policy,
            "folder": self.home,
            "installation_id": bool(self.home) and os.path.exists(self.home + "/id"),
            "waiting": self._waiting(self.spool),
            "not_before": {"time": _iso(until_s), "why": blamed},
            "local": self._waiting(self.spool + "/local"),
            "destinations": {
                name: {
                    "configured": name in names,
                    "waiting": _amount(
                        [(folder, entries(folder)) for folder in (queues[name].wait, queues[name].flight)]
                        if name in queues
                        else []
                    ),
                    "failures": queues[name].failures() if name in queues else 0,
                    "paused_until": _iso(queues[name].paused_until_s(now)) if name in queues else None,
                    "last": last.get(name),
                }
                for name in dict.fromkeys([*names, *queues, *last])
            },
            "dropped": dict(dropped),
            "about": (self.settings or {}).get("about", ""),
        }

    def _waiting(self, spool: str) -> dict[str, Any]:
        """Return how much waits in *spool*: finished runs, and what will be reported of those that were cut off."""
        return _amount([(spool + "/new", entries(spool + "/new")), (spool + "/open", abandoned(spool))])

    def preview(self, *, if_on: bool = False) -> Preview:
        """Return every request that the next sending would make; none if nothing would be sent.

        if_on: as if the user had said on. Where that would send nothing of what is here, this is an example, made of
        what was recorded so far. Moves, keeps and sends nothing. Raises ControlError.
        """
        from .show import Preview, rehearse

        decided = self.decision()
        if (decided.mode != "on" and not if_on) or not self.home:
            return Preview()
        settings = self.known()
        from .schema import SettingError, check_own

        try:
            check_own(settings)
        except SettingError as exc:
            raise ControlError(f"nothing would be sent, wrong settings: {exc}") from exc
        try:
            if decided.mode == "on" or self._agreed():
                found = rehearse(settings, self.home, since_s=decided.since_s, ci=decided.ci, spools=[self.spool])
                if decided.mode == "on" or found.requests:
                    return found
            both = [self.spool, self.spool + "/local"]
            found = rehearse(settings, self.home, since_s=0.0, ci=decided.ci, spools=both)
        except OSError as exc:
            raise ControlError(f"there is no room for a preview ({why(exc)})") from exc
        found.example = bool(found.requests)
        return found

    def _agreed(self) -> bool:
        """True if what waits was recorded under a choice that allows to send it: a later on takes nothing away."""
        mode, _, seen = stored(self.home + "/consent")
        return mode in ("on", "noticed") and (seen or 1) >= self.policy

    def history(self) -> list[dict[str, Any]]:
        """Return every delivery that is remembered, oldest first."""
        return list(Ledger(self.home).entries()) if self.home else []

    # What changes.

    def choose(self, mode: str) -> Decision:
        """Store the user's choice, ``on``, ``local`` or ``off``, and return what is in effect now.

        ``off`` leaves nothing of ours but this record. What was recorded before ``on`` is never sent: it is removed,
        unless the user had agreed to it already. The policy that was seen is never lowered: what is known here may be
        older than the program. Raises ControlError.
        """
        if not self.home:
            raise ControlError("there is no folder to store a choice in: set HOME, or OTEL_USAGE_HOME")
        since_s, seen = stored(self.home + "/consent")[1:]
        agreed = self._agreed()
        try:
            keep(self.home, mode, since_s if mode == "on" and agreed else int(time.time()), max(seen, self.policy))
            if mode == "off":
                self._remove(keep=("consent",))
            elif mode == "local":
                self._stop_sender()
            elif not agreed:
                self._stop_sender()
                for name in ("new", "queue", "dropped", "batch", "batch.done"):
                    discard(self.home, f"{FORMAT}/{name}")
                if os.path.isdir(self.spool):
                    os.makedirs(self.spool + "/new", 0o700, exist_ok=True)
        except OSError as exc:
            problem = f"{self.home!r} can't be changed ({why(exc)})"
            if mode == "off" and not os.path.isdir(self.home):
                problem += f". Nothing is recorded there either; to be sure, set {variable(self.name)}_TELEMETRY=off"
            raise ControlError(problem) from exc
        return self.decision()

    def reset_id(self) -> tuple[bool, str | None]:
        """Forget the installation's id; the next sending makes a new one. Returns if there was one, and it, if legible."""
        old = self._id()
        try:
            os.unlink(self.home + "/id")
        except (FileNotFoundError, NotADirectoryError):
            return False, None
        except OSError as exc:
            raise ControlError(f"{self.home + '/id'!r} can't be removed ({why(exc)})") from exc
        return True, old

    def _id(self) -> str | None:
        """Return the id that is kept, even if its time is over: things were sent under it."""
        from .identity import kept_id

        return kept_id(self.home, rotate_days=1_000_000) if self.home else None

    def forget(self) -> dict[str, Any]:
        """Remove everything local but an explicit choice, and return what was sent to whom, and under which id.

        existed: there was something to remove from. Raises ControlError.
        """
        elsewhere = self.elsewhere()
        kept = stored(self.home + "/consent")[0] if self.home else ""
        existed = False
        try:
            if self.home:
                os.stat(self.home + "/")
                existed = True
                self._remove(keep=("consent",) if kept else ())
        except (FileNotFoundError, NotADirectoryError):
            kept = ""
        except OSError as exc:
            raise ControlError(f"{self.home!r} can't be removed ({why(exc)})") from exc
        return {
            "app": self.name,
            "existed": existed,
            **elsewhere,
            "choice_kept": kept or None,
        }

    def elsewhere(self) -> dict[str, Any]:
        """Return what was sent to whom, and under which id: only what is remembered here, and ``off`` forgets it."""
        sent: dict[str, dict[str, Any]] = {}
        for entry in self.history():
            if entry["result"] == "sent" and entry["destination"]:
                told = sent.setdefault(entry["destination"], {"records": 0, "first": _iso(entry["time"])})
                told["records"] += entry["records"]
                told["last"] = _iso(entry["time"])
        return {"sent": sent, "installation_id": self._id()}

    def known(self) -> Mapping[str, Any]:
        """Return the host's settings. Raises ControlError if they are not known here."""
        if self.settings is None:
            raise ControlError(
                f"nothing is known of {self.name!r} here: it has not sent anything yet. Ask the program itself, "
                f"where it has a telemetry command"
            )
        return self.settings

    def _remove(self, keep: tuple[str, ...]) -> None:
        self._stop_sender()
        clear(self.home, keep, self._stop_sender)
        if not keep:
            for folder in (self.home, os.path.dirname(self.home)):
                try:
                    os.rmdir(folder)
                except OSError:  # other programs' state
                    break

    def _stop_sender(self) -> None:
        """End a sender that is at work: what it holds is about to be removed, or must not be sent any more."""
        try:
            descriptor = os.open(self.spool + "/lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            end = time.monotonic() + STOP_S
            while time.monotonic() < end:
                try:
                    os.lockf(descriptor, os.F_TEST, 0)
                    return
                except OSError:
                    pid = _holder(descriptor)
                    if pid and _is_sender(pid):
                        os.kill(pid, signal.SIGKILL)
                    time.sleep(0.01)
        finally:
            os.close(descriptor)

    @contextmanager
    def _ambient(self, told: object) -> Iterator[None]:
        """Let exporters see what the sender would let them see; afterwards this process is as it was."""
        from .destination import forget_ambient

        before = dict(os.environ)
        try:
            if told is not None:
                forget_ambient()
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _iso(seconds: float) -> str | None:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if seconds else None


def _amount(found: Sequence[tuple[str, Sequence[str]]]) -> dict[str, Any]:
    """Return how much is in files: their number, spans and data points, bytes, since when. found: (folder, names)."""
    files = records = size = 0
    oldest = 0.0
    for path in [os.path.join(folder, name) for folder, names in found for name in names]:
        try:
            with open(path, "rb") as file:
                text, at = file.read(), os.fstat(file.fileno()).st_mtime
        except OSError:
            continue
        if not text:  # cut off before it was known what was run
            continue
        files, size = files + 1, size + len(text)
        if path.endswith(".traces.jsonl"):
            records += len(re.findall(rb'"spanId":', text))
        else:
            records += len(re.findall(rb'"timeUnixNano":', text))
        oldest = min(oldest or at, at)
    return {"files": files, "records": records, "bytes": size, "oldest": _iso(oldest)}


def _holder(descriptor: int) -> int:
    """Return the process that holds the lock on *descriptor*'s file; 0 where the system does not tell."""
    try:
        import fcntl

        asked = struct.pack("hhqqixxxx", fcntl.F_WRLCK, 0, 0, 0, 0)
        return int(struct.unpack("hhqqixxxx", fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))[4])
    except (ImportError, OSError, struct.error):
        return 0


def _is_sender(pid: int) -> bool:
    """True if *pid* is a sender of ours: over a network file system it may be another machine's number."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"\0otel-usage\0" in file.read()
    except OSError:
        return False


def as_json(value: object) -> str:
    """Return *value* as people and programs can read it."""
    return json.dumps(value, indent=2)
