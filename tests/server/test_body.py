"""Reading bodies: in whatever pieces they come, compressed or not, up to their limits."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_usage.receiver.content import ContentTooLargeError
from otel_usage.server.body import Body, Budget, NoRoomError, TooLargeError


async def chunks(content: bytes, sizes: list[int]) -> AsyncIterator[bytes]:
    """Yield *content* in pieces of *sizes*, in turn."""
    at, turn = 0, 0
    while at < len(content):
        size = sizes[turn % len(sizes)]
        yield content[at : at + size]
        at, turn = at + size, turn + 1


def read(
    content: bytes, sizes: list[int], *, compressed: bool, budget: Budget | None = None, room: int = 1 << 22
) -> bytes:
    """Return what `Body` makes of *content*."""
    budget = budget or Budget(1 << 30)
    encoding = "gzip" if compressed else ""
    body = Body(budget, body_bytes=1 << 22, decoded_bytes=room, encoding=encoding, announced_bytes=None)
    try:
        asyncio.run(body.read(chunks(content, sizes)))
        return body.decode()
    finally:
        body.close()
        assert 0 == budget.held_bytes


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 500), st.lists(st.integers(1, 70), min_size=1, max_size=5))
def test_a_body_is_read_whatever_pieces_it_comes_in(seed: bytes, times: int, sizes: list[int]) -> None:
    """Plain or gzip: what is read is what was written."""
    content = seed * times

    assert content == read(content, sizes, compressed=False)
    assert content == read(gzip.compress(content), sizes, compressed=True)


def test_limits_hold_where_they_are_reached() -> None:
    """One byte more than allowed is too much: as it comes, decompressed, and of all requests together."""
    assert 1000 == len(read(gzip.compress(bytes(1000)), [10], compressed=True, room=1000))
    with pytest.raises(ContentTooLargeError):
        read(gzip.compress(bytes(1001)), [10], compressed=True, room=1000)
    with pytest.raises(TooLargeError):
        read(bytes((1 << 22) + 1), [1 << 16], compressed=False)
    with pytest.raises(NoRoomError):
        read(bytes(1001), [10], compressed=False, budget=Budget(1000))
    with pytest.raises(NoRoomError):
        read(gzip.compress(bytes(1001)), [10], compressed=True, budget=Budget(1000))
