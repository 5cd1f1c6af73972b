"""Post one request, and say what happened on the connection. The only module of the exporters that uses the network.

GA4 cannot tell a repeated event from another, so a request may be repeated only if no byte of it has left. The libraries
report both sides of that line by the same exceptions, so it is drawn where bytes are written, and not by an error's name::

    Post.__call__                     in _progress, the thread's own: deadline, secret query, sent = False
      requests' adapter               no Session: no cookies, no .netrc, no redirect followed
        urllib3's pool, _IdleCheck    a connection that was idle for more than IDLE_S is closed first
          connection, _Watched
            connect()       opened = False
              |             DNS, TCP, a proxy's tunnel, TLS. Bytes leave, and none is the request's:
              |             whatever fails here, nothing of the request was sent
              v             opened = True
            putrequest()    appends the secret query to the request line; nothing is written yet
            send()          if opened: sent = True, and only then the first byte is written
              |             whatever fails from here on, the request may have arrived
              v
            the answer      _DeadlineReader: one deadline for all of it, however slowly it drips
      Answer                sent, and the status line if there was one; at most 64 KiB of the body

What is noted is on the safe side: a ``send`` that fails at once counts as sent. docs/decisions/0014-exporters-what-left.md has
the reasons.

RACES  1. Threads share connections' pools, but a connection is used by one thread at a time, and `_Progress` is the
          thread's own.
       2. The other side closes an idle connection just as we begin to write: whether the request arrived is unknown, and
          for GA4 it is lost. `IDLE_S` is shorter than the time after which servers close.
       3. A fork: the child would share the parent's connections. It opens its own, see `Post.__call__`.
"""

from __future__ import annotations

import io
import os
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from otel_usage.delivery.verdict import parse_retry_after
from otel_usage.settings.endpoint import is_loopback

MAX_ANSWER_BYTES = 64 * 1024
MAX_CONNECTIONS = 64  # kept to one place, as many as threads of the relay may post there
# How long a connection may have been idle to be used again. Servers close idle ones, and of a request that was sent into
# one just then nobody can tell whether it arrived. Less than any waits: gunicorn 2 s, Node.js and uvicorn 5 s, nginx 75 s,
# by default; their documentation, read 2026-11-24.
IDLE_S = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request.

    status: None if there was no answer. sent: a byte of the request may have left; False only if none has.
    fault: why there is no answer: dns, refused, tls, connect_timeout, connection, timeout or lost; else "".
    """

    status: int | None = None
    retry_after_s: float | None = None
    body: bytes = field(default=b"", repr=False)
    sent: bool = False
    fault: str = ""


# -- the connection ---------------------------------------------------------------------------------------------


class _Progress(threading.local):
    """How far the request under way in this thread has come."""

    sent = False
    deadline = 0.0
    query = ""  # what must not be logged: requests and urllib3 never get to know it


_progress = _Progress()


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket until the deadline, however slowly the other side drips."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = _progress.deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer took too long")
        self._sock.settimeout(left_s)
        return self._raw.readinto(buffer)  # type: ignore[no-any-return]

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Socket:
    """A socket whose file for reading is a `_DeadlineReader`; all else is the socket's own."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def makefile(self, *_: object, **__: object) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineReader(self._sock))


class _Watched:
    """Mixed into urllib3's connections: sees the moment in which a request begins to leave."""

    sock: Any
    opened = False
    used_s = 0.0  # when a request was last begun, on the monotonic clock

    def connect(self) -> None:
        self.opened = False  # what connecting sends to a proxy or in a TLS handshake is not the request
        super().connect()  # type: ignore[misc]
        self.sock = _Socket(self.sock)
        self.opened = True

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        self.used_s = time.monotonic()
        super().putrequest(method, url + _progress.query, *args, **kwargs)  # type: ignore[misc]

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        if self.opened:
            left_s = _progress.deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("connecting took too long")
            self.sock.settimeout(left_s)
            _progress.sent = True  # before the attempt: afterwards it would be too late to know
        super().send(data)  # type: ignore[misc]


class _HTTPConnection(_Watched, urllib3.connection.HTTPConnection):
    pass


class _HTTPSConnection(_Watched, urllib3.connection.HTTPSConnection):
    pass


class _IdleCheck:
    """Mixed into urllib3's pools: closes a connection that was idle for too long; urllib3 opens it anew."""

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection = super()._get_conn(timeout)  # type: ignore[misc]
        if time.monotonic() - connection.used_s > IDLE_S:
            connection.close()
        return connection


class _HTTPPool(_IdleCheck, urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(_IdleCheck, urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class _Adapter(HTTPAdapter):
    poolmanager: urllib3.PoolManager

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
        return manager


# -- posting ----------------------------------------------------------------------------------------------------


class Post:
    """Posts requests, over connections that are kept for `IDLE_S`. Concurrency: safe in threads and after a fork."""

    def __init__(self) -> None:
        self._adapter = _Adapter(pool_maxsize=MAX_CONNECTIONS)
        self._pid = os.getpid()

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._adapter.close()

    def __call__(self, url: str, headers: dict[str, str], body: bytes, *, timeout_s: float, secret: str = "") -> Answer:
        """Return what became of posting *body*, within *timeout_s* but for the resolver's time.

        secret: appended to the address only where it is written to the connection, so that no log or error of the
        libraries in between can hold it.
        """
        if self._pid != os.getpid():  # the connections are the parent's
            self._adapter, self._pid = _Adapter(pool_maxsize=MAX_CONNECTIONS), os.getpid()
        request = requests.Request("POST", url, headers=headers, data=body).prepare()
        _progress.sent, _progress.query = False, secret
        _progress.deadline = time.monotonic() + timeout_s
        verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        proxies = {} if is_loopback(urlsplit(url).hostname or "") else requests.utils.get_environ_proxies(url)
        try:
            response = self._adapter.send(
                request, stream=True, timeout=(timeout_s, timeout_s), verify=verify, proxies=proxies
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as exc:
            return Answer(sent=_progress.sent, fault=_fault(exc, sent=_progress.sent))
        with response:
            try:
                answer_body = response.raw.read(MAX_ANSWER_BYTES, decode_content=False)
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError):
                answer_body = b""  # the status line says all that counts
            wait_s = parse_retry_after(response.headers.get("Retry-After"))
            return Answer(response.status_code, wait_s, answer_body, sent=True)


def _fault(error: BaseException, *, sent: bool) -> str:
    """Return one word for *error*. Its text is never shown: it holds the address, and that holds the key."""
    # The libraries wrap one error in another, in four different ways: the innermost says what happened.
    errors: list[BaseException] = []
    candidates: list[object] = [error]
    while candidates:
        candidate = candidates.pop()
        if isinstance(candidate, BaseException) and candidate not in errors:
            errors.append(candidate)
            candidates += [
                candidate.__cause__,
                candidate.__context__,
                getattr(candidate, "reason", None),
                *candidate.args,
            ]

    def any_of(*kinds: type[BaseException]) -> bool:
        return any(isinstance(each, kinds) for each in errors)

    if not sent:
        if any_of(socket.gaierror):
            return "dns"
        if any_of(ConnectionRefusedError):
            return "refused"
        if any_of(ssl.SSLError, requests.exceptions.SSLError):
            return "tls"
    if any_of(TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError):
        return "timeout" if sent else "connect_timeout"
    return "lost" if sent else "connection"
