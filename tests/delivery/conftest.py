"""The receiver of OTLP that most senders of these tests send to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .backends import Backend, backends, takes


@pytest.fixture
def otlp() -> Iterator[Backend]:
    """A receiver on loopback that takes everything, until a test says otherwise."""
    with backends(takes) as (backend,):
        yield backend
