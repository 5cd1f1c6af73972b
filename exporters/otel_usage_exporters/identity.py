"""Who the client is, where an event does not say: an id kept for its service, in the folder of that service.

In this order: the exporter's own setting (``client_id``, ``anonymous_id``), the resource's ``app.installation.id``, the id
that is kept here. Never ``service.instance.id``, which is another one in every process.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import replace
from urllib.parse import quote

from otel_usage.consent.gate import getter, home
from otel_usage.delivery.installation_id import obtain_installation_id
from otel_usage.spool.layout import SERVICES

from .settings import CommonSettings
from .usage_event import Origin, UsageEvent


class Identities:
    """The installation ids of services, each looked up once and then the same for the life of an exporter."""

    def __init__(self) -> None:
        self._by_service: dict[str, str] = {}

    def identify(self, events: list[UsageEvent], common: CommonSettings) -> list[UsageEvent]:
        """Return *events*; those that name no installation get the id that is kept for their service."""
        if all(event.origin.installation_id for event in events):
            return events
        identified: dict[Origin, Origin] = {}
        for event in events:
            if event.origin not in identified:
                known = event.origin.installation_id or self._installation_id(event.origin.app, common)
                identified[event.origin] = replace(event.origin, installation_id=known)
        return [replace(event, origin=identified[event.origin]) for event in events]

    def _installation_id(self, app: str, common: CommonSettings) -> str:
        known = self._by_service.get(app)
        if known is None:
            folder = folder_of(common, app)
            known = self._by_service[app] = obtain_installation_id(folder) if folder else str(uuid.uuid4())
        return known


def folder_of(common: CommonSettings, app: str) -> str:
    """Return the folder for what is remembered about *app*, "" if it is remembered in memory only."""
    if common.folder is not None:
        return common.folder
    root = home(getter(os.environ))
    if not root:
        return ""
    # A name that is not UTF-8 in the environment has surrogates.
    name = quote(app or "unknown_service", safe="", errors="surrogatepass")[:100]
    # "." and ".." are names that a service may have, and no names for a folder.
    return os.path.join(root, SERVICES, name.replace(".", "%2E") if not name.strip(".") else name)
