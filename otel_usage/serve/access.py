"""Who may do what: clients send with one kind of token, people and scrapers look with another.

A token that clients send with ships with programs, so anybody may have it. It opens ``/v1/…`` and nothing else, and may be bound
to the apps that it is for, so that whoever has one app's token can't write events of another.

FORMAT  of the file of clients' tokens: ``TOKEN`` or ``TOKEN APP[,APP…]``, one a line. Of viewers': ``TOKEN``, one a line. Two
        while one is being replaced.
RULES   of looking, for pages, numbers and commands alike.
        1. Without viewers' tokens nobody may look, unless the server listens on this machine alone; then everybody who asks it by
           a name of this machine may: a page of somebody else's, whose name was pointed at 127.0.0.1 (DNS rebinding), may not.
        2. With tokens, a request is admitted by ``Authorization: Bearer TOKEN``; by the token as the password of HTTP's basic
           authentication, which is what a browser asks for, with any name; or by the cookie that signing in sets.
        3. The cookie does not hold the token but a keyed hash of it, so that it opens pages and can't send events. It lives as
           long as the token, across restarts.
        4. Every token is compared, each in constant time. Wrong ones are counted (guesses.py), and a right one is always taken:
           what makes guessing hopeless is that a viewer's token has `MIN_TOKEN` characters.
        5. What changes something comes from a page of ours, or from a program: a browser says so by Sec-Fetch-Site, or by an
           Origin that is the Host. (With a Referrer-Policy of no-referrer it would say "null".)
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from otel_usage.server.answers import JSON, RefusedError, media_type_of
from otel_usage.server.bearer import is_one_of, is_same, read_bearer, read_credentials
from otel_usage.server.options import read_tokens
from otel_usage.setting_error import SettingError
from otel_usage.settings.endpoint import is_loopback

from .guesses import Guesses

COOKIE = "otel_usage_session"
MIN_TOKEN = 16  # characters of a viewer's token: of random ones, 2**80 guesses at the least
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
    guesses: Guesses = field(default_factory=Guesses, repr=False, compare=False)

    def admit_client(self, request: HTTPConnection) -> frozenset[str]:
        """Return the apps that *request* may send for, empty for any. Raises RefusedError."""
        token = read_bearer(request)
        matching = [apps for accepted, apps in self.clients.items() if is_same(token, accepted)]
        if self.clients and not matching:
            why = "its bearer token is none that may send" if token else "no bearer token came with it"
            raise RefusedError(401, why, www_authenticate="Bearer")
        return matching[0] if matching else frozenset()

    def admit_stranger(self, _: HTTPConnection) -> None:
        """Raise RefusedError where nobody may look; else the pages ask for the token themselves."""
        if not self.viewers and not self.local:
            raise RefusedError(403, "nobody may look here: start the server with --viewer-token-file")

    def admit_viewer(self, request: HTTPConnection) -> None:
        """Raise RefusedError unless *request* may look."""
        self.admit_stranger(request)
        if self.viewers:
            cookie = request.cookies.get(COOKIE, "")
            token = read_bearer(request) or _read_password(request)
            signed_in = is_one_of(cookie, map(cookie_of, self.viewers))
            if not signed_in | is_one_of(token, self.viewers):
                raise self._refuse(request, tried=bool(cookie or token))
        elif not is_loopback(urlsplit(f"//{request.headers.get('host', '')}").hostname or ""):
            raise RefusedError(403, "this address is for this machine alone: use localhost")

    def admit_token(self, request: HTTPConnection, token: str) -> None:
        """Raise RefusedError unless *token*, which came in a form, is a viewer's; where there are none, any will do."""
        if self.viewers and not is_one_of(token, self.viewers):
            raise self._refuse(request, tried=bool(token))

    def admit_command(self, request: HTTPConnection) -> None:
        """Raise RefusedError unless *request* may look, and have something changed by a program."""
        self.admit_viewer(request)
        if request.scope["method"] not in SAFE_METHODS:
            # The browser sends the password along with what other sites make it send, but says whose it was; and no form of
            # another site can send JSON.
            if not is_from_here(request):
                raise RefusedError(403, "another site has asked for this")
            if media_type_of(request) != JSON:
                raise RefusedError(415, f"the Content-Type is not {JSON}")

    def _refuse(self, request: HTTPConnection, *, tried: bool) -> RefusedError:
        """Return why *request* may not look. tried: a token came with it, and was wrong."""
        if tried and self.guesses.add(request.client.host if request.client else ""):
            return RefusedError(429, "too many wrong tokens came; a right one is taken", retry_after="60")
        return RefusedError(401, "a viewer's token is needed", www_authenticate='Basic realm="otel-usage"')


def cookie_of(token: str) -> str:
    """Return what the cookie holds of those who signed in with *token*."""
    return hmac.new(token.encode(), b"otel-usage pages", hashlib.sha256).hexdigest()


def is_from_here(request: HTTPConnection) -> bool:
    """True if a page of ours sent *request*, as far as its browser says; programs, which say nothing, may too."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")  # of a browser that is old, or reaches us without https
    return origin is None or urlsplit(origin).netloc == request.headers.get("host", "")


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


def read_viewers(text: str, source: str) -> tuple[str, ...]:
    """Return the viewers' tokens in the lines of *text*. source: for the message. Raises SettingError."""
    viewers = read_tokens(text, source)
    if any(len(token) < MIN_TOKEN for token in viewers):
        raise SettingError(
            f"{source}: a viewer's token has fewer than {MIN_TOKEN} characters, and could be guessed; make one with "
            "python3 -c 'import secrets; print(secrets.token_urlsafe(24))'"
        )
    return viewers


def _read_password(request: HTTPConnection) -> str:
    try:
        credentials = b64decode(read_credentials(request, "basic"), validate=True)
    except (Base64Error, ValueError):
        return ""
    return credentials.decode("utf-8", "replace").partition(":")[2]
