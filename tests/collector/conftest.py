"""A Collector and a backend for the tests beside this file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collector.gateway import Gateway, binary
from tests.collector.harness import Backend


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is here. Without a Collector one test stands for all and is skipped; in CI that is a failure."""
    ours = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.collector)
    try:
        found = not ours or binary()
    except ValueError as exc:
        raise pytest.UsageError(str(exc)) from exc
    if not found and not os.environ.get("CI"):
        why = f"{len(ours)} tests: no Collector: make collector builds one, OTELCOL=/path names one"
        ours[0].add_marker(pytest.mark.skip(reason=why))
        config.hook.pytest_deselected(items=ours[1:])
        items[:] = [item for item in items if item not in ours[1:]]


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
