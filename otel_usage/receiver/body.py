"""Read the body of a request that `http.server` has begun: framed by its length or in chunks, and in any encoding.

FORMAT  RFC 9112, 6 and 7: a body has the length of Content-Length, or comes in chunks, each with its size in hexadecimal
        before it; extensions of chunks and the trailer are passed over. Without either header there is no body.
"""

from __future__ import annotations

from email.message import Message
from typing import BinaryIO

from .content import ContentError, ContentTooLargeError, decode_content, is_known, name_of

MAX_LINE_BYTES = 4_096  # of a chunk's size, or of a line of the trailer
MAX_TRAILER_LINES = 100


class RefusedBodyError(Exception):
    """The body will not be read, or not to its end: the connection has to be closed. status: of the answer; why: its text."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


def read_body(headers: Message, stream: BinaryIO, most_bytes: int) -> bytes:
    """Return the body behind a head with *headers*, decompressed: *most_bytes* at most. Raises RefusedBodyError."""
    codings = [coding.strip().lower() for coding in headers.get_all("Transfer-Encoding", [])]
    lengths = {length.strip() for length in headers.get_all("Content-Length", [])}
    encoding = name_of(headers.get("Content-Encoding"))
    if codings and codings != ["chunked"]:
        raise RefusedBodyError(501, "of transfer codings, chunked alone is understood")
    if len(lengths) + len(codings) > 1:
        raise RefusedBodyError(400, "more than one length")
    if not is_known(encoding):
        raise RefusedBodyError(415, "the Content-Encoding is none of gzip, deflate, identity")
    length = lengths.pop() if lengths else "0"
    if not (length.isascii() and length.isdigit()):
        raise RefusedBodyError(400, "a Content-Length that is no number")
    if int(length) > most_bytes:
        raise RefusedBodyError(413, f"larger than {most_bytes >> 20} MiB")
    encoded = _read_chunks(stream, most_bytes) if codings else _read_exactly(stream, int(length))
    try:
        return decode_content(encoded, encoding, most_bytes)
    except ContentError as exc:
        raise RefusedBodyError(400, str(exc)) from exc
    except ContentTooLargeError as exc:
        raise RefusedBodyError(413, f"larger than {most_bytes >> 20} MiB, or a bomb, when unpacked") from exc


def _read_chunks(stream: BinaryIO, most_bytes: int) -> bytes:
    content = bytearray()
    while size_bytes := _read_size(stream):
        if len(content) + size_bytes > most_bytes:
            raise RefusedBodyError(413, f"larger than {most_bytes >> 20} MiB")
        content += _read_exactly(stream, size_bytes)
        if _read_line(stream):
            raise RefusedBodyError(400, "a chunk that is longer than its size")
    for _ in range(MAX_TRAILER_LINES):
        if not _read_line(stream):
            return bytes(content)
    raise RefusedBodyError(400, "a trailer that does not end")


def _read_size(stream: BinaryIO) -> int:
    digits = _read_line(stream).partition(b";")[0].strip()
    # Not int() alone: it takes signs, underscores and 0x as well.
    if not digits or digits.strip(b"0123456789abcdefABCDEF") or len(digits) > 16:
        raise RefusedBodyError(400, "a chunk without a size")
    return int(digits, 16)


def _read_line(stream: BinaryIO) -> bytes:
    """Return a line without its end."""
    line = stream.readline(MAX_LINE_BYTES)
    if not line.endswith(b"\n"):
        raise RefusedBodyError(400, "a line that does not end")
    return line.rstrip(b"\r\n")


def _read_exactly(stream: BinaryIO, size_bytes: int) -> bytes:
    content = stream.read(size_bytes)
    if len(content) < size_bytes:
        raise RefusedBodyError(400, "a body that ends early")
    return content
