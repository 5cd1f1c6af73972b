"""A Collector and a backend for the tests beside this file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collector.harness import Backend, Gateway, binary


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is here, and skip it in one line where there is no Collector. In CI its absence is a failure."""
    if binary() or os.environ.get("CI"):
        absent = None
    else:
        absent = pytest.mark.skip(reason="no Collector: make collector builds one, OTELCOL=/path names one")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.collector)
            if absent is not None:
                item.add_marker(absent)


@pytest.fixture(scope="session")
def otelcol() -> str:
    """Return the path of the Collector."""
    path = binary()
    assert path, "no Collector: make collector builds one, OTELCOL=/path names one"
    return path


@pytest.fixture(scope="module")
def running(otelcol: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Backend]]:
    """Run gateway.yaml in front of a backend, for all tests of a module that break neither."""
    with Backend() as backend:
        folder = tmp_path_factory.mktemp("gateway")
        with Gateway(otelcol, folder, BACKEND_OTLP_ENDPOINT=f"http://127.0.0.1:{backend.port}") as gateway:
            yield gateway, backend
