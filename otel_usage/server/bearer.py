"""Bearer tokens: read one from a request, and compare it so that the time it takes says nothing."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from starlette.requests import HTTPConnection


def read_bearer(request: HTTPConnection) -> str:
    """Return the bearer token of *request*, "" if none came with it."""
    return read_credentials(request, "bearer")


def read_credentials(request: HTTPConnection, scheme: str) -> str:
    """Return what stands behind *scheme*, in lower case, in the header Authorization; "" if it is of another scheme."""
    named, _, credentials = str(request.headers.get("authorization", "")).strip().partition(" ")
    return credentials.strip() if named.lower() == scheme else ""


def is_same(token: str, accepted: str) -> bool:
    """True if both are the same, and none is empty; in constant time."""
    return bool(token) & hmac.compare_digest(token.encode("utf-8", "replace"), accepted.encode())


def is_one_of(token: str, accepted: Iterable[str]) -> bool:
    """True if *token* is one of *accepted*: all of them are compared, so that the time does not say which."""
    return bool(sum([is_same(token, one) for one in accepted]))
