"""The ASGI application: OTLP/HTTP in, one path per destination, an answer that tells clients what to do next.

Ring 2 (extra ``[relay]``). Source: OTLP specification 1.11, "OTLP/HTTP": 429, 502, 503 and 504 are tried again, all
other 4xx and 5xx are not; a failure's body is a google.rpc.Status; partial success is a 200.

A request is admitted, read and decompressed within limits on the event loop, decoded there or, if it is large, in a
thread, one at a time, and delivered by a thread of its destination: no destination and no large request keeps others
from being answered.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # generated, without types
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from otel_usage.otlp import MalformedError

from .body import Body, Budget, MalformedBodyError, NoRoomError, TooLargeError
from .decode import Decoder, Received, TooManyError
from .destination import Destination, Outcome
from .metrics import Metrics
from .settings import Settings

log = logging.getLogger("otel_usage.relay")

JSON = "application/json"
PROTOBUF = "application/x-protobuf"
QUICK_BYTES = 16 * 1024  # decoded in less time than it takes to wake a thread, or a little more
OTLP_BYTES = 64 << 20  # the largest request a client may send; OTLP specification 1.11
TOLD_S = 60.0  # a destination that comes and goes is in the log once in so long
RETRY_AFTER_S = 1.0
MAX_RETRY_AFTER_S = 3_600.0
# Requests whose body is being read. Most bodies have come when their headers have; beyond this many the oldest is
# interrupted, so that clients which send slowly, or stop, keep nobody out.
READING = 256
SLOW_S = 2.0  # a body that takes longer makes room if all bodies together hold as much as they may

# google.rpc.Code of what we answer. Source: google/rpc/code.proto.
CODES = {400: 3, 401: 16, 404: 5, 405: 12, 408: 4, 413: 3, 415: 3, 429: 8, 500: 13, 503: 14}


class RefusedError(Exception):
    """A request is answered with *status*; *why* is for the operator of the client, and repeats none of its data."""

    def __init__(self, status: int, why: str, **headers: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Relay:
    """What the requests share. Used from the event loop only."""

    def __init__(self, destinations: Sequence[Destination], settings: Settings) -> None:
        self.destinations = {destination.name: destination for destination in destinations}
        self.settings = settings
        self.metrics = Metrics()
        self.budget = Budget(settings.held_bytes)
        self.decoder = Decoder(settings.schemas, items=settings.items)
        # One: decoding is all Python, and what a hostile body expands to is in memory once, not once for each.
        self.decoding = ThreadPoolExecutor(1, thread_name_prefix="relay-decode")
        self.tokens = [token.encode() for token in settings.tokens]
        self.reading: dict[asyncio.Task[Any], float] = {}  # since when, oldest first
        self._refusals: dict[int, tuple[float, int]] = {}  # by status: when the log last said so, and how many since
        self.closing = False

    def admit(self, request: Request) -> None:
        """Raise RefusedError unless the request bears a token that lets it in."""
        scheme, _, given = request.headers.get("authorization", "").strip().partition(" ")
        offered = given.strip().encode("utf-8", "replace") if scheme.lower() == "bearer" else b""
        # Every token is compared, and in constant time: how long it takes says nothing about them.
        if self.tokens and not sum(hmac.compare_digest(offered, token) for token in self.tokens):
            why = "its bearer token is none of this relay's" if offered else "no bearer token came with it"
            raise RefusedError(401, why, www_authenticate="Bearer")

    async def receive(self, request: Request) -> Response:
        """Answer one OTLP request."""
        began = time.monotonic()
        name, signal = request.path_params["destination"], request.path_params["signal"]
        as_json = request.headers.get("content-type", "").partition(";")[0].strip().lower() == JSON
        destination = self.destinations.get(name)
        known = destination is not None and signal in destination.exporters
        try:
            self.admit(request)
            if destination is None or not known:
                raise RefusedError(404, self._paths())
            answer = await self._deliver(request, destination, signal, as_json, began + self.settings.deadline_s)
        except RefusedError as exc:
            answer = refusal(exc.status, exc.why, as_json, exc.headers)
            self._refused(exc.status, exc.why)
        except ClientDisconnect:
            answer = refusal(408, "the client went away", as_json, {})
        except asyncio.CancelledError:  # told to stop at once, or too slow where there is no room
            headers = {"retry-after": seconds(None), "connection": "close"}
            answer = refusal(503, "interrupted", as_json, headers)
        except Exception as exc:  # a fault of ours; its text may hold what was sent
            log.error("%s: a request failed with %s", name if known else "?", type(exc).__name__)
            passing = self.closing or isinstance(exc, MemoryError)
            # Any other would come back with the request, and block the client's queue for good.
            headers = {"retry-after": seconds(None)} if passing else {}
            answer = refusal(503 if passing else 500, "the relay failed", as_json, headers)
        told = (name, signal) if known else ("", "")  # labels are not for clients to make up
        self.metrics.add("requests_total", destination=told[0], signal=told[1], code=str(answer.status_code))
        if known:
            self.metrics.took(time.monotonic() - began, destination=name)
        return answer

    async def _deliver(
        self, request: Request, destination: Destination, signal: str, as_json: bool, deadline: float
    ) -> Response:
        compressed = self._acceptable(request, as_json)
        self._check_place(destination)
        body = Body(
            self.budget,
            body_bytes=self.settings.body_bytes,
            decoded_bytes=self.settings.decoded_bytes,
            compressed=compressed,
        )
        placed = False
        work: asyncio.Future[Outcome] | None = None
        try:
            content = await self._read(body, request, deadline)
            self._check_place(destination)  # not held while the body comes: a slow client would keep others out
            destination.waiting += 1
            placed = True
            received = await self._decode(signal, content, as_json, deadline)
            del content
            if isinstance(received, RefusedError):
                raise RefusedError(received.status, received.why)
            work = asyncio.wrap_future(destination.submit(received, deadline))

            def ended(done: asyncio.Future[Outcome]) -> None:
                # Not answered in time it goes on: its share of the limits is given back now, and the window knows
                # what was sent when the client tries again.
                destination.waiting -= 1
                body.close()
                if not done.cancelled():
                    self._count(destination, received, done.result())

            work.add_done_callback(ended)
            await asyncio.wait([work], timeout=deadline - time.monotonic())
            if not work.done():
                raise RefusedError(503, "the destination takes too long", retry_after=seconds(None))
            return self._answer(received, work.result(), as_json)
        finally:
            if work is None:
                destination.waiting -= placed
                body.close()

    def _check_place(self, destination: Destination) -> None:
        if destination.waiting >= self.settings.waiting:
            raise RefusedError(429, "too many requests are waiting", retry_after=seconds(None))

    async def _decode(self, signal: str, content: bytes, as_json: bool, deadline: float) -> Received | RefusedError:
        """Return what *content* holds. A large one is decoded in the thread for it, so that others are answered."""
        if len(content) <= QUICK_BYTES:
            return self._decoded(signal, content, as_json)
        work = partial(self._decoded, signal, content, as_json)
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.wait_for(loop.run_in_executor(self.decoding, work), deadline - time.monotonic())
        except (TimeoutError, asyncio.TimeoutError):
            raise RefusedError(503, "too much is waiting to be decoded", retry_after=seconds(None)) from None

    def _decoded(self, signal: str, content: bytes, as_json: bool) -> Received | RefusedError:
        # Returned: an exception that passes through a future keeps the frames it came from, and with them all that was
        # parsed, until the garbage is collected: 30 MiB each.
        try:
            return self.decoder.decode(signal, content, as_json=as_json)
        except MalformedError as exc:
            return RefusedError(400, str(exc))
        except TooManyError as exc:
            return RefusedError(413, str(exc))

    def _acceptable(self, request: Request, as_json: bool) -> bool:
        """Return whether the body is compressed. Raises RefusedError if it will not be read at all."""
        if not as_json and request.headers.get("content-type", "").partition(";")[0].strip().lower() != PROTOBUF:
            raise RefusedError(415, f"the Content-Type is neither {PROTOBUF} nor {JSON}", accept=f"{PROTOBUF}, {JSON}")
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", ""):
            raise RefusedError(
                415, "the Content-Encoding is neither gzip nor identity", accept_encoding="gzip, identity"
            )
        length = request.headers.get("content-length", "0")
        if length.isdigit() and int(length) > self.settings.body_bytes:
            raise self._too_large("--body-mib", int(length))
        return encoding == "gzip"

    def _too_large(self, option: str, length: int = 0) -> RefusedError:
        most = self.settings.body_bytes if option == "--body-mib" else self.settings.decoded_bytes
        # The server reads what is left of the body and forgets it: closed in its middle, the connection would break
        # before the client has read the answer, and it would send the same again. What OTLP does not allow breaks it.
        headers = {"connection": "close"} if length > OTLP_BYTES else {}
        decoded = " once decompressed" if option != "--body-mib" else ""
        return RefusedError(413, f"a body of more than {most} bytes{decoded}: send less, or raise {option}", **headers)

    async def _read(self, body: Body, request: Request, deadline: float) -> bytes:
        task = asyncio.current_task()
        assert task is not None
        if len(self.reading) >= READING:
            self._interrupt()
        self.reading[task] = time.monotonic()
        try:
            return await asyncio.wait_for(body.read(request.stream()), deadline - time.monotonic())
        except (TimeoutError, asyncio.TimeoutError):
            # Not 408, though it is one: OTLP's clients throw away what is answered so, and the network may be at fault.
            wait = seconds(None)
            raise RefusedError(503, "the body took too long to come", retry_after=wait, connection="close") from None
        except TooLargeError as exc:
            raise self._too_large(str(exc)) from None
        except NoRoomError:
            self._interrupt(older_s=SLOW_S)
            raise RefusedError(429, "too much is waiting", retry_after=seconds(None)) from None
        except MalformedBodyError as exc:
            raise RefusedError(400, str(exc)) from exc
        finally:
            self.reading.pop(task, None)

    def _interrupt(self, *, older_s: float = 0.0) -> None:
        """Give up the body that is being read for longest, if it is for *older_s*; its client is told to come again."""
        task = next(iter(self.reading), None)
        if task is not None and time.monotonic() - self.reading[task] >= older_s and task is not asyncio.current_task():
            del self.reading[task]
            task.cancel()

    def _refused(self, status: int, why: str) -> None:
        """Have the log say, once a minute at most, what clients will not send again: somebody's data is being lost."""
        if status in (429, 503):
            return
        told_s, n = self._refusals.get(status, (float("-inf"), 0))
        now = time.monotonic()
        if now - told_s < TOLD_S:
            self._refusals[status] = (told_s, n + 1)
            return
        self._refusals[status] = (now, 0)
        more = f", and {n} more since it was last said" if n else ""
        log.warning("refused a request for good, its data is lost: HTTP %d, %s%s", status, why, more)

    def _count(self, destination: Destination, received: Received, outcome: Outcome) -> None:
        labels = {"destination": destination.name, "signal": received.signal}
        rejected = {**received.rejected}
        for reason, n in outcome.dropped.items():
            rejected[reason] = rejected.get(reason, 0) + n
        self.metrics.add("received_total", received.count, **labels)
        self.metrics.add("sent_total", outcome.sent, **labels)
        self.metrics.add("known_total", outcome.known, **labels)
        self.metrics.add("again_total", outcome.again, **labels)
        self.metrics.add("skipped_total", outcome.skipped + received.skipped, **labels)
        for reason, n in rejected.items():
            self.metrics.add("rejected_total", n, **labels, reason=reason)
        if outcome.again > outcome.busy:
            self._failing(destination, outcome)
        elif outcome.sent and destination.failing:
            destination.failing = False
            if not destination.told:
                return
            destination.told = False
            log.info("%s: delivers again", destination.name)

    def _failing(self, destination: Destination, outcome: Outcome) -> None:
        """Note that the destination did not take all of it; say so, once a minute at most."""
        now = time.monotonic()
        if not destination.failing and now - destination.told_s >= TOLD_S:
            told = outcome.status is not None and outcome.status >= 300
            said = f"HTTP {outcome.status}" if told else "no answer in time"
            log.warning("%s: can't deliver (%s); clients are told to try again", destination.name, said)
            destination.told_s, destination.told = now, True
        destination.failing = True

    def _answer(self, received: Received, outcome: Outcome, as_json: bool) -> Response:
        if outcome.again:
            limited = outcome.status == 429
            why = "the destination asks to slow down" if limited else "the destination did not take all of it"
            raise RefusedError(429 if limited else 503, why, retry_after=seconds(outcome.retry_after_s))
        rejected = {**received.rejected}
        for reason, n in outcome.dropped.items():
            rejected[reason] = rejected.get(reason, 0) + n
        return success(received.signal, rejected, as_json)

    async def health(self, _: Request) -> Response:
        """Answer 200 while requests are taken; whether destinations are well is for /metrics to say."""
        return PlainTextResponse("closing\n", 503) if self.closing else PlainTextResponse("ok\n")

    async def show(self, request: Request) -> Response:
        """Answer with our own metrics."""
        try:
            self.admit(request)
        except RefusedError as exc:
            return PlainTextResponse(exc.why + "\n", exc.status, headers=exc.headers)
        self.metrics.put("held_bytes", self.budget.held_bytes)
        self.metrics.put("reading_requests", len(self.reading))
        for name, destination in self.destinations.items():
            self.metrics.put("waiting_requests", destination.waiting, destination=name)
            self.metrics.put("window_events", len(destination.window), destination=name)
            self.metrics.put("failing", int(destination.failing), destination=name)
        return PlainTextResponse(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def failed(self, request: Request, exc: Exception) -> Response:
        """Answer what no route takes: 404 and 405, in the client's encoding."""
        assert isinstance(exc, HTTPException)
        as_json = request.headers.get("content-type", "").partition(";")[0].strip().lower() == JSON
        why = self._paths() if exc.status_code == 404 else exc.detail
        if request.method == "POST":  # others bring no data
            self._refused(exc.status_code, why)
        self.metrics.add("requests_total", destination="", signal="", code=str(exc.status_code))
        return refusal(exc.status_code, why, as_json, dict(exc.headers or {}))

    def _paths(self) -> str:
        """Return what is wrong with a path that leads nowhere; not the path: that is the client's."""
        paths = [f"/{name}/v1/{signal}" for name, one in self.destinations.items() for signal in one.exporters]
        return "no such path; there are " + ", ".join(paths)

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Close the destinations when the server has answered what it took."""
        yield
        self.closing = True
        await asyncio.gather(*(asyncio.to_thread(one.close) for one in self.destinations.values()))
        self.decoding.shutdown(cancel_futures=True)


def seconds(told: float | None) -> str:
    """Return the Retry-After for what a destination told, or did not."""
    return str(math.ceil(min(max(told if told is not None else RETRY_AFTER_S, 1.0), MAX_RETRY_AFTER_S)))


def refusal(status: int, why: str, as_json: bool, headers: Mapping[str, str]) -> Response:
    """Return a failure as OTLP wants it: a google.rpc.Status, in the client's encoding."""
    code = CODES.get(status, 2)
    if as_json:
        return Response(json.dumps({"code": code, "message": why}), status, headers, JSON)
    return Response(Status(code=code, message=why).SerializeToString(), status, headers, PROTOBUF)


def success(signal: str, rejected: Mapping[str, int], as_json: bool) -> Response:
    """Return a 200, which says how many were rejected and why, if any were."""
    n = sum(rejected.values())
    why = ", ".join(f"{reason}: {of}" for reason, of in sorted(rejected.items())) if n else ""
    if as_json:
        key = "rejectedSpans" if signal == "traces" else "rejectedDataPoints"
        told = {"partialSuccess": {key: str(n), "errorMessage": why}} if n else {}
        return Response(json.dumps(told), 200, media_type=JSON)
    if not n:
        return Response(b"", 200, media_type=PROTOBUF)
    made: Any
    if signal == "traces":
        made = ExportTraceServiceResponse()
        made.partial_success.rejected_spans = n
    else:
        made = ExportMetricsServiceResponse()
        made.partial_success.rejected_data_points = n
    made.partial_success.error_message = why
    return Response(made.SerializeToString(), 200, media_type=PROTOBUF)


class Paths(Starlette):
    """Takes ``//ga4/v1/traces`` and ``/ga4/v1/traces/`` as well: what comes of an address that ends with a slash."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope.get("path", "")
        if "//" in path or path.endswith("/"):
            scope["path"] = "/" + "/".join(filter(None, path.split("/")))
        await super().__call__(scope, receive, send)


def make_app(destinations: Sequence[Destination], settings: Settings | None = None) -> Starlette:
    """Return the ASGI application for *destinations*; it closes them when it is shut down."""
    relay = Relay(destinations, settings or Settings())
    app = Paths(
        routes=[
            Route("/healthz", relay.health),
            Route("/metrics", relay.show),
            Route("/{destination}/v1/{signal}", relay.receive, methods=["POST"]),
        ],
        exception_handlers={HTTPException: relay.failed},
        lifespan=relay.lifespan,
    )
    app.router.redirect_slashes = False  # it would redirect to whatever the client's Host header says
    app.state.relay = relay
    return app
