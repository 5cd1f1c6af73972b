"""Check what a host gives to ``otel_usage.init``.

Users' machines never pay for it in the host, and never see an error: there the sender checks, writes what is wrong into the
ledger and lets everything wait until the settings change. Where wrong settings are errors (tests, development,
``OTEL_USAGE_STRICT=1``) the host itself checks, and raises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..schema.declaration import check_schema, refuse
from ..schema.patterns import APP, MAX_NAME, VERSION, text_like
from ..setting_error import SettingError

SENDERS = ("detached", "inline", "none")
CONSENTS = ("opt-in", "opt-out", "ask", "host")
MAX_PROBLEM = 300  # characters of a problem that are written down: a value in it may be long
PROBLEM = "problem"  # key that `delivery.start` adds to settings which could not even be read, with the reason

_DESTINATION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")  # a queue's folder has this name
_FLAG = re.compile(r"--[a-z0-9][a-z0-9-]*")
_is_version = text_like(VERSION, MAX_NAME)


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise SettingError unless *settings*, as `init` got them, are sound. Loads the exporters that they name.

    The settings travel to the sender as text, so each of them has to be a value that can be read back from its text.
    """
    check_without_exporters(settings)
    if settings["destinations"] is not None:
        from ..delivery.strict import check_destination

        for name, destination in settings["destinations"].items():
            check_destination(name, destination)
    from .text import MUST_BE_PLAIN, read_settings

    for key, value in settings.items():
        try:
            read_settings(repr(value))
        except ValueError:
            raise SettingError(f"{key} {MUST_BE_PLAIN}") from None


def check_without_exporters(settings: Mapping[str, Any]) -> None:
    """Raise SettingError unless *settings* are sound. What each destination gets is left to the exporter that takes it."""
    app, version = settings["app"], settings["version"]
    if not isinstance(app, str) or not APP.fullmatch(app):
        refuse("app", app, "a name of lower-case letters, digits, '.', '_' and '-', at most 64 of them")
    if not _is_version(version):
        refuse("version", version, "a version such as '1.4.2'; pass your program's own")
    if settings["consent"] not in CONSENTS:
        refuse(
            "consent",
            settings["consent"],
            "'opt-in', 'opt-out' or 'ask', or 'host' for a plugin: how users agree is yours to decide",
        )
    sender, flush_s = settings.get("sender", "detached"), settings.get("flush_s", 60.0)
    if sender not in SENDERS:
        refuse("sender", sender, "'detached', 'inline' or 'none'")
    if not isinstance(settings["policy"], int) or settings["policy"] < 1:
        refuse("policy", settings["policy"], "a whole number from 1; raise it when you collect more than before")
    if not isinstance(flush_s, (int, float)) or not 0 < flush_s <= 86_400:
        refuse("flush_s", flush_s, "a number of seconds from above 0 to 86400")
    if settings.get("heartbeat", "thread") not in ("thread", "calls"):
        refuse("heartbeat", settings["heartbeat"], "'thread' or 'calls'")
    if settings.get("service") and settings["consent"] == "ask":
        refuse("consent", "ask", "possible for a service: nobody is there to answer; pass 'opt-in' or 'opt-out'")
    if settings.get("service") and settings["consent"] == "host":
        refuse("consent", "host", "possible for a service: it is the program itself; pass 'opt-in' or 'opt-out'")
    flag = settings.get("flag", "")
    if not isinstance(flag, str) or (flag and not _FLAG.fullmatch(flag)):
        refuse("flag", flag, "a long option such as '--disable-analytics', or '' for none")
    if not isinstance(settings["about"], str):
        refuse("about", settings["about"], "the address of your page on what is collected")
    _check_names(settings["destinations"])
    check_schema(settings["schema"])


def _check_names(destinations: object) -> None:
    """Raise SettingError unless *destinations* is None or a dict with names of exporters. Each name becomes a folder's."""
    if destinations is None:
        return
    if not isinstance(destinations, Mapping):
        kind = type(destinations).__name__
        raise SettingError(f"destinations is a {kind}, not a dict {{name: endpoint or {{keyword: value}}}}")
    for name in destinations:
        if not isinstance(name, str) or not _DESTINATION.fullmatch(name):
            refuse("destination", name, "the name of an installed exporter, such as 'otlp'")


def find_problem(settings: Mapping[str, Any]) -> str:
    """Return what is wrong with *settings*, whatever the destination; "" if nothing is.

    The sender asks before it sends anything: the host has not looked, since looking costs every run.
    """
    if PROBLEM in settings:
        return str(settings[PROBLEM])
    try:
        check_without_exporters(settings)
    except SettingError as exc:
        return str(exc)[:MAX_PROBLEM]
    return ""
