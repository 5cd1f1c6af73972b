"""Check the address that a destination is sent to: HTTPS, or this machine."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from ..schema.declaration import refuse
from ..setting_error import SettingError


def check_endpoint(name: str, endpoint: str) -> None:
    """Raise SettingError unless *endpoint*, of the destination *name*, is an HTTPS address or a loopback one.

    The error shows the address without query and fragment, which may hold a key, and none that holds a password.
    """
    what = f"endpoint of {name!r}"
    address = endpoint.partition("?")[0].partition("#")[0]
    if "@" in address:
        raise SettingError(f"{what} holds a password; pass headers= instead")
    try:
        parts = urlsplit(endpoint)
        host = parts.hostname or ""
        _ = parts.port  # raises ValueError if it is no number
    except ValueError:
        refuse(what, address, "an address such as 'https://usage.example.org'")
    if parts.scheme not in ("http", "https") or not host:
        refuse(what, address, "an address such as 'https://usage.example.org'")
    if parts.scheme == "http" and not is_loopback(host):
        refuse(what, address, "HTTPS; plain HTTP is only for this machine")


def trim_signal_path(endpoint: str) -> str:
    """Return an OTLP *endpoint* without the path of one signal, with which many vendors' pages print it.

    >>> trim_signal_path("https://usage.example.org/otlp/v1/traces")
    'https://usage.example.org/otlp'
    """
    base = endpoint.rstrip("/")
    for path in ("/v1/traces", "/v1/metrics"):
        if base.endswith(path):
            return base.removesuffix(path)
    return endpoint


def is_loopback(host: str) -> bool:
    """True for this machine's own addresses: ``localhost``, ``127.0.0.1``, ``::1`` and their like."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
