"""Ask a running server, for commands that may also work on its store where none runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import requests

from otel_usage.setting_error import SettingError

from .stored import VIEWER_TOKEN

TIMEOUT_S = 600.0  # a large store takes its time


class ServerError(Exception):
    """The server can't be reached, or can't do what it was asked for: not the fault of who asked."""


def ask_server(server: str, path: str, command: Mapping[str, str] | None = None) -> requests.Response:
    """Return what *server* answers at *path*, to a GET, or to a POST of *command*: always a 200.

    server: its address, for messages too. The token comes from the environment. Raises ServerError; SettingError if the address
    is none, or the server refuses what was asked for.
    """
    token = os.environ.get(VIEWER_TOKEN, "")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    method, body = ("GET", None) if command is None else ("POST", dict(command))
    url = server.rstrip("/") + path
    try:
        answer = requests.request(method, url, json=body, headers=headers, timeout=TIMEOUT_S, allow_redirects=False)
    except ValueError as exc:  # no address
        raise SettingError(f"--server {server!r} is no address such as http://127.0.0.1:4318") from exc
    except requests.RequestException as exc:
        raise ServerError(f"--server {server!r} can't be reached ({type(exc).__name__})") from exc
    if answer.status_code == 200:
        return answer
    why = f"--server {server!r} answers {answer.status_code}: {answer.text.strip()[:200]}"
    raise SettingError(why) if 400 <= answer.status_code < 500 else ServerError(why)


def ask_for_object(server: str, path: str, command: Mapping[str, str] | None = None) -> Mapping[str, Any]:
    """Return the JSON object that *server* answers: see `ask_server`. Any: JSON."""
    answer = ask_server(server, path, command)
    try:
        content = answer.json()
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ServerError(f"--server {server!r} answers something else than `otel-usage serve` would")
    return content
