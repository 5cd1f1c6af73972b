"""Read the bodies of requests, so that clients which send slowly, or stop in the middle, keep nobody out.

RACES
  1. More bodies come than may be read at a time: the one that has been read for longest is interrupted. Its task is
     cancelled, and its client hears 503 and comes again. Most bodies have come when their headers have, so the oldest
     is nearly always one that stalls.
  2. All bodies together hold as much as they may: the request that needs more hears 429, and the oldest body is
     interrupted as well if it takes longer than SLOW_S, or a few slow clients would keep the room for ever.
All of it happens on the event loop, so nothing changes between a question and what follows from it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.requests import Request

from .answers import JSON, PROTOBUF, RefusedError, format_retry_after, media_type_of
from .body import Body, Budget, MalformedBodyError, NoRoomError, TooLargeError
from .options import Options

MAX_READING = 256  # bodies that are being read
SLOW_S = 2.0
OTLP_BYTES = 64 << 20  # the largest request a client may send; OTLP specification 1.11


class BodyReader:
    """Opens and reads bodies. Used from the event loop only."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.budget = Budget(options.held_bytes)
        self.reading: dict[asyncio.Task[Any], float] = {}  # {task: since when}, oldest first

    def open(self, request: Request) -> Body:
        """Return the body of *request*, of which nothing is read yet. Raises RefusedError if it will not be read."""
        if media_type_of(request) not in (JSON, PROTOBUF):
            raise RefusedError(415, f"the Content-Type is neither {PROTOBUF} nor {JSON}", accept=f"{PROTOBUF}, {JSON}")
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", ""):
            raise RefusedError(
                415, "the Content-Encoding is neither gzip nor identity", accept_encoding="gzip, identity"
            )
        length = request.headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._options.body_bytes:
            raise self._too_large("--body-mib", int(length))
        return Body(
            self.budget,
            body_bytes=self._options.body_bytes,
            decoded_bytes=self._options.decoded_bytes,
            compressed=encoding == "gzip",
        )

    def _too_large(self, option: str, length: int = 0) -> RefusedError:
        most = self._options.body_bytes if option == "--body-mib" else self._options.decoded_bytes
        # The server reads what is left of the body and forgets it: closed in its middle, the connection would break
        # before the client has read the answer, and it would send the same again. What OTLP does not allow breaks it.
        headers = {"connection": "close"} if length > OTLP_BYTES else {}
        decoded = " once decompressed" if option != "--body-mib" else ""
        return RefusedError(413, f"a body of more than {most} bytes{decoded}: send less, or raise {option}", **headers)

    async def read(self, body: Body, request: Request, deadline: float) -> bytes:
        """Return the content of *body*, decompressed. deadline: on the monotonic clock. Raises RefusedError."""
        task = asyncio.current_task()
        assert task is not None
        if len(self.reading) >= MAX_READING:
            self._interrupt_oldest()
        self.reading[task] = time.monotonic()
        try:
            return await asyncio.wait_for(body.read(request.stream()), deadline - time.monotonic())
        except (TimeoutError, asyncio.TimeoutError):
            # Not 408, though it is one: OTLP's clients throw away what is answered so, and the network may be at fault.
            wait = format_retry_after()
            raise RefusedError(503, "the body took too long to come", retry_after=wait, connection="close") from None
        except TooLargeError as exc:
            raise self._too_large(exc.option) from None
        except NoRoomError:
            self._interrupt_oldest(older_s=SLOW_S)
            raise RefusedError(429, "too much is waiting", retry_after=format_retry_after()) from None
        except MalformedBodyError as exc:
            raise RefusedError(400, str(exc)) from exc
        finally:
            self.reading.pop(task, None)

    def _interrupt_oldest(self, *, older_s: float = 0.0) -> None:
        """Give up the body that has been read for longest, if for *older_s*; its client is told to come again."""
        task = next(iter(self.reading), None)
        if task is not None and time.monotonic() - self.reading[task] >= older_s and task is not asyncio.current_task():
            del self.reading[task]
            task.cancel()
