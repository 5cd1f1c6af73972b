"""The receiver of `otel-usage listen`, run in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from otel_usage.receiver.arrival import Arrival
from otel_usage.receiver.server import Listener


@pytest.fixture
def listener() -> Iterator[tuple[Listener, list[Arrival]]]:
    """A receiver on a free port, and what arrived at it."""
    arrived: list[Arrival] = []
    server = Listener(0, arrived.append)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server, arrived
    server.shutdown()
    server.server_close()
    thread.join()
