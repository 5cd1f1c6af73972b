"""What the one word means by which the ledger says why a delivery failed, and what its reader can do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

NO_ANSWER = "no_answer"  # of entries that earlier versions wrote, which have neither a word nor a status

# {word of Verdict.reason: (what it means, what to do)}
_MEANINGS = {
    "dns": ("the name of its host is not known", "see whether there is a network, and whether the address is right"),
    "refused": ("nothing listens at its address", "see whether the address and its port are right"),
    "tls": (
        "its certificate is not trusted",
        "where a proxy has a certificate of its own, name the file in REQUESTS_CA_BUNDLE",
    ),
    "proxy": ("the proxy is not reached, or refuses", "look at HTTPS_PROXY and NO_PROXY"),
    "connect_timeout": ("no connection came about in time", "see whether a firewall is in between"),
    "connection": ("no connection came about", "see whether there is a network"),
    "timeout": ("it did not answer in time", ""),
    "lost": ("the connection ended before its answer came", ""),
    "fault": ("something failed here that nobody expected", ""),
    "delta": (
        "it takes no delta counters, as Prometheus and Mimir do not",
        "the program's maintainers have to send it spans alone ('metrics': 'none'), or have a gateway convert counters; see "
        "docs/otlp-backends.md",
    ),
    NO_ANSWER: ("no answer came", "see whether there is a network"),
}
_OF_STATUS = {
    401: ("it asks for a key", "the program's maintainers have to set one"),
    403: ("it refuses the key", "the program's maintainers have to set another"),
    404: ("nothing takes records at its address", "the program's maintainers have to set another"),
    407: ("the proxy asks for a password", "look at HTTPS_PROXY"),
    408: ("it took too long", ""),
    413: ("the request is too large for it", ""),
    429: ("it is asked too often", ""),
}
MISCONFIGURED = (
    "http_401",
    "http_403",
    "http_404",
    "http_407",
    "tls",
    "delta",
)  # somebody has to do something; others may pass


def reason_of(entry: Mapping[str, Any]) -> str:
    """Return the word for why *entry*, of the ledger, was not sent; "" if it was. Any: JSON."""
    if entry.get("reason"):
        return str(entry["reason"])
    if entry["result"] not in ("retry", "dropped"):
        return ""
    if entry["status"] and not 200 <= int(entry["status"]) < 300:
        return f"http_{entry['status']}"
    return NO_ANSWER if entry["result"] == "retry" else ""


def explain_reason(reason: str) -> str:
    """Return what *reason* means: ``the name of its host is not known (dns)``; the word alone if it is a newer version's."""
    meaning = _meaning_of(reason)[0]
    if reason == NO_ANSWER:
        return meaning
    return f"{meaning} ({reason.replace('http_', 'HTTP ')})" if meaning else reason


def advise(reason: str) -> str:
    """Return what to do about *reason*, as the end of a sentence; "" if only waiting helps, or if nothing is known."""
    return _meaning_of(reason)[1]


def _meaning_of(reason: str) -> tuple[str, str]:
    match = re.fullmatch(r"http_(\d{3})", reason)
    if match is None:
        return _MEANINGS.get(reason, ("", ""))
    status = int(match.group(1))
    if status in _OF_STATUS:
        return _OF_STATUS[status]
    if status >= 500:
        return "it is out of order, or overloaded", ""
    if 300 <= status < 400:
        return "it sends elsewhere, which is not followed", "the program's maintainers have to set the new address"
    return ("it refused the records", "") if status >= 400 else ("", "")
