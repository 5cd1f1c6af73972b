"""Records all that tools which watch a program can see: arguments, results and errors of every public function on the way.

The way is that of a request, from requests down to the socket. What Sentry, ddtrace and the like copy is part of this.
"""

from __future__ import annotations

import base64
import functools
import gzip
import http.client
import inspect
import logging
import re
import traceback
import zlib
from typing import Any
from urllib.parse import quote

import requests
import urllib3

CLASSES = (
    requests.Session,
    requests.Request,
    requests.PreparedRequest,
    requests.adapters.HTTPAdapter,
    urllib3.PoolManager,
    urllib3.ProxyManager,
    urllib3.connectionpool.HTTPConnectionPool,
    urllib3.connectionpool.HTTPSConnectionPool,
    urllib3.connection.HTTPConnection,
    urllib3.connection.HTTPSConnection,
    urllib3.response.HTTPResponse,
    http.client.HTTPConnection,
    http.client.HTTPSConnection,
    http.client.HTTPResponse,
)
FUNCTIONS = {
    requests: ("request", "post"),
    urllib3.util.connection: ("create_connection",),
    urllib3.connection: ("ssl_wrap_socket",),
    urllib3.poolmanager: ("proxy_from_url", "connection_requires_http_tunnel"),
}


class Watcher:
    """What was seen, as text. Use as a logging handler too. blind: classes whose objects it does not look into."""

    def __init__(self, blind: tuple[type, ...] = ()) -> None:
        self.blind = blind
        self.texts: list[str] = []
        self.calls: set[str] = set()

    def see(self, value: Any, depth: int = 0) -> None:
        """Look into *value* as deep as any tool does, and a little deeper."""
        if isinstance(value, str):
            self.texts.append(value)
        elif isinstance(value, (bytes, bytearray)):
            raw = bytes(value)
            self.texts.append(raw.decode("latin-1"))
            at = raw.find(b"\x1f\x8b\x08")  # behind a request's head, too
            if at >= 0:
                try:
                    self.texts.append(gzip.decompress(raw[at:]).decode("latin-1"))
                except (EOFError, OSError, zlib.error):
                    pass
        elif depth < 6 and not isinstance(value, self.blind):
            if isinstance(value, dict):
                inner = [*value, *value.values()]
            elif isinstance(value, (list, tuple, set, frozenset)):
                inner = list(value)
            else:
                try:
                    self.texts.append(repr(value))
                except AttributeError:  # in a constructor: not complete yet
                    pass
                inner = list(getattr(value, "__dict__", {}).values())
            for each in inner:
                self.see(each, depth + 1)

    def see_error(self, error: BaseException) -> None:
        """Text, traceback, and the variables of every frame from here to where it was raised."""
        self.texts.append("".join(traceback.format_exception(type(error), error, error.__traceback__)))
        at = error.__traceback__
        while at is not None:
            # Ours above the posting have the keys, as the host has; a tool that wraps a library never gets to them.
            self.see({name: value for name, value in at.tb_frame.f_locals.items() if name != "self"}, 3)
            at = at.tb_next

    def watch(self, name: str, function: Any) -> Any:
        """Return *function*, seen."""

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            self.calls.add(name)
            self.see((args, kwargs))
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                self.see_error(error)
                raise
            self.see((args, kwargs, result))
            return result

        return wrapper

    def install(self, monkeypatch: Any) -> None:
        """Wrap every public function on the way, and ``__init__``; watch every logger, and what http.client prints."""
        for cls in CLASSES:
            for name, function in list(vars(cls).items()):
                if inspect.isfunction(function) and (not name.startswith("_") or name == "__init__"):
                    monkeypatch.setattr(cls, name, self.watch(f"{cls.__module__}.{cls.__name__}.{name}", function))
        for module, names in FUNCTIONS.items():
            for name in names:
                monkeypatch.setattr(module, name, self.watch(name, getattr(module, name)))
        monkeypatch.setattr(http.client, "print", lambda *args: self.see(args), raising=False)
        monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
        watcher = self

        class Handler(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                watcher.see((record.getMessage(), record.args, record.__dict__))
                if record.exc_info and record.exc_info[1]:
                    watcher.see_error(record.exc_info[1])

        root = logging.getLogger()
        monkeypatch.setattr(root, "handlers", [*root.handlers, Handler()])
        monkeypatch.setattr(root, "level", logging.DEBUG)

    def holding(self, *secrets: str) -> list[str]:
        """Return the texts that hold one of *secrets*, in whatever form it may stand there."""
        forms = set()
        for secret in secrets:
            forms |= {secret, quote(secret, safe="")}
            # Base64 of it, whatever stands before it and after.
            for before in range(3):
                code = base64.b64encode(b"x" * before + secret.encode()).decode()
                forms.add(re.sub("=+$", "", code)[4 if before else 0 : -2])
        return [text for text in self.texts if any(form in text for form in forms)]
