"""The connections that requests leave by: they know whether a byte has left, and they alone know the keys.

HIDDEN     Tools that watch a program (Sentry, Datadog, Elastic, New Relic, OpenTelemetry's instrumentations) wrap the functions
           of requests, urllib3 and http.client, and copy addresses, headers and errors into spans and logs. So whatever may
           hold a key never passes these functions. A request goes through them with a bare address, the `PUBLIC_HEADERS` and
           no body; the rest of it waits in `progress`, and is put into its place where bytes are written to the socket::

               what the libraries see                  what `Watched.send` adds
               POST /mp/collect?measurement_id=G-1     &api_secret=…
               Content-Type, Content-Length, …         Authorization: …
                                                       the body
               CONNECT host:443                        Proxy-Authorization: …

           An error that is raised while the whole request is in a variable forgets the frames that hold it: tools show
           the variables of frames too.

WATCHED    See post.py: ``connect()`` ends with `Watched.opened`, and ``send()`` notes that the request begins to leave.
"""

from __future__ import annotations

import io
import threading
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

# How long a connection may have been idle to be used again. Servers close idle ones, and of a request that was sent into
# one just then nobody can tell whether it arrived. Less than any waits: gunicorn 2 s, Node.js and uvicorn 5 s, nginx 75 s,
# by default; their documentation, read 2026-11-24.
IDLE_S = 1.0
MAX_CONNECTIONS = 64  # kept to one place, as many as threads of the relay may post there
PUBLIC_HEADERS = frozenset({"accept-encoding", "content-encoding", "content-type", "user-agent"})


@dataclass(frozen=True, slots=True)
class Hidden:
    """The part of a request that the libraries do not see. query: the end of the address's query."""

    query: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    def complete(self, head: bytes) -> bytes:
        """Return the whole request, whose *head* the libraries have written."""
        request_line, _, rest = head.partition(b"\r\n")
        start, _, version = request_line.rpartition(b" ")
        lines = "".join([f"{name}: {value}\r\n" for name, value in self.headers.items()])
        return b"".join(
            [start, self.query.encode(), b" ", version, b"\r\n", rest[:-2], lines.encode("latin-1"), b"\r\n", self.body]
        )


class Progress(threading.local):
    """How far the request under way in this thread has come."""

    sent = False  # a byte of it may have left
    deadline = 0.0
    hidden: Hidden | None = None  # None once it has been written
    proxy_login: Mapping[str, str] | None = None  # username and password


progress = Progress()


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket until the deadline, however slowly the other side drips."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = progress.deadline - time.monotonic()
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


class Watched:
    """Mixed into urllib3's connections: sees the moment in which a request begins to leave, and completes it there."""

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
        super().putrequest(method, url, *args, **kwargs)  # type: ignore[misc]

    def send(self, data: Any) -> None:
        """Write *data*, the head of a request or of a proxy's tunnel. In place of http.client's, which others may wrap."""
        if self.sock is None:
            self.connect()
        if not self.opened:
            _write(self.sock, _with_login(data))
            return
        left_s = progress.deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("connecting took too long")
        hidden, progress.hidden = progress.hidden, None
        self.sock.settimeout(left_s)
        progress.sent = True  # before the attempt: afterwards it would be too late to know
        _write(self.sock, hidden.complete(data) if hidden is not None else data)


def _write(sock: Any, content: bytes) -> None:
    try:
        sock.sendall(content)
    except BaseException as exc:
        content = b""
        raise _without_frames(exc) from None  # those of ssl.py hold the content


def _without_frames(error: BaseException) -> BaseException:
    """Return *error*, which no more leads to the frames it came from, nor do those that led to it."""
    each: BaseException | None = error
    while each is not None:
        each.__traceback__ = None
        each = each.__cause__ or each.__context__
    return error


def _with_login(head: bytes) -> bytes:
    """Return the *head* of a CONNECT, with what the proxy is to be shown."""
    if progress.proxy_login is None or not head.startswith(b"CONNECT "):
        return head
    login = b64encode("{username}:{password}".format_map(progress.proxy_login).encode("utf-8", "surrogateescape"))
    return head[:-2] + b"Proxy-Authorization: Basic " + login + b"\r\n\r\n"


class _HTTPConnection(Watched, urllib3.connection.HTTPConnection):
    pass


class _HTTPSConnection(Watched, urllib3.connection.HTTPSConnection):
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


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


@lru_cache(maxsize=1)
def _socks_pools() -> dict[str, type]:
    """Return the pools for SOCKS proxies. Only where PySocks is, without which urllib3's module can't be imported."""
    from urllib3.contrib import socks

    class Login:
        """Shows user and password to the proxy, and to nobody before."""

        _socks_options: Any

        def _new_conn(self) -> Any:
            options = self._socks_options
            # Not in variables of their own, which an error would bring along.
            self._socks_options = {**options, **(progress.proxy_login or {})}
            try:
                sock = super()._new_conn()  # type: ignore[misc]
                sock.set_proxy()  # it is connected, and needs to know no more
                return sock
            except BaseException as exc:
                raise _without_frames(exc) from exc.__cause__  # those of PySocks hold the password
            finally:
                self._socks_options = options

    class Connection(Watched, Login, socks.SOCKSConnection):
        pass

    class TLSConnection(Watched, Login, socks.SOCKSHTTPSConnection):
        pass

    class Pool(_IdleCheck, socks.SOCKSHTTPConnectionPool):
        ConnectionCls = Connection

    class TLSPool(_IdleCheck, socks.SOCKSHTTPSConnectionPool):
        ConnectionCls = TLSConnection

    return {"http": Pool, "https": TLSPool}


class Adapter(HTTPAdapter):
    """requests' adapter, over the connections of this module. Raises ProxyError for a proxy that can't be used."""

    poolmanager: urllib3.PoolManager

    def __init__(self) -> None:
        super().__init__(pool_maxsize=MAX_CONNECTIONS)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools for direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Return the pools for connections through *proxy*, an address without user and password."""
        try:
            manager = super().proxy_manager_for(proxy, **kwargs)
            manager.pool_classes_by_scheme = _socks_pools() if proxy.lower().startswith("socks") else _POOLS
        except Exception as exc:  # an unknown scheme, or SOCKS without PySocks
            raise requests.exceptions.ProxyError(type(exc).__name__) from None
        return manager


def choose_proxy(url: str) -> tuple[dict[str, str], Mapping[str, str] | None]:
    """Return the proxy that the environment has for *url*, as requests wants it, and its username and password.

    The address has neither of them. Raises ProxyError if it is none.
    """
    try:
        proxy = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))
        if not proxy:
            return {}, None
        parts = urllib3.util.parse_url(proxy if "://" in proxy else f"http://{proxy}")
        address = parts._replace(auth=None).url
        username, password = requests.utils.get_auth_from_url(proxy)
        if not parts.host:
            raise ValueError("an address without a host")
    except Exception as exc:  # text of the user's environment, of whatever form
        raise requests.exceptions.ProxyError(type(exc).__name__) from None
    return {"all": address}, {"username": username, "password": password} if parts.auth else None
