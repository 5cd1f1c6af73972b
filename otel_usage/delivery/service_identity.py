"""Which installation of a service this is: the same for all its replicas and restarts, wherever that can be known.

ALGORITHM  The first row that applies decides.
1. The operator's word: ``<APP>_INSTALLATION_ID``, any text.
2. The uid of the pod's ServiceAccount, from the token that Kubernetes mounts into it: no permission is needed, and no storage;
   all replicas have it, and a reinstallation has another. The token is parsed, and neither verified, kept nor sent.
3. The random id in the home (installation_id.py), if that folder outlives the container.
4. The same, marked as one that will not last: whoever counts installations leaves it out.
What 1 and 2 give leaves as a keyed hash, another one for each app: nobody can tell the uid from it, nor put two apps' together.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import uuid
from collections.abc import Mapping
from typing import NamedTuple

from ..consent.gate import variable
from ..recording.lasting import is_lasting
from .installation_id import Installation, obtain_installation

TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105  where Kubernetes mounts it
MAX_TOKEN = 65_536  # bytes
MAX_WORD = 1_000  # characters of the operator's
KEY = "otel-usage installation "


class Identity(NamedTuple):
    """An installation; whether its id is random and stored here; and whether it will last."""

    installation: Installation  # first_s is 0 where nobody knows since when it has been there
    is_stored: bool
    is_ephemeral: bool


def find_identity(app: str, home: str, environ: Mapping[str, str]) -> Identity:
    """Return which installation of the service *app* this is. May generate the id in *home*. Never fails."""
    named = find_named(app, environ)
    if named is not None:
        return Identity(named, is_stored=False, is_ephemeral=False)
    return Identity(obtain_installation(home), is_stored=True, is_ephemeral=not is_lasting(home))


def find_named(app: str, environ: Mapping[str, str]) -> Installation | None:
    """Return the installation that the operator or Kubernetes names, None if neither does. Writes nothing."""
    word = environ.get(f"{variable(app)}_INSTALLATION_ID", "").strip()[:MAX_WORD]
    if word:
        return Installation(hashed(app, f"operator {word}"), 0)
    uid = read_service_account_uid(TOKEN)
    return Installation(hashed(app, f"service account {uid}"), 0) if uid else None


def read_service_account_uid(path: str) -> str:
    """Return the uid in the token at *path*; "" if there is no token, or none that says one.

    Source: Kubernetes, Service account tokens: claim ``kubernetes.io``, ``serviceaccount``, ``uid``.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        token = os.read(descriptor, MAX_TOKEN)
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    try:
        part = token.split(b".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
        uid = claims["kubernetes.io"]["serviceaccount"]["uid"]
    except (ValueError, IndexError, KeyError, TypeError, RecursionError):
        return ""
    return uid if isinstance(uid, str) and len(uid) <= MAX_WORD else ""


def hashed(app: str, name: str) -> str:
    """Return what leaves of *name*: a keyed hash, in the form of a UUID."""
    return str(uuid.UUID(bytes=hmac.new((KEY + app).encode(), name.encode(), "sha256").digest()[:16], version=5))
