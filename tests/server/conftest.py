"""What the relay's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.serving import Serving


@pytest.fixture(scope="module")
def shared() -> Iterator[Serving]:
    """A relay for the tests that change nothing in it."""
    with Serving(body_bytes=1 << 20, decoded_bytes=2 << 20) as serving:
        yield serving
