"""Who may do what: clients send with one kind of token, people and scrapers look with another.

A token that clients send with ships with programs, so anybody may have it. It opens ``/v1/…`` and nothing else, and may be bound
to the apps that it is for, so that whoever has one app's token can't write events of another.

FORMAT  of the file of clients' tokens: ``TOKEN`` or ``TOKEN APP[,APP…]``, one a line. Of viewers': ``TOKEN``, one a line. Two
        while one is being replaced. Viewers send theirs as a bearer token, or as the password of HTTP's basic authentication,
        which is what a browser asks for; the name is not looked at.
"""

from __future__ import annotations

import hmac
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from otel_usage.server.answers import JSON, RefusedError, media_type_of
from otel_usage.server.options import read_tokens
from otel_usage.setting_error import SettingError
from otel_usage.settings.endpoint import is_loopback

SAFE_METHODS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Access:
    """Tokens. clients: ``{token: its apps, empty for any}``, empty lets everybody send.

    viewers: tokens of those who look. Without any, who comes to this machine's own address may; *local* says that the server
    listens there alone, and else nobody may look.
    """

    clients: dict[str, frozenset[str]] = field(default_factory=dict, repr=False)
    viewers: tuple[str, ...] = field(default=(), repr=False)
    local: bool = True

    def admit_client(self, request: HTTPConnection) -> frozenset[str]:
        """Return the apps that *request* may send for, empty for any. Raises RefusedError."""
        token = _read_bearer(request)
        # Every token is compared, and in constant time: how long it takes says nothing about them.
        matching = [apps for accepted, apps in self.clients.items() if _is_same(token, accepted)]
        if self.clients and not matching:
            why = "its bearer token is none that may send" if token else "no bearer token came with it"
            raise RefusedError(401, why, www_authenticate="Bearer")
        return matching[0] if matching else frozenset()

    def admit_reader(self, _: HTTPConnection) -> None:
        """Raise RefusedError where nobody may look; else the pages ask for the token themselves."""
        if not self.viewers and not self.local:
            raise RefusedError(403, "nobody may look here: start the server with --viewer-token-file")

    def admit_viewer(self, request: HTTPConnection) -> None:
        """Raise RefusedError unless *request* may look, and change what can be changed from a page."""
        if self.viewers:
            token = _read_bearer(request) or _read_password(request)
            if not sum([_is_same(token, accepted) for accepted in self.viewers]):
                raise RefusedError(401, "a viewer's token is needed", www_authenticate='Basic realm="otel-usage"')
        self.admit_reader(request)
        if not self.viewers and not is_loopback(urlsplit(f"//{request.headers.get('host', '')}").hostname or ""):
            # A page of somebody else's whose name leads to this machine: a browser would let it read everything.
            raise RefusedError(403, "this address is for this machine alone: use localhost")
        if request.scope["method"] not in SAFE_METHODS:
            # The browser sends the password along with what other sites make it send, but says whose it was; and no form of
            # another site can send JSON.
            if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
                raise RefusedError(403, "another site has asked for this")
            if media_type_of(request) != JSON:
                raise RefusedError(415, f"the Content-Type is not {JSON}")


def read_clients(text: str, source: str) -> dict[str, frozenset[str]]:
    """Return the clients' tokens in the lines of *text*. source: for the message. Raises SettingError.

    >>> read_clients("abc mycli,other", "--token-file 'tokens'") == {"abc": frozenset({"mycli", "other"})}
    True
    """
    clients = {}
    for line in filter(str.strip, text.splitlines()):
        token, _, apps = line.strip().partition(" ")
        read_tokens(token, source)
        clients[token] = frozenset(app.strip() for app in apps.split(",") if app.strip())
        if any(" " in app for app in clients[token]):
            raise SettingError(f"{source}: a line is not TOKEN or TOKEN APP,APP")
    if not clients:
        raise SettingError(f"{source} is empty: put a token in it, or leave it out")
    return clients


def _is_same(token: str, accepted: str) -> bool:
    return hmac.compare_digest(token.encode("utf-8", "replace"), accepted.encode())


def _read_bearer(request: HTTPConnection) -> str:
    scheme, _, credentials = str(request.headers.get("authorization", "")).strip().partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


def _read_password(request: HTTPConnection) -> str:
    scheme, _, credentials = str(request.headers.get("authorization", "")).strip().partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return b64decode(credentials.strip(), validate=True).decode("utf-8", "replace").partition(":")[2]
    except (Base64Error, ValueError):
        return ""
