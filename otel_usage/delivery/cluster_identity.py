"""Which cluster a service runs in, if its operator wants that to be counted: ``<APP>_CLUSTER_IDENTITY=true``.

The uid of the namespace kube-system is the cluster's. To read it the pod's ServiceAccount needs one right, to ``get`` that
one namespace: see deploy/helm/otel-usage. It leaves as a keyed hash, another one for each app.

ALGORITHM  Asked by a sender, in the background, once a week: the answer is kept in the home. At most `TIMEOUT_S` is waited for
           it; whatever goes wrong, there is no cluster id, and nothing else changes.
"""

from __future__ import annotations

import json
import os
import ssl
import time
from collections.abc import Mapping
from http.client import HTTPException, HTTPSConnection

from ..consent.gate import WORDS, variable
from ..recording.claims import read_line
from ..spool.files import write_whole
from ..spool.layout import CLUSTER
from .service_identity import MAX_WORD, TOKEN, hashed

AUTHORITY = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
PATH = "/api/v1/namespaces/kube-system"
TIMEOUT_S = 2.0
MAX_ANSWER = 1_048_576  # bytes
ASK_AGAIN_S = 7 * 86_400


def find_cluster(app: str, home: str, environ: Mapping[str, str]) -> str:
    """Return the hashed id of the cluster; "" if nobody wants it, or it can't be known. Never fails."""
    cluster = remembered_cluster(app, home, environ)
    if not cluster and _is_wanted(app, environ):
        uid = read_cluster_uid(environ, TOKEN, AUTHORITY)
        cluster = hashed(app, f"cluster {uid}") if uid else ""
        if cluster:
            try:
                write_whole(os.path.join(home, CLUSTER), cluster.encode() + b"\n")
            except OSError:  # it is asked for again
                pass
    return cluster


def remembered_cluster(app: str, home: str, environ: Mapping[str, str]) -> str:
    """Return the hashed id of the cluster, if it is wanted and was asked for before; else "". Asks and writes nothing."""
    return _remembered(os.path.join(home, CLUSTER)) if _is_wanted(app, environ) else ""


def _is_wanted(app: str, environ: Mapping[str, str]) -> bool:
    return WORDS.get(environ.get(f"{variable(app)}_CLUSTER_IDENTITY", "").strip().lower()) == "on"


def read_cluster_uid(environ: Mapping[str, str], token_path: str, authority_path: str) -> str:
    """Return the uid of kube-system, by the API server that Kubernetes names to its pods; "" if that can't be done."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        with open(token_path, encoding="ascii") as file:
            token = file.read(65_536).strip()
        context = ssl.create_default_context(cafile=authority_path)
        connection = HTTPSConnection(host, int(port), timeout=TIMEOUT_S, context=context)
        try:
            connection.request("GET", PATH, headers={"Authorization": f"Bearer {token}", "Accept": "application/json"})
            answer = connection.getresponse()
            body = answer.read(MAX_ANSWER) if answer.status == 200 else b""
        finally:
            connection.close()
        uid = json.loads(body)["metadata"]["uid"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, HTTPException):
        return ""
    return uid if isinstance(uid, str) and 0 < len(uid) <= MAX_WORD else ""


def _remembered(path: str) -> str:
    try:
        if time.time() - os.stat(path).st_mtime > ASK_AGAIN_S:
            return ""
    except OSError:
        return ""
    return read_line(path).strip()
