"""Undo the Content-Encoding of a request, within bounds: shared by ``otel-usage listen`` and the relay.

FORMAT  RFC 9110, 8.4.1: ``gzip`` (also ``x-gzip``) is RFC 1952, any number of members one after the other, zeros behind
        the last; ``deflate`` is the zlib format of RFC 1950. Names are of any case. Several codings on top of each
        other, which no client of OTLP has, are not undone.

A body of few bytes can stand for many. So three things are bounded: the size of what comes out, how many times as large
it is as what went in, and how many members there are, since each has to be begun.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

PART_BYTES = 64 * 1024  # decompressed at a time, so that a bomb is noticed before it has grown
MAX_MEMBERS = 100  # of one gzip body: clients write one, or one for each of the parts that they append
# How many times as large as itself a body may become. Each span has 24 bytes of ids that no compression makes smaller,
# so that ours become 30 times as large at most; gzip can do 1,030.
MAX_RATIO = 100
FREE_BYTES = 256 * 1024  # what is not larger than this may have any ratio

_WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # of zlib: the format, with the largest window
_PLAIN = ("", "identity")


class ContentError(Exception):
    """The content is not what its Content-Encoding says. The text says what is wrong."""


class ContentTooLargeError(Exception):
    """The content is larger than *limit_bytes*; 0: it is too many times as large as what it is decoded from."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self.limit_bytes = limit_bytes


def is_known(encoding: str) -> bool:
    """True if `decode_content` can undo *encoding*, a Content-Encoding as `name_of` returns it."""
    return encoding in _PLAIN or encoding in _WBITS


def name_of(header: str | None) -> str:
    """Return a Content-Encoding as the functions of this module take it: "" for none."""
    name = (header or "").strip().lower()
    return "" if name in _PLAIN else name


def decode_content(encoded: bytes, encoding: str, most_bytes: int, take: Callable[[int], None] | None = None) -> bytes:
    """Return what is in *encoded*, *most_bytes* at most.

    take: called with the size of each part before it is put to the others; what it raises is raised.
    Raises ContentError or ContentTooLargeError.
    """
    if encoding in _PLAIN:
        if len(encoded) > most_bytes:
            raise ContentTooLargeError(most_bytes)
        return encoded
    wbits = _WBITS[encoding]
    allowed_bytes = min(most_bytes, max(FREE_BYTES, MAX_RATIO * len(encoded)))
    content = bytearray()
    view = memoryview(encoded)
    at = 0
    for _ in range(MAX_MEMBERS):
        decompressor = zlib.decompressobj(wbits=wbits)
        while not decompressor.eof:
            # In slices: zlib copies what it leaves over.
            piece: bytes | memoryview = decompressor.unconsumed_tail
            if not piece:
                piece = view[at : at + PART_BYTES]
                at += len(piece)
            try:
                part = decompressor.decompress(piece, PART_BYTES)
            except zlib.error as exc:
                raise ContentError(f"the body is not {encoding}") from exc
            if not piece and not part:
                raise ContentError(f"the {encoding} body ends early")
            if len(content) + len(part) > allowed_bytes:
                raise ContentTooLargeError(most_bytes if allowed_bytes == most_bytes else 0)
            if take is not None:
                take(len(part))
            content += part
        at -= len(decompressor.unused_data)
        if at == len(view):
            return bytes(content)
        if not view[at] and not bytes(view[at:]).strip(b"\0"):
            return bytes(content)  # padding after the last member, as gzip itself allows
        if wbits == _WBITS["deflate"]:
            raise ContentError("there is more behind the deflate body")
    raise ContentError(f"the {encoding} body has more than {MAX_MEMBERS} members")
