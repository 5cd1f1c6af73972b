"""What ``otel-usage doctor`` looks at, one check after the other. Nothing that counts as an event leaves this machine.

The checks of a destination go from its address to its answer. The answer is that to an empty OTLP request, or, where an
exporter can have its vendor validate in place of recording (GA4), to a sample that is sent for validation. Any other
destination is reached, and asked nothing. Where the user has said off, none is even looked up.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from typing import Any

from ..control.app import App
from ..control.probe import Check, probe
from ..control.reasons import advise, explain_reason
from ..control.sample_run import addresses_of, sample_line
from ..control.wording import MODE_MEANINGS, who
from ..settings.check import find_problem
from ..settings.text import MUST_BE_PLAIN
from ..spool.layout import LOCK
from .trial_run import TrialRun

ENOUGH_BYTES = 50_000_000  # free on the disk: more than the queues of two destinations
VALIDATE = "validate"  # the keyword with which an exporter has its vendor check, and record nothing
NO_OBJECTION = "no objection"  # in what an exporter logs of a vendor that is content
DEBUG_PATH = "/debug/mp/collect"  # in the address that a validating exporter posts to


def check_program(trial: TrialRun, command_line: str) -> Check:
    """Whether the program calls `init` when it runs."""
    ended = "did not end" if trial.exit_code is None else f"ended with exit code {trial.exit_code}"
    last = f"; its last words: {trial.last_line!r}" if trial.last_line and trial.exit_code != 0 else ""
    if trial.settings is None:
        advice = "choose a command that works here and calls it"
        return Check("program", False, f"`{command_line}` {ended}{last}", "a call of otel_usage.init", advice)
    settings = trial.settings
    name = f"{settings['app']} {settings['version']}, {settings['consent']}" if settings else "it"
    return Check("program", True, f"`{command_line}` {ended}, and called otel_usage.init: {name}")


def check_settings(settings: Mapping[str, Any]) -> Check:
    """Whether a sender could do anything with what the program gave to `init`, whatever the destination."""
    expected, advice = "settings that a sender takes", "correct what the program gives to otel_usage.init"
    problem = find_problem(settings) if settings else f"settings {MUST_BE_PLAIN}"
    if problem:
        return Check("settings", False, problem, expected, advice)
    return Check("settings", True, "as they should be")


def check_consent(app: App) -> Check:
    """Whether a run that starts now would be recorded and sent, and by whose word."""
    decision = app.decision()
    value = app.environ.get(decision.source, "") if decision.layer == "environment" else ""
    seen = f"{decision.mode} ({MODE_MEANINGS[decision.mode]}), by {who(decision.layer, decision.source, value)}"
    if reason := app.reason(decision):
        seen += f": {reason}"
    if decision.mode == "on" and not reason:
        return Check("consent", True, seen)
    advice = "" if reason else f"otel-usage on --app {app.name} --new"
    if decision.layer in ("flag", "environment", "machine"):
        advice = "take that away"
    return Check("consent", False, seen, "on", advice)


def has_said_no(app: App) -> bool:
    """True if somebody has said off, or local: then nobody is to be looked up or called."""
    decision = app.decision()
    return decision.mode != "on" and decision.layer not in ("default", "nowhere")


def check_spool(app: App) -> Check:
    """Whether records can be stored: whose the folder is, who may read it, who holds its lock, how much room there is."""
    if not app.home:
        return Check(
            "spool", False, "there is no home folder", "a folder to store records in", "set HOME or OTEL_USAGE_HOME"
        )
    problem = app.unreadable() or app.obstacle()
    if problem:
        return Check(
            "spool", False, f"{app.home!r}: {problem}", "a folder of your own", "or set OTEL_USAGE_HOME to another"
        )
    above = app.home
    while not os.path.exists(above):
        above = os.path.dirname(above)
    room = os.statvfs(above)
    free = room.f_bavail * room.f_frsize
    if free < ENOUGH_BYTES:
        return Check("spool", False, f"{app.home!r}: {free / 1e6:.1f} MB are free", "50 MB", "make room")
    if above == app.home and stat.S_IMODE(os.stat(above).st_mode) & 0o077:
        advice = f"chmod go= {app.home}"
        return Check(
            "spool", False, f"{app.home!r} can be looked into by others", "a folder that is only yours", advice
        )
    work = "a sender is at work" if _is_locked(f"{app.spool}/{LOCK}") else "no sender is at work"
    whose = "is yours" if above == app.home else "can be made"
    return Check("spool", True, f"{app.home!r} {whose}, {free / 1e9:.1f} GB are free, {work}")


def _is_locked(path: str) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.lockf(descriptor, os.F_TEST, 0)
        return False
    except OSError:
        return True
    finally:
        os.close(descriptor)


def check_sender(trial: TrialRun) -> list[Check]:
    """Whether the program's run was recorded, a sender could be started as the program would, and the run arrived."""
    if not trial.recorded:
        seen = "the run was not recorded, though everybody said on"
        advice = "choose a command that is: not one of telemetry itself, and without the option that says off"
        return [Check("recording", False, seen, "a record", advice)]
    checks = [Check("recording", True, "the run was recorded")]
    if trial.sender_error:
        advice = "install what the program needs into the environment of its interpreter"
        return [*checks, Check("sender", False, f"{trial.python}: {trial.sender_error}", "a sender that works", advice)]
    checks.append(Check("sender", True, f"{trial.python} has what a sender needs"))
    if not trial.arrived:
        advice = "see whether the program's own settings keep its records from being sent"
        return [
            *checks,
            Check("arrival", False, "the run did not arrive at a receiver on this machine", "a run", advice),
        ]
    return [*checks, Check("arrival", True, "the run arrived at a receiver on this machine")]


