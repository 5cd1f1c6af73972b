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

from otel_usage.receiver.content import is_known, name_of

from .answers import JSON, PROTOBUF, RefusedError, format_retry_after, media_type_of
from .body import Body, Budget, NoRoomError, NotComeError, TooLargeError
from .options import Options

MAX_READING = 256  # bodies that are being read
SLOW_S = 2.0
OTLP_BYTES = 64 << 20  # the largest request a client may send; OTLP specification 1.11


def explain_no_room() -> RefusedError:
    """Return the refusal of a request for which there is no room among all that are held."""
    return RefusedError(429, "too much is waiting", retry_after=format_retry_after())


class BodyReader:
    """Opens and reads bodies. Used from the event loop only."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.budget = Budget(options.held_bytes)
        self.reading: dict[asyncio.Task[Any], float] = {}  # {task: since when}, oldest first
        self._late: set[asyncio.Task[Any]] = set()  # those of them whose deadline has come

    def open(self, request: Request) -> Body:
        """Return the body of *request*, of which nothing is read yet. Raises RefusedError if it will not be read."""
        if media_type_of(request) not in (JSON, PROTOBUF):
            raise RefusedError(415, f"the Content-Type is neither {PROTOBUF} nor {JSON}", accept=f"{PROTOBUF}, {JSON}")
        encoding = name_of(request.headers.get("content-encoding"))
        if not is_known(encoding):
            accepted = "gzip, deflate, identity"
            raise RefusedError(415, f"the Content-Encoding is none of {accepted}", accept_encoding=accepted)
        announced_bytes = None
        if transfer_codings := request.headers.getlist("transfer-encoding"):
            announced_bytes = -1
            if [coding.strip().lower() for coding in transfer_codings] != ["chunked"]:
                # The server undoes no other, so the body would be something else than what was sent.
                raise RefusedError(501, "the Transfer-Encoding is not chunked", connection="close")
        elif (length := request.headers.get("content-length", "")).isdigit():
            announced_bytes = int(length)
            if announced_bytes > self._options.body_bytes:
                raise self.explain_too_large(announced_bytes)
        return Body(
            self.budget,
            body_bytes=self._options.body_bytes,
            decoded_bytes=self._options.decoded_bytes,
            encoding=encoding,
            announced_bytes=announced_bytes,
        )

    def explain_too_large(self, length: int = 0) -> RefusedError:
        """Return the refusal of a body that is too large as it comes. length: what its head says."""
        # The server reads what is left of the body and forgets it: closed in its middle, the connection would break
        # before the client has read the answer, and it would send the same again. What OTLP does not allow breaks it.
        headers = {"connection": "close"} if length > OTLP_BYTES else {}
        most = self._options.body_bytes
        return RefusedError(413, f"a body of more than {most} bytes: send less, or raise --body-mib", **headers)

    async def read(self, body: Body, request: Request, deadline: float) -> None:
        """Have *body* read. deadline: on the monotonic clock. Raises RefusedError."""
        task = asyncio.current_task()
        assert task is not None
        if len(self.reading) >= MAX_READING:
            self._interrupt_oldest()
        began = time.monotonic()
        self.reading[task] = began
        # Not asyncio.wait_for: before Python 3.12 it makes a task of each body, and most have come by now.
        timer = asyncio.get_running_loop().call_later(max(0.0, deadline - began), self._time_out, task)
        try:
            await body.read(request.stream())
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            # Not 408, though it is one: OTLP's clients throw away what is answered so, and the network may be at fault.
            wait = format_retry_after()
            raise RefusedError(503, "the body took too long to come", retry_after=wait, connection="close") from None
        except NotComeError:
            wait = format_retry_after()
            raise RefusedError(503, "the body did not come", retry_after=wait, connection="close") from None
        except TooLargeError:
            raise self.explain_too_large() from None
        except NoRoomError:
            self._interrupt_oldest(older_s=SLOW_S)
            raise explain_no_room() from None
        finally:
            timer.cancel()
            self._late.discard(task)
            self.reading.pop(task, None)

    def _time_out(self, task: asyncio.Task[Any]) -> None:
        """Interrupt a body that has not come in time."""
        self._late.add(task)
        task.cancel()

    def _interrupt_oldest(self, *, older_s: float = 0.0) -> None:
        """Give up the body that has been read for longest, if for *older_s*; its client is told to come again."""
        task = next(iter(self.reading), None)
        if task is not None and time.monotonic() - self.reading[task] >= older_s and task is not asyncio.current_task():
            del self.reading[task]
            task.cancel()
