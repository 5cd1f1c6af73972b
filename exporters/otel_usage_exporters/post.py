"""Post one request and say what happened on the connection.

Ring 1 (background): the only module of the exporters that touches the network.

What is not left to chance: no .netrc and no cookies (no Session), no redirect followed, HTTPS except to this machine,
one deadline for the whole answer, at most 64 KiB of it read, and whether any byte of the request left is noted where it
leaves, not guessed from an exception's name.
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

from otel_usage.delivery import retry_after_s
from otel_usage.schema import is_loopback

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


def check_endpoint(url: str) -> str:
    """Return *url* without a slash at its end. Raises ValueError, saying what is expected but not what was given."""
    expected = "an https:// address (http:// only for this machine), without user, query and fragment"
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        plain = not (parts.query or parts.fragment or parts.username or parts.password) and url.isprintable()
        _ = parts.port
    except ValueError:
        raise ValueError(expected) from None
    if (
        not host
        or not plain
        or " " in url
        or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))
    ):
        raise ValueError(expected)
    return url.rstrip("/")


# -- the connection ---------------------------------------------------------------------------------------------


class _Note(threading.local):
    """What the request under way in this thread has done so far."""

    sent = False
    deadline = 0.0
    query = ""  # what must not be logged: requests and urllib3 never get to know it


_note = _Note()


class _Reader(io.RawIOBase):
    """Reads from a socket until the deadline, however slowly the other side drips."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = _note.deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer took too long")
        self._sock.settimeout(left_s)
        return self._raw.readinto(buffer)  # type: ignore[no-any-return]

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Socket:
    """A socket whose file for reading is a `_Reader`; all else is the socket's own."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def makefile(self, *_: object, **__: object) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock))


class _Noting:
    """Mixed into urllib3's connections: notes that a request begins to leave."""

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
        super().putrequest(method, url + _note.query, *args, **kwargs)  # type: ignore[misc]

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        if self.opened:
            left_s = _note.deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("connecting took too long")
            self.sock.settimeout(left_s)
            _note.sent = True  # before the attempt: afterwards it would be too late to know
        super().send(data)  # type: ignore[misc]


class _HTTPConnection(_Noting, urllib3.connection.HTTPConnection):
    pass


class _HTTPSConnection(_Noting, urllib3.connection.HTTPSConnection):
    pass


class _Pool:
    """Mixed into urllib3's pools: opens anew what was idle for too long."""

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection = super()._get_conn(timeout)  # type: ignore[misc]
        if time.monotonic() - connection.used_s > IDLE_S:
            connection.close()
        return connection


class _HTTPPool(_Pool, urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(_Pool, urllib3.connectionpool.HTTPSConnectionPool):
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
        _note.sent, _note.query = False, secret
        _note.deadline = time.monotonic() + timeout_s
        verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        proxies = {} if is_loopback(urlsplit(url).hostname or "") else requests.utils.get_environ_proxies(url)
        try:
            response = self._adapter.send(
                request, stream=True, timeout=(timeout_s, timeout_s), verify=verify, proxies=proxies
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as exc:
            return Answer(sent=_note.sent, fault=_fault(exc, sent=_note.sent))
        with response:
            try:
                read = response.raw.read(MAX_ANSWER_BYTES, decode_content=False)
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError):
                read = b""  # the status line says all that counts
            wait_s = retry_after_s(response.headers.get("Retry-After"))
            return Answer(response.status_code, wait_s, read, sent=True)


def _fault(error: BaseException, *, sent: bool) -> str:
    """Return one word for *error*. Its text is never shown: it holds the address, and that holds the key."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and one not in seen:
            seen.append(one)
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]

    def any_of(*kinds: type[BaseException]) -> bool:
        return any(isinstance(one, kinds) for one in seen)

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
