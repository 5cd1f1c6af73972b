"""Try to reach the address of a destination, one layer after the other: name, connection, certificate. Sends no request.

For commands in the foreground, whose user waits for the answer. What a library says about a failure is shown in its own
words: it knows no more than a host and a port here, so that no key can be in them.
"""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, select_proxy

from ..settings.endpoint import is_loopback

TIMEOUT_S = 5.0  # for each layer


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. ok: None if it was not, and *seen* says why; seen: in words; advice: "" if none is needed."""

    name: str
    ok: bool | None
    seen: str
    expected: str = ""
    advice: str = ""


def probe(name: str, url: str, certificate_file: str = "") -> list[Check]:
    """Return what was seen of the way to *url*, up to the first layer that failed.

    name: of the destination; certificate_file: of whoever signs its certificate, default what requests trusts.
    """
    parts = urlsplit(url if "//" in url else f"//{url}")  # of gRPC it may be a host and a port alone
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    proxy = _proxy_of(url, host)
    if proxy:
        proxy_parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        host, port, secure = proxy_parts.hostname or "", proxy_parts.port or 8080, False
    whose = "the proxy " if proxy else ""
    try:
        addresses = [str(row[4][0]) for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as exc:
        advice = "see whether there is a network, and whether the address is right"
        return [Check(f"{name}: name", False, f"{whose}{host}: {_text_of(exc)}", "the name of a host", advice)]
    checks = [Check(f"{name}: name", True, f"{whose}{host} is {', '.join(dict.fromkeys(addresses))}")]
    try:
        connection = socket.create_connection((host, port), TIMEOUT_S)
    except OSError as exc:
        advice = "see whether address and port are right, and whether a firewall is in between"
        seen = f"{whose}{host}, port {port}: {_text_of(exc)}"
        return [*checks, Check(f"{name}: connection", False, seen, "a connection", advice)]
    with connection:
        checks.append(Check(f"{name}: connection", True, f"{whose}port {port} is open"))
        if secure:
            checks.append(_check_certificate(name, host, connection, certificate_file))
    return checks


def _check_certificate(name: str, host: str, connection: socket.socket, certificate_file: str) -> Check:
    trusted = certificate_file or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    path = trusted or DEFAULT_CA_BUNDLE_PATH
    try:
        folder = path if os.path.isdir(path) else None
        context = ssl.create_default_context(cafile=None if folder else path, capath=folder)
        with context.wrap_socket(connection, server_hostname=host) as secured:
            return Check(f"{name}: certificate", True, f"trusted, {secured.version()}")
    except (OSError, ValueError) as exc:  # an error of ssl is an OSError, too
        advice = f"one that {path!r} trusts; REQUESTS_CA_BUNDLE names another file"
        return Check(f"{name}: certificate", False, _text_of(exc), "a certificate for this host", advice)


def _proxy_of(url: str, host: str) -> str:
    """Return the proxy that stands in the way to *url*, "" if none does."""
    if is_loopback(host):
        return ""
    return select_proxy(url, get_environ_proxies(url)) or ""


def _text_of(error: Exception) -> str:
    """Return the library's own words for *error*."""
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
