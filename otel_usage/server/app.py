"""The ASGI application: OTLP/HTTP in, one path per destination, an answer that tells clients what to do next.

ALGORITHM of a request
  1. Admit it: its token, its path, its headers. Nothing of the body has been read so far.
  2. Read the body within limits (body_reader.py), on the event loop.
  3. Take a place at the destination. Not before: a client that sends slowly would keep others out.
  4. Decode the body: on the event loop, or in a thread, one body at a time, if it is large.
  5. Have the destination's workers deliver it, and wait until it is delivered or the deadline comes.
So no destination and no large request keeps others from being answered.

RACES
  1. The deadline comes during step 5: the client hears 503, and the delivery goes on. It keeps its place and its share
     of the budget until it ends, and the destination's window then knows what the client need not send again.
  2. The client goes away, or the server stops at once: up to step 4 everything is given back at the end of
     `_deliver`; from step 5 on by the delivery itself, as above.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from otel_usage.otlp import MalformedError

from .answers import JSON, RefusedError, build_refusal, build_success, format_retry_after, media_type_of
from .body_reader import BodyReader
from .decode import Decoder
from .operator_log import DestinationLog, RefusalLog
from .options import Options
from .outcome import RelayOutcome, count_rejected
from .prometheus import RelayMetrics
from .received import Received, TooManyError
from .workers import DestinationWorkers

log = logging.getLogger("otel_usage.relay")

QUICK_BYTES = 16 * 1024  # decoded in less time than it takes to wake a thread, or a little more


class Relay:
    """What the requests share, and the answers to them. Used from the event loop only."""

    def __init__(self, destinations: Sequence[DestinationWorkers], options: Options) -> None:
        self.destinations = {destination.name: destination for destination in destinations}
        self.options = options
        self.metrics = RelayMetrics()
        self.reader = BodyReader(options)
        self.decoder = Decoder(options.schemas, items=options.items)
        # One: decoding is all Python, and what a hostile body expands to is in memory once, not once for each.
        self._decoding = ThreadPoolExecutor(1, thread_name_prefix="relay-decode")
        self._tokens = [token.encode() for token in options.tokens]
        self._refusal_log = RefusalLog()
        self._destination_logs: dict[str, DestinationLog] = {}
        self._closing = False

    # OTLP.

    async def answer_otlp(self, request: Request) -> Response:
        """Answer one OTLP request."""
        began = time.monotonic()
        name, signal = request.path_params["destination"], request.path_params["signal"]
        as_json = media_type_of(request) == JSON
        destination = self.destinations.get(name)
        exists = destination is not None and signal in destination.exporters
        try:
            self._admit(request)
            if destination is None or not exists:
                raise RefusedError(404, self._explain_paths())
            answer = await self._deliver(request, destination, signal, as_json, began + self.options.deadline_s)
        except RefusedError as exc:
            answer = build_refusal(exc.status, exc.why, as_json, exc.headers)
            self._refusal_log.warn(exc.status, exc.why)
        except ClientDisconnect:
            answer = build_refusal(408, "the client went away", as_json, {})
        except asyncio.CancelledError:  # the relay is to stop at once, or the body came slowly and room is needed
            headers = {"retry-after": format_retry_after(), "connection": "close"}
            answer = build_refusal(503, "interrupted", as_json, headers)
        except Exception as exc:  # a fault of ours; its text may hold what was sent, so only its class is logged
            log.error("%s: a request failed with %s", name if exists else "?", type(exc).__name__)
            will_pass = self._closing or isinstance(exc, MemoryError)
            # Any other fault would come back with the request, and block the client's queue for good.
            headers = {"retry-after": format_retry_after()} if will_pass else {}
            answer = build_refusal(503 if will_pass else 500, "the relay failed", as_json, headers)
        labels = (name, signal) if exists else ("", "")  # clients must not be able to invent labels
        self.metrics.add("requests_total", destination=labels[0], signal=labels[1], code=str(answer.status_code))
        if exists:
            self.metrics.observe(time.monotonic() - began, destination=name)
        return answer

    def _admit(self, request: Request) -> None:
        """Raise RefusedError unless the request bears a token that lets it in."""
        scheme, _, credentials = request.headers.get("authorization", "").strip().partition(" ")
        token = credentials.strip().encode("utf-8", "replace") if scheme.lower() == "bearer" else b""
        # Every token is compared, and in constant time: how long it takes says nothing about them.
        if self._tokens and not sum(hmac.compare_digest(token, accepted) for accepted in self._tokens):
            why = "its bearer token is none of this relay's" if token else "no bearer token came with it"
            raise RefusedError(401, why, www_authenticate="Bearer")

    async def _deliver(
        self, request: Request, destination: DestinationWorkers, signal: str, as_json: bool, deadline: float
    ) -> Response:
        body = self.reader.open(request)
        self._check_places(destination)  # now, to save reading the body, and again when it is read
        has_place = False
        delivery: asyncio.Future[RelayOutcome] | None = None
        try:
            content = await self.reader.read(body, request, deadline)
            self._check_places(destination)
            destination.waiting += 1
            has_place = True
            received = await self._decode(signal, content, as_json, deadline)
            del content
            if isinstance(received, RefusedError):
                raise RefusedError(received.status, received.why)
            delivery = asyncio.wrap_future(destination.submit(received, deadline))

            def give_back(ended: asyncio.Future[RelayOutcome]) -> None:
                # Called when the delivery ends, which may be long after its client was answered.
                destination.waiting -= 1
                body.close()
                if not ended.cancelled():
                    self._count(destination, received, ended.result())

            delivery.add_done_callback(give_back)
            await asyncio.wait([delivery], timeout=deadline - time.monotonic())
            if not delivery.done():
                raise RefusedError(503, "the destination takes too long", retry_after=format_retry_after())
            return self._answer_outcome(received, delivery.result(), as_json)
        finally:
            if delivery is None:
                destination.waiting -= has_place
                body.close()

    def _check_places(self, destination: DestinationWorkers) -> None:
        """Raise RefusedError if as many requests as allowed wait for *destination*."""
        if destination.waiting >= self.options.waiting:
            raise RefusedError(429, "too many requests are waiting", retry_after=format_retry_after())

    async def _decode(self, signal: str, content: bytes, as_json: bool, deadline: float) -> Received | RefusedError:
        """Return what *content* holds. A large one is decoded in the thread for it, so that others are answered."""
        if len(content) <= QUICK_BYTES:
            return self._decode_here(signal, content, as_json)
        work = partial(self._decode_here, signal, content, as_json)
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.wait_for(loop.run_in_executor(self._decoding, work), deadline - time.monotonic())
        except (TimeoutError, asyncio.TimeoutError):
            why = "too much is waiting to be decoded"
            raise RefusedError(503, why, retry_after=format_retry_after()) from None

    def _decode_here(self, signal: str, content: bytes, as_json: bool) -> Received | RefusedError:
        # Errors are returned: an exception that passes through a future keeps the frames it came from, and with them
        # all that was parsed, until the garbage is collected: 30 MiB each.
        try:
            return self.decoder.decode(signal, content, as_json=as_json)
        except MalformedError as exc:
            return RefusedError(400, str(exc))
        except TooManyError as exc:
            return RefusedError(413, str(exc))

    def _answer_outcome(self, received: Received, outcome: RelayOutcome, as_json: bool) -> Response:
        if outcome.again:
            is_limited = outcome.status == 429
            why = "the destination asks to slow down" if is_limited else "the destination did not take all of it"
            wait = format_retry_after(outcome.retry_after_s)
            raise RefusedError(429 if is_limited else 503, why, retry_after=wait)
        return build_success(received.signal, count_rejected(received, outcome), as_json)

    def _count(self, destination: DestinationWorkers, received: Received, outcome: RelayOutcome) -> None:
        labels = {"destination": destination.name, "signal": received.signal}
        self.metrics.add("received_total", received.count, **labels)
        self.metrics.add("sent_total", outcome.sent, **labels)
        self.metrics.add("known_total", outcome.known, **labels)
        self.metrics.add("again_total", outcome.again, **labels)
        self.metrics.add("skipped_total", outcome.skipped + received.skipped, **labels)
        for reason, n in count_rejected(received, outcome).items():
            self.metrics.add("rejected_total", n, **labels, reason=reason)
        self._log_of(destination.name).update(outcome)

    def _log_of(self, name: str) -> DestinationLog:
        return self._destination_logs.setdefault(name, DestinationLog(name))

    # Everything else.

    async def answer_health(self, _: Request) -> Response:
        """Answer 200 while requests are taken; whether destinations are well is for /metrics to say."""
        return PlainTextResponse("closing\n", 503) if self._closing else PlainTextResponse("ok\n")

    async def answer_metrics(self, request: Request) -> Response:
        """Answer with the relay's own metrics."""
        try:
            self._admit(request)
        except RefusedError as exc:
            return PlainTextResponse(exc.why + "\n", exc.status, headers=exc.headers)
        self.metrics.put("held_bytes", self.reader.budget.held_bytes)
        self.metrics.put("reading_requests", len(self.reader.reading))
        for name, destination in self.destinations.items():
            self.metrics.put("waiting_requests", destination.waiting, destination=name)
            self.metrics.put("window_events", len(destination.window), destination=name)
            self.metrics.put("failing", int(self._log_of(name).failing), destination=name)
        return PlainTextResponse(self.metrics.format(), media_type="text/plain; version=0.0.4")

    async def answer_http_error(self, request: Request, exc: Exception) -> Response:
        """Answer what no route takes: 404 and 405, in the client's encoding."""
        assert isinstance(exc, HTTPException)
        why = self._explain_paths() if exc.status_code == 404 else exc.detail
        if request.method == "POST":  # no other method brings records that could be lost
            self._refusal_log.warn(exc.status_code, why)
        self.metrics.add("requests_total", destination="", signal="", code=str(exc.status_code))
        return build_refusal(exc.status_code, why, media_type_of(request) == JSON, dict(exc.headers or {}))

    def _explain_paths(self) -> str:
        """Return which paths there are, for a client that has chosen another; its own path is not repeated."""
        paths = [
            f"/{name}/v1/{signal}"
            for name, destination in self.destinations.items()
            for signal in destination.exporters
        ]
        return "no such path; there are " + ", ".join(paths)

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Close the destinations when the server has answered what it took."""
        yield
        self._closing = True
        await asyncio.gather(*(asyncio.to_thread(one.close) for one in self.destinations.values()))
        self._decoding.shutdown(cancel_futures=True)


class ForgivingPaths(Starlette):
    """Takes ``//ga4/v1/traces`` and ``/ga4/v1/traces/`` as well: what comes of an address that ends with a slash."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope.get("path", "")
        if "//" in path or path.endswith("/"):
            scope["path"] = "/" + "/".join(filter(None, path.split("/")))
        await super().__call__(scope, receive, send)


def make_app(destinations: Sequence[DestinationWorkers], options: Options | None = None) -> Starlette:
    """Return the ASGI application for *destinations*; it closes them when it is shut down.

    In a module that an ASGI server imports::

        app = make_app([load_destination("ga4", window=500_000, workers=4)], Options(waiting=64))
    """
    relay = Relay(destinations, options or Options())
    app = ForgivingPaths(
        routes=[
            Route("/healthz", relay.answer_health),
            Route("/metrics", relay.answer_metrics),
            Route("/{destination}/v1/{signal}", relay.answer_otlp, methods=["POST"]),
        ],
        exception_handlers={HTTPException: relay.answer_http_error},
        lifespan=relay.lifespan,
    )
    app.router.redirect_slashes = False  # it would redirect to whatever the client's Host header says
    app.state.relay = relay
    return app
