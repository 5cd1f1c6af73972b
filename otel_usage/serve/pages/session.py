"""A browser's session: signing in sets a cookie, which `otel_usage.serve.access` knows again. Scripts can't read it, and other
sites' pages can't send it.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ..access import COOKIE, cookie_of

COOKIE_AGE_S = 90 * 86_400


def sign_in(request: Request, token: str, next_page: str) -> Response:
    """Return the answer to a right *token*: on to *next_page* of ours, with the cookie."""
    response = RedirectResponse(own_path(next_page), 303)
    encrypted = request.url.scheme == "https"
    value = cookie_of(token)
    response.set_cookie(COOKIE, value, COOKIE_AGE_S, path="/", secure=encrypted, httponly=True, samesite="strict")
    return response


def sign_out(response: Response) -> Response:
    """Return *response*, by which a browser forgets its session."""
    response.delete_cookie(COOKIE, path="/")
    return response


def own_path(address: str) -> str:
    """Return *address* if it is a path of ours, else the first page's.

    >>> own_path("//elsewhere.example")
    '/'
    """
    plain = address.isprintable() and "\\" not in address
    return address if plain and address[:1] == "/" and address[1:2] != "/" else "/"
