"""Post one request, and say what happened on the connection. With connection.py the only module that uses the network.

GA4 cannot tell a repeated event from another, so a request may be repeated only if no byte of it has left. The libraries
report both sides of that line by the same exceptions, so it is drawn where bytes are written, and not by an error's name::

    Post.__call__                     in `progress`, the thread's own: deadline, hidden part, sent = False
      requests' adapter               no Session: no cookies, no .netrc, no redirect followed
        urllib3's pool, _IdleCheck    a connection that was idle for more than IDLE_S is closed first
          connection, Watched
            connect()       opened = False
              |             DNS, TCP, a proxy's tunnel, TLS. Bytes leave, and none is the request's:
              |             whatever fails here, nothing of the request was sent
              v             opened = True
            send()          if opened: sent = True, and only then the first byte is written; keys are added here
              |             whatever fails from here on, the request may have arrived
              v
            the answer      _DeadlineReader: one deadline for all of it, however slowly it drips
      Answer                sent, and the status line if there was one; at most 64 KiB of the body

What is noted is on the safe side: a ``send`` that fails at once counts as sent. docs/decisions/0014-exporters-what-left.md has
the reasons. Whatever is raised in between is an answer too, of the same two sides: code that nobody expects there (gevent, a
tool that wraps these functions, a machine without memory) must not make of a request that never left one that may have.

RACES  1. Threads share connections' pools, but a connection is used by one thread at a time, and `progress` is the
          thread's own.
       2. The other side closes an idle connection just as we begin to write: whether the request arrived is unknown, and
          for GA4 it is lost. `IDLE_S` is shorter than the time after which servers close.
       3. A fork: the child would share the parent's connections. It opens its own, see `Post.__call__`.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
import time
import traceback
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from otel_usage.delivery.verdict import parse_retry_after
from otel_usage.settings.endpoint import is_loopback

from .connection import PUBLIC_HEADERS, Adapter, Hidden, choose_proxy, progress

MAX_ANSWER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request.

    status: None if there was no answer. sent: a byte of the request may have left; False only if none has.
    fault: why there is no answer: a word of `verdict.NOT_SENT` or, if something may have left, of `verdict.MAYBE_SENT`.
    content_type: what the answer says that its body is.
    """

    status: int | None = None
    retry_after_s: float | None = None
    body: bytes = field(default=b"", repr=False)
    sent: bool = False
    fault: str = ""
    content_type: str = ""

    def json_object(self) -> dict[str, Any]:
        """Return the JSON object in the body, an empty one if there is none. Any: JSON."""
        try:
            content = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}


class Post:
    """Posts requests, over connections that are kept for `IDLE_S`. Concurrency: safe in threads and after a fork."""

    def __init__(self) -> None:
        self._adapter = Adapter()
        self._pid = os.getpid()

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._adapter.close()

    def __call__(
        self,
        url: str,
        headers: dict[str, str],
        body: bytes,
        *,
        timeout_s: float,
        secret: str = "",
        trusted: str = "",
        certificate: str | tuple[str, str] | None = None,
    ) -> Answer:
        """Return what became of posting *body*, within *timeout_s* but for the resolver's time. Raises no Exception.

        secret: the end of the address's query. It, *body*, and all *headers* but `PUBLIC_HEADERS` are hidden from the
        libraries in between, so that no log, error or tool can hold them: see connection.py. trusted: the file of the
        authorities to trust, in place of the usual ones. certificate: the client's own, as requests takes it.
        """
        if self._pid != os.getpid():  # the connections are the parent's
            self._adapter, self._pid = Adapter(), os.getpid()
        progress.sent = False
        progress.deadline = time.monotonic() + timeout_s
        public = {name: value for name, value in headers.items() if name.lower() in PUBLIC_HEADERS}
        progress.hidden = Hidden(secret, {name: headers[name] for name in headers if name not in public}, body)
        try:
            return self._exchange(url, public, len(body), timeout_s, trusted, certificate)
        except Exception as exc:  # of whatever kind, since hosts patch sockets, and tools wrap libraries
            errors = _chain(exc)
            for each in errors:  # frames hold sockets, and keep each other alive: now, not whenever the collector runs
                traceback.clear_frames(each.__traceback__)
            return Answer(sent=progress.sent, fault=_fault(errors, sent=progress.sent))
        finally:
            progress.hidden = progress.proxy_login = None

    def _exchange(
        self,
        url: str,
        headers: dict[str, str],
        body_bytes: int,
        timeout_s: float,
        trusted: str,
        certificate: str | tuple[str, str] | None,
    ) -> Answer:
        """Send the request, whose body and keys are in `progress`, and return what was answered."""
        # The libraries get no body, and would say so in a header of theirs.
        headers["Content-Length"] = str(body_bytes)
        request = requests.Request("POST", url, headers=headers).prepare()
        verify = trusted or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        if isinstance(verify, str) and not os.path.exists(verify):
            return Answer(fault="tls")
        proxies: dict[str, str] = {}
        if not is_loopback(urlsplit(url).hostname or ""):
            proxies, progress.proxy_login = choose_proxy(url)
        timeouts = (timeout_s, timeout_s)
        with self._adapter.send(
            request, stream=True, timeout=timeouts, verify=verify, cert=certificate, proxies=proxies
        ) as response:
            wait_s = parse_retry_after(response.headers.get("Retry-After"))
            try:
                answer_body = response.raw.read(MAX_ANSWER_BYTES, decode_content=False)
            except Exception:
                answer_body = b""  # the status line says all that counts
            kind = response.headers.get("Content-Type", "")
            return Answer(response.status_code, wait_s, answer_body, sent=True, content_type=kind)


def _chain(error: BaseException) -> list[BaseException]:
    """Return *error* and all that led to it. The libraries wrap one error in another, in four different ways."""
    errors: list[BaseException] = []
    candidates: list[object] = [error]
    while candidates:
        candidate = candidates.pop()
        if isinstance(candidate, BaseException) and not any(candidate is each for each in errors):
            errors.append(candidate)
            candidates += [
                candidate.__cause__,
                candidate.__context__,
                getattr(candidate, "reason", None),
                *candidate.args,
            ]
    return errors


def _fault(errors: list[BaseException], *, sent: bool) -> str:
    """Return one word for *errors*. Their text is never shown: it holds addresses, and those may hold a password."""

    def any_of(*kinds: type[BaseException]) -> bool:
        return any(isinstance(each, kinds) for each in errors)

    if not sent:
        # A proxy's fault comes first: that a proxy's name is unknown says nothing about the destination's.
        if any_of(requests.exceptions.ProxyError, urllib3.exceptions.ProxyError, *_socks_errors()):
            return "proxy"
        if any_of(socket.gaierror):
            return "dns"
        if any_of(ConnectionRefusedError):
            return "refused"
        if any_of(ssl.SSLError, requests.exceptions.SSLError):
            return "tls"
    if any_of(TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError):
        return "timeout" if sent else "connect_timeout"
    if not sent:
        return "connection"
    return "lost" if any_of(requests.RequestException, urllib3.exceptions.HTTPError, OSError) else "fault"


def _socks_errors() -> tuple[type[BaseException], ...]:
    """Return what PySocks raises, where it is in use."""
    module = sys.modules.get("socks")
    return (module.ProxyError,) if module is not None and hasattr(module, "ProxyError") else ()
