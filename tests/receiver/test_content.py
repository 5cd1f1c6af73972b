"""Content-Encoding is undone as its formats say, and never beyond bounds."""

from __future__ import annotations

import gzip
import random
import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_usage.receiver.content import (
    MAX_MEMBERS,
    ContentError,
    ContentTooLargeError,
    decode_content,
    is_known,
    name_of,
)

ROOM = 4 << 20


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 800), st.integers(1, 4), st.integers(0, 3))
def test_what_was_written_is_read(seed: bytes, times: int, members: int, padding: int) -> None:
    """gzip, in one member or more, padded or not; deflate; plain."""
    content = seed * times

    packed = b"".join(gzip.compress(content) for _ in range(members)) + b"\0" * padding

    assert content * members == decode_content(packed, "gzip", ROOM)
    assert content == decode_content(zlib.compress(content), "deflate", ROOM)
    assert content == decode_content(content, "", ROOM)


@pytest.mark.parametrize("size", [0, 65_535, 65_536, 65_537, 3 * 65_536, 250_000])
def test_output_that_zlib_holds_back_is_read(size: int) -> None:
    """A member whose output is exactly as large as one step, or many, is read to its end."""
    assert bytes(size) == decode_content(gzip.compress(bytes(size)), "x-gzip", ROOM)
    assert bytes(size) == decode_content(zlib.compress(bytes(size)), "deflate", ROOM)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_what_is_not_gzip_is_malformed(content: bytes) -> None:
    """Any bytes are read as gzip does, or an error; nothing else is raised."""
    try:
        expected: bytes | None = gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        expected = None

    try:
        assert expected == decode_content(content, "gzip", ROOM) or not content
    except ContentError:
        assert expected is None or not content


@pytest.mark.parametrize(
    ("header", "name", "known"),
    [
        (None, "", True),
        ("identity", "", True),
        (" GZIP ", "gzip", True),
        ("X-GZip", "x-gzip", True),
        ("Deflate", "deflate", True),
        ("br", "br", False),
        ("gzip, gzip", "gzip, gzip", False),
    ],
)
def test_names_are_of_any_case(header: str | None, name: str, known: bool) -> None:
    """What is not known is not guessed at."""
    assert (name, known) == (name_of(header), is_known(name_of(header)))


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_ends_early_is_an_error(encoding: str) -> None:
    """At every byte."""
    packed = gzip.compress(b"abc") if encoding == "gzip" else zlib.compress(b"abc")
    for end in range(len(packed)):
        with pytest.raises(ContentError):
            decode_content(packed[:end], encoding, ROOM)
    with pytest.raises(ContentError):
        decode_content(packed + b"x", encoding, ROOM)


def test_bombs_are_noticed_early() -> None:
    """More than allowed, 200,000 members, or 1,000 times as much as came: each is refused, in milliseconds."""
    noise = random.Random(1).randbytes(1 << 20)
    began = time.process_time()

    with pytest.raises(ContentTooLargeError) as too_large:
        decode_content(gzip.compress(noise, 1), "gzip", (1 << 20) - 1)
    with pytest.raises(ContentTooLargeError) as too_dense:
        decode_content(gzip.compress(bytes(3 << 20)), "gzip", ROOM)
    with pytest.raises(ContentError, match="members"):
        decode_content(gzip.compress(b"") * 200_000, "gzip", ROOM)

    assert ((1 << 20) - 1, 0) == (too_large.value.limit_bytes, too_dense.value.limit_bytes)
    assert MAX_MEMBERS * b"a" == decode_content(gzip.compress(b"a") * MAX_MEMBERS, "gzip", ROOM)
    assert time.process_time() - began < 1


def test_each_part_is_asked_for() -> None:
    """Who pays for the room hears of each part before it is there."""
    asked: list[int] = []

    decode_content(gzip.compress(bytes(200_000)), "gzip", ROOM, asked.append)

    assert 200_000 == sum(asked)
    assert max(asked) <= 65_536
