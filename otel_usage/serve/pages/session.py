"""Who may look: a page opened without a token asks for it, once per browser.

ALGORITHM
1. Without tokens nobody may look, unless the server listens on this machine alone; then everybody who asks it by a name
   of this machine may: a page of somebody else's, whose name was pointed at 127.0.0.1 (DNS rebinding), is refused.
2. With tokens, a request is admitted by ``Authorization: Bearer TOKEN`` or by the cookie that `sign_in` sets.
3. The cookie does not hold the token but a keyed hash of it, so that it opens these pages and can't send events. It
   lives as long as the token, across restarts. Scripts can't read it, and other sites' pages can't send it.
4. Every token is compared, each in constant time.
5. What changes something is asked for by POST, from a page of ours: the browser says so by Sec-Fetch-Site, or by an Origin
   that is the Host. (With a Referrer-Policy of no-referrer a browser would say "null".)
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response

from otel_usage.settings.endpoint import is_loopback

COOKIE = "otel_usage_session"
COOKIE_AGE_S = 90 * 86_400


class Gate:
    """Admits to the pages those who know one of *tokens*; without tokens, everybody here if the server is *local*."""

    def __init__(self, tokens: Sequence[str], *, local: bool = True) -> None:
        self._tokens = [token.encode() for token in tokens]
        self._cookies = [_hash(token) for token in self._tokens]
        self._local = local

    @property
    def is_locked(self) -> bool:
        """True if a token is needed."""
        return bool(self._tokens)

    def admits(self, request: HTTPConnection) -> bool:
        """True if *request* may see the pages."""
        if not self._tokens:
            return self._local and is_loopback(urlsplit("//" + request.headers.get("host", "")).hostname or "")
        scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else ""
        return self.knows(bearer) | _is_one_of(request.cookies.get(COOKIE, ""), self._cookies)

    def knows(self, token: str) -> bool:
        """True if *token* is one of ours."""
        return _is_one_of(token, self._tokens)

    def sign_in(self, request: Request, token: str, next_page: str) -> Response:
        """Return the answer to a right *token*: on to *next_page* of ours, with the cookie."""
        response = RedirectResponse(own_path(next_page), 303)
        encrypted = request.url.scheme == "https"
        value = _hash(token.encode()).decode()
        response.set_cookie(COOKIE, value, COOKIE_AGE_S, path="/", secure=encrypted, httponly=True, samesite="strict")
        return response


def is_from_here(request: Request) -> bool:
    """True if a form of ours sent *request*, as far as its browser says; programs, which say nothing, may too."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")  # of a browser that is old, or reaches us without https
    return origin is None or urlsplit(origin).netloc == request.headers.get("host", "")


def own_path(address: str) -> str:
    """Return *address* if it is a path of ours, else the first page's.

    >>> own_path("//elsewhere.example")
    '/'
    """
    plain = address.isprintable() and "\\" not in address
    return address if plain and address[:1] == "/" and address[1:2] != "/" else "/"


def _hash(token: bytes) -> bytes:
    return hmac.new(token, b"otel-usage pages", hashlib.sha256).hexdigest().encode()


def _is_one_of(text: str, secrets: Sequence[bytes]) -> bool:
    """True if *text* is one of *secrets*; all are compared, so that the time says nothing."""
    encoded = text.encode("utf-8", "replace")
    return bool(text) & bool(sum([hmac.compare_digest(encoded, secret) for secret in secrets]))