def check_destinations(app: App, settings: Mapping[str, Any]) -> list[Check]:
    """Whether each destination can be reached, and takes what is sent to it."""
    from ..delivery.environment import choose_destinations

    destinations = choose_destinations(settings["destinations"])
    if not destinations:
        advice = "pass destinations= to init, or set OTEL_TRACES_EXPORTER or OTEL_EXPORTER_OTLP_ENDPOINT"
        return [Check("destinations", False, "none is set", "one at least", advice)]
    if has_said_no(app):
        return [Check(name, None, "not looked up: telemetry is not on here") for name in destinations]
    urls, problems = addresses_of(settings, app.home)
    checks = []
    for name, keywords in destinations.items():
        if name in problems:
            advice = "correct the destination's settings"
            checks.append(Check(name, False, problems[name], "settings that its exporter takes", advice))
            continue
        if not urls.get(name):
            checks.append(Check(name, None, "how its exporter sends is not known: not looked at"))
            continue
        way = probe(name, urls[name], str((keywords or {}).get("certificate_file") or ""))
        checks += way
        if all(check.ok for check in way):
            checks.append(_check_answer(settings, name, keywords))
        checks += check_counters(app.home, name)
    return checks


def check_counters(home: str, name: str) -> list[Check]:
    """Whether the destination *name* refused delta counters when it last got some; [] if it did not.

    Only the ledger knows: a backend can't be asked without counting something.
    """
    from ..delivery.ledger import Ledger
    from ..delivery.otlp_answer import NO_DELTAS

    entries = [row for row in Ledger(home).entries() if row["destination"] == name and row["signal"] == "metrics"]
    if not entries or entries[-1].get("reason") != NO_DELTAS:
        return []
    return [
        Check(f"{name}: counters", False, explain_reason(NO_DELTAS), "a backend that takes them", advise(NO_DELTAS))
    ]


def _check_answer(settings: Mapping[str, Any], name: str, keywords: Mapping[str, Any] | None) -> Check:
    with _own_environment():
        if settings["destinations"] is not None:
            from ..delivery.environment import forget_ambient

            forget_ambient()
        if name == "otlp":
            return _ask_otlp(keywords)
        return _ask_for_validation(settings, name, keywords)


