"""What the exporters' tests share: a home of their own, no settings of the developer's, servers that end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from otel_usage_exporters import once, remembering

from .servers import Receiver, Rude


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """No variable of the developer's, a home of its own, nothing told yet."""
    for name in list(os.environ):
        if name.startswith("OTEL_") or name.lower().endswith("_proxy") or name.endswith("CA_BUNDLE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_USAGE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(once, "_texts", set())
    monkeypatch.setattr(remembering, "_shared", {})


@pytest.fixture
def new_process() -> Callable[[], None]:
    """Forget what only this process remembers."""
    return lambda: remembering._shared.clear()


@pytest.fixture
def serve() -> Iterator[Callable[..., Receiver]]:
    """Start a `Receiver` that answers as told."""
    servers: list[Receiver] = []

    def start(*answers: Any, **more: Any) -> Receiver:
        servers.append(Receiver(*answers, **more))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def rude() -> Iterator[Callable[..., Rude]]:
    """Start a server that behaves badly."""
    servers: list[Rude] = []

    def start(behave: Any) -> Rude:
        servers.append(Rude(behave))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
