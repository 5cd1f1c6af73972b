"""Reading bodies: in whatever pieces they come, compressed or not, up to their limits."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_usage.server.body import Body, Budget, MalformedBodyError, NoRoomError, TooLargeError


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
    """Return what `Body` reads of *content*."""
    budget = budget or Budget(1 << 30)
    body = Body(budget, body_bytes=1 << 22, decoded_bytes=room, compressed=compressed)
    try:
        return asyncio.run(body.read(chunks(content, sizes)))
    finally:
        body.close()
        assert 0 == budget.held_bytes


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=300),
    st.integers(1, 1000),
    st.lists(st.integers(1, 70), min_size=1, max_size=5),
    st.integers(1, 3),
)
def test_a_body_is_read_whatever_pieces_it_comes_in(seed: bytes, times: int, sizes: list[int], members: int) -> None:
    """Plain or gzip, in one member or more, padded or not: what is read is what was written."""
    content = seed * times

    packed = b"".join(gzip.compress(content) for _ in range(members)) + b"\0" * (members - 1)

    assert content == read(content, sizes, compressed=False)
    assert content * members == read(packed, sizes, compressed=True)


def test_output_that_zlib_holds_back_is_read() -> None:
    """A member whose output is exactly as large as one step, or many, is read to its end."""
    for size in (65_535, 65_536, 65_537, 3 * 65_536, 1_000_000):
        content = bytes(size)

        assert content == read(gzip.compress(content), [1 << 20], compressed=True)
        assert content == read(gzip.compress(content), [7], compressed=True)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_what_is_not_gzip_is_malformed(content: bytes) -> None:
    """Any bytes are read as gzip does, or malformed; nothing else is raised."""
    try:
        expected: bytes | None = gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        expected = None

    try:
        assert expected == read(content, [16], compressed=True) or not content
    except MalformedBodyError:
        assert expected is None or not content


def test_limits_hold_where_they_are_reached() -> None:
    """One byte more than allowed is too much: as it comes, decompressed, and of all requests together."""
    assert 1000 == len(read(gzip.compress(bytes(1000)), [10], compressed=True, room=1000))
    with pytest.raises(TooLargeError):
        read(gzip.compress(bytes(1001)), [10], compressed=True, room=1000)
    with pytest.raises(TooLargeError):
        read(bytes((1 << 22) + 1), [1 << 16], compressed=False)
    with pytest.raises(NoRoomError):
        read(bytes(1001), [10], compressed=False, budget=Budget(1000))