def _ask_otlp(keywords: Mapping[str, Any] | None) -> Check:
    """Send a request without any record in it."""
    from ..delivery.destination import build_destination

    destination = build_destination("otlp", keywords)
    try:
        verdict = destination.deliver("traces", [], 0)
    finally:
        destination.close()
    status, reason = verdict.status, getattr(verdict, "reason", "")
    if status is None and not reason:
        return Check("otlp: answer", None, "not known: its protocol or exporter does not say")
    return _judge("otlp", status, reason or f"http_{status}", "an empty request")


def _ask_for_validation(settings: Mapping[str, Any], name: str, keywords: Mapping[str, Any] | None) -> Check:
    """Have a vendor validate a sample, where its exporter can: an ordinary sender delivers it from a folder of its own."""
    from ..delivery.installed import find_exporters, load_exporter
    from ..delivery.ledger import Ledger
    from ..delivery.sender import Sender

    unasked = Check(f"{name}: answer", None, "not asked: it can't be asked without counting an event")
    point = find_exporters("traces").get(name)
    if point is None or VALIDATE not in _parameters(load_exporter(name, point)):
        return unasked
    validating = {**settings, "lines": [sample_line(settings)]}
    if keywords is None:
        os.environ[f"OTEL_EXPORTER_{name.upper()}_{VALIDATE.upper()}"] = "true"
        os.environ["OTEL_TRACES_EXPORTER"], os.environ["OTEL_METRICS_EXPORTER"] = name, "none"
    else:
        validating["destinations"] = {name: {**keywords, VALIDATE: True}}
    if DEBUG_PATH not in addresses_of(validating, "")[0].get(name, ""):
        return unasked
    objections = _Objections()
    logger = logging.getLogger("otel_usage_exporters")
    logger.addHandler(objections)
    try:
        from ..delivery.installation_id import obtain_installation
        from ..delivery.spool_copy import copy_home

        with copy_home("", (), validating["lines"]) as home:
            obtain_installation(home)  # the sample is to be all that is sent, and no first run
            sender = Sender({**validating, "home": home, "ci": ""})
            sender.drain()
            entries = [entry for entry in Ledger(home).entries() if entry["destination"] == name]
    finally:
        logger.removeHandler(objections)
    if objections.texts:
        advice = "correct the destination's settings, or tell the authors of its exporter"
        return Check(f"{name}: answer", False, "; ".join(objections.texts), "no objection to a sample", advice)
    status = entries[-1]["status"] if entries else None
    reason = (entries[-1].get("reason") or f"http_{status}") if entries else "no_answer"
    return _judge(name, status, reason, "a sample to be validated")


def _judge(name: str, status: int | None, reason: str, asked: str) -> Check:
    if status is not None and 200 <= status < 300:
        return Check(f"{name}: answer", True, f"HTTP {status} to {asked}")
    if reason in ("http_400", "http_415", "http_422"):  # it got as far as looking at the content
        return Check(f"{name}: answer", True, f"HTTP {status} to {asked}: it answers, and wants more than that")
    return Check(f"{name}: answer", False, f"{explain_reason(reason)}, to {asked}", "HTTP 200", advise(reason))


class _Objections(logging.Handler):
    """Collects what an exporter logs: a vendor's objections."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if NO_OBJECTION not in record.getMessage():
            self.texts.append(record.getMessage())


def _parameters(exporter_class: Any) -> Mapping[str, Any]:
    """Return the keywords of an exporter's class and of those that it is made of. Any: of whatever distribution."""
    names: dict[str, Any] = {}
    for cls in getattr(exporter_class, "__mro__", ()):
        try:
            names.update(signature(cls).parameters)
        except (TypeError, ValueError):
            continue
    return names


@contextmanager
def _own_environment() -> Iterator[None]:
    """Put the environment back as it was afterwards."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
