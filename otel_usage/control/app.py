"""One program as its user sees it: the mode and who decided it, what would be sent, what was sent, and how to change it.

The commands call this, as ``otel-usage`` and mounted into a host. It works on this machine's files only: it sends nothing,
prints nothing and asks nothing. `status.status_of` adds what waits on the disk.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from ..consent.choice import store_choice
from ..consent.decision import Decision
from ..consent.gate import decide, getter, home, stored, variable, voices
from ..consent.host import decide_with_host
from ..delivery.ledger import Ledger
from ..settings.remembered import recall
from ..spool.files import open_plain
from ..spool.layout import BATCH, BATCH_DONE, CELLS, CONSENT, DROPPED, FORMAT, HOST, ID, LOCAL, NEW, QUEUE
from ..spool.removal import clear_folder, discard, explain_os_error, find_obstacle
from .known_apps import list_known
from .program_handle import program_handle
from .sender_stop import stop_sender
from .wording import iso_time

if TYPE_CHECKING:
    from ..delivery.preview_request import Preview

ENTRY_KEYS = {"time", "destination", "signal", "records", "result", "status", "dropped"}  # of the ledger, always there
UNSENT = (NEW, CELLS, QUEUE, DROPPED, BATCH, BATCH_DONE)  # in the spool: all that a sender would still send


class ControlError(Exception):
    """It could not be done. The text says what, why, and what to do."""


class Effect(str, Enum):
    """What became of one statement. A text too, so that JSON shows it as its value."""

    DECIDES = "decides"
    AGREES = "agrees"
    OVERRULED = "overruled"
    PAUSED = "paused"  # the user's "on" decides, but it was said to less than is collected now


@dataclass(frozen=True)
class Statement:
    """What one voice says, and with what effect. layer, source: as in `Decision`; mode: what it asks for."""

    layer: str
    source: str
    mode: str
    effect: Effect


class App:
    """One program as its user sees it.

    settings: as the host's ``init`` got them, or as the sender remembers them; None if the program is not known here.
    environ: the variables to go by, default this process's. flag: the host's option that says off, if it was typed.
    testing: the program runs inside a test runner, whose default is off.
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
        self.choice_file = f"{self.home}/{CONSENT}"
        self.id_file = f"{self.home}/{ID}"
        self.settings = settings if settings else recall(self.home) if self.home else None

    @classmethod
    def running(cls) -> App:
        """Return the program that this process is. Raises ControlError before `init`."""
        usage = program_handle()
        if not usage.app:
            raise ControlError("this program has not called otel_usage.init, so there is nothing to show or change")
        decision = usage.decision
        flag = decision.source if decision is not None and decision.layer == "flag" else ""
        return cls(usage.app, usage.settings, flag=flag, testing="pytest" in sys.modules)

    # What is in effect.

    @property
    def consent(self) -> str:
        """The host's default; where it is not known, what the stored choice lets us conclude."""
        if self.settings is not None:
            return str(self.settings["consent"])
        return "opt-out" if self.home and stored(self.choice_file)[0] == "noticed" else "opt-in"

    @property
    def policy(self) -> int:
        """The version of what is collected; 1 where it is not known."""
        return int(self.settings["policy"]) if self.settings is not None else 1

    @property
    def about(self) -> str:
        """Where the maintainers explain what they collect, or ""."""
        return str((self.settings or {}).get("about", ""))

    def require_settings(self) -> Mapping[str, Any]:
        """Return the host's settings. Raises ControlError if they are not known here."""
        if self.settings is None:
            raise ControlError(
                f"nothing is known of {self.name!r} here: it has not sent anything yet. Ask the program itself, "
                f"where it has a telemetry command"
            )
        return self.settings

    def decision(self) -> Decision:
        """Return what would happen in a run that starts now."""
        if self.settings is not None and self.consent == "host":
            return decide_with_host(self.settings, self.environ, self.testing)
        service = bool(self.settings and self.settings.get("service"))
        return decide(self.name, self.consent, self.policy, self.environ, self.testing, self.flag, service)

    def statements(self) -> list[Statement]:
        """Return what every voice says, strongest first, the user's stored choice last."""
        decision = self.decision()
        spoken = list(voices(self.name, getter(self.environ), self.flag))
        if self.home:
            choice = stored(self.choice_file)[0]
            if choice in ("on", "local", "off"):
                spoken.append(("stored", self.choice_file, choice))
        return [Statement(layer, source, mode, _effect(source, mode, decision)) for layer, source, mode in spoken]

    def unreadable(self) -> str:
        """Return why what is stored here can't be read, in a sentence; "" if it can be, or if there is nothing."""
        try:
            if self.home:
                os.lstat(self.home)
                for folder, _, names in os.walk(self.home, onerror=_raise_unless_gone):
                    for name in names if folder == self.home else ():
                        os.close(os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NONBLOCK))
        except (FileNotFoundError, NotADirectoryError) as exc:
            if not os.path.lexists(self.home):
                return ""
            kind = "a link to what is not there" if os.path.islink(self.home) else "not a folder"
            return f"{self.home!r} is {kind}" if exc.filename == self.home else ""
        except OSError as exc:
            return f"{exc.filename or self.home!r} can't be read ({explain_os_error(exc)})"
        return ""

    def obstacle(self) -> str:
        """Return why no record can be stored here; "" if one can be. Leaves no trace."""
        return find_obstacle(self.home)

    def require_readable(self) -> None:
        """Raise ControlError if what is stored here can't be read."""
        if problem := self.unreadable():
            raise ControlError(problem)

    def reason(self, decision: Decision) -> str:
        """Return why it is off though nobody said so, or why nothing can be recorded though it is on; else ""."""
        if decision.layer == "nowhere":
            return "set HOME or OTEL_USAGE_HOME: without a folder to keep records in, nothing is recorded"
        if problem := self.unreadable():
            return problem
        if decision.mode in ("on", "local"):
            problem = self.obstacle()
            return f"nothing can be recorded: {self.home!r} can't be used ({problem})" if problem else ""
        choice = stored(self.choice_file)[0]
        if decision.mode == "off" and (decision.notice or decision.layer == "stored") and choice in ("on", "noticed"):
            return f"policy {self.policy}: its notice was not seen yet; on a terminal, the program's next run shows it"
        return ""

    # What would be sent, and what was.

    def preview(self, *, if_on: bool = False) -> Preview:
        """Return every request that the next sending would make; none if nothing would be sent.

        if_on: as if the user had said on. Where that would send nothing of what is here, this is an example, made of
        what was recorded so far. Moves, keeps and sends nothing. Raises ControlError.
        """
        # Loaded here: a rehearsal needs the whole sender, and no other command does.
        from ..delivery.preview_request import Preview
        from ..delivery.rehearsal import rehearse
        from ..setting_error import SettingError
        from ..settings.check import check_without_exporters

        decision = self.decision()
        if (decision.mode != "on" and not if_on) or not self.home:
            return Preview()
        self.require_readable()
        settings = self.require_settings()
        try:
            check_without_exporters(settings)
        except SettingError as exc:
            raise ControlError(f"nothing would be sent, wrong settings: {exc}") from exc
        try:
            if decision.mode == "on" or self._may_send_unsent():
                preview = rehearse(settings, self.home, since_s=decision.since_s, ci=decision.ci, spools=[self.spool])
                if decision.mode == "on" or preview.requests:
                    return preview
            spools = [self.spool, f"{self.spool}/{LOCAL}"]
            preview = rehearse(settings, self.home, since_s=0.0, ci=decision.ci, spools=spools)
        except OSError as exc:
            raise ControlError(f"there is no room for a preview ({explain_os_error(exc)})") from exc
        preview.example = bool(preview.requests)
        return preview

    def _may_send_unsent(self) -> bool:
        """True if what waits was recorded under a choice that allows to send it: a later on takes nothing away."""
        mode, _, policy = stored(self.choice_file)
        return mode in ("on", "noticed") and (policy or 1) >= self.policy

    def history(self) -> list[dict[str, Any]]:
        """Return every delivery that is remembered, oldest first, as the ledger has it. Raises ControlError."""
        self.require_readable()
        try:
            entries = list(Ledger(self.home).entries()) if self.home else []
        except OSError:  # no name for a file, or changed meanwhile: `reason` says so
            return []
        return [entry for entry in entries if isinstance(entry, dict) and entry.keys() >= ENTRY_KEYS]

    def summarize_sent(self) -> dict[str, Any]:
        """Return what was sent to whom, and under which id: only what is remembered here, and ``off`` forgets it.

        Shape: ``{"sent": {destination: {"records": n, "first": time, "last": time, "known_as": {field: id}}},
        "installation_id": id or None}``. Raises ControlError.
        """
        from .known_as import ids_at

        sent: dict[str, dict[str, Any]] = {}
        for entry in self.history():
            if entry["result"] == "sent" and entry["destination"]:
                total = sent.setdefault(entry["destination"], {"records": 0, "first": iso_time(entry["time"])})
                total["records"] += entry["records"]
                total["last"] = iso_time(entry["time"])
        installation_id = self.installation_id()
        for name, fields in ids_at(sent, installation_id, self.settings).items() if installation_id else ():
            sent[name]["known_as"] = fields
        return {"sent": sent, "installation_id": installation_id}

    def installation_id(self) -> str | None:
        """Return the stored id, even one that is too old to be used again: things were sent under it."""
        from ..delivery.installation_id import read_installation_id

        return read_installation_id(self.home, rotate_days=1_000_000) if self.home else None

    # What the user changes.

    def choose(self, mode: str) -> Decision:
        """Store the user's choice, ``on``, ``local`` or ``off``, and return what is in effect now.

        ``off`` leaves nothing of ours but this choice. What was recorded before ``on`` is never sent: it is removed,
        unless the user had agreed to it already. The policy that was seen is never lowered: what is known here may be
        older than the program. Raises ControlError.
        """
        if not self.home:
            raise ControlError("there is no folder to store a choice in: set HOME, or OTEL_USAGE_HOME")
        since_s, policy = stored(self.choice_file)[1:]
        may_send_unsent = self._may_send_unsent()
        if mode != "on" or not may_send_unsent:
            since_s = int(time.time())
        try:
            # The choice comes first: programs and senders that start from now on go by it.
            store_choice(self.home, mode, since_s, max(policy, self.policy))
            if mode == "off":
                self._remove_all_but((CONSENT,))
                for guest in self._guests():
                    guest._remove_unsent()
            elif mode == "local":
                stop_sender(self.spool)
            elif not may_send_unsent:
                self._remove_unsent()
        except OSError as exc:
            problem = f"{self.home!r} can't be changed ({explain_os_error(exc)})"
            if mode == "off" and not os.path.isdir(self.home):
                problem += f". Nothing is recorded there either; to be sure, set {variable(self.name)}_TELEMETRY=off"
            raise ControlError(problem) from exc
        return self.decision()

    def reset_id(self) -> tuple[bool, str | None]:
        """Forget the installation's id; the next sending makes a new one.

        Returns whether there was one, and the id itself, None if it could not be read. Raises ControlError.
        """
        old = self.installation_id()
        try:
            os.unlink(self.id_file)
        except (FileNotFoundError, NotADirectoryError):
            return False, None
        except OSError as exc:
            raise ControlError(f"{self.id_file!r} can't be removed ({explain_os_error(exc)})") from exc
        return True, old

    def forget(self) -> dict[str, Any]:
        """Remove everything local but an explicit choice, and return what was sent to whom, and under which id.

        existed: there was something to remove from. Raises ControlError.
        """
        summary = self.summarize_sent()
        choice = stored(self.choice_file)[0] if self.home else ""
        existed = False
        try:
            if self.home:
                os.stat(self.home + "/")
                existed = True
                self._remove_all_but((CONSENT,) if choice else ())
        except (FileNotFoundError, NotADirectoryError):
            choice = ""
        except OSError as exc:
            raise ControlError(f"{self.home!r} can't be removed ({explain_os_error(exc)})") from exc
        return {"app": self.name, "existed": existed, **summary, "choice_kept": choice or None}

    def _guests(self) -> list[App]:
        """Return the plugins and libraries that were last recorded by what was decided for this program."""
        guests = []
        for name in list_known(self.environ):
            home = f"{os.path.dirname(self.home)}/{name}"
            settings = recall(home)  # as the last sender wrote them, if there was one
            by = ((settings or {}).get("host") or {}).get("app")
            if (settings or {}).get("consent", "host") == "host" and self.name in (by, _host_of(home)):
                guests.append(App(name, settings, self.environ))
        return guests

    def _remove_unsent(self) -> None:
        """Remove what was recorded and not sent yet, while programs go on running. Raises OSError."""
        stop_sender(self.spool)
        for name in UNSENT:
            discard(self.home, f"{FORMAT}/{name}")
        if os.path.isdir(self.spool):
            os.makedirs(f"{self.spool}/{NEW}", 0o700, exist_ok=True)

    def _remove_all_but(self, names: tuple[str, ...]) -> None:
        """Remove everything in the program's folder but *names*; with no names the folder too. Raises OSError."""
        stop_sender(self.spool)
        clear_folder(self.home, names, lambda: stop_sender(self.spool))
        if not names:
            for folder in (self.home, os.path.dirname(self.home)):
                try:
                    os.rmdir(folder)
                except OSError:  # other programs' state
                    break


def _effect(source: str, mode: str, decision: Decision) -> Effect:
    if source == decision.source:
        return Effect.PAUSED if mode == "on" and decision.mode == "off" else Effect.DECIDES
    return Effect.AGREES if mode == decision.mode else Effect.OVERRULED


def _raise_unless_gone(error: OSError) -> None:
    """Raise what `os.walk` met, but for a folder that somebody has removed meanwhile."""
    if not isinstance(error, FileNotFoundError) or os.path.islink(error.filename):
        raise error


def _host_of(home: str) -> str:
    """Return the program by whose word the plugin whose folder is *home* was last on; "" if it is none, or says nothing."""
    try:
        with open(f"{home}/{HOST}", encoding="utf-8", opener=open_plain) as file:
            return file.read(256)
    except (OSError, ValueError):
        return ""
