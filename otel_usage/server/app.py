"""The ASGI application: OTLP/HTTP in, a path for each destination and one for all, an answer that tells clients what to do next.

ALGORITHM of a request
  1. Admit it: its token, then its path and its headers. Nothing of the body has been read so far.
  2. Read the body within limits (body_reader.py), on the event loop.
  3. Take a place at each destination (fan_out.py). Not before: a client that sends slowly would keep others out.
  4. Decompress and decode the body: on the event loop, or in a thread, one body at a time, if it is large.
  5. Have the destinations' workers deliver it, and wait until it is delivered or the deadline comes.
So no destination and no large request keeps others from being answered.

RACES
  1. The deadline comes during step 5: the client hears 503, and the delivery goes on. It keeps its place and its share
     of the budget until it ends, and the destination's window then knows what the client need not send again.
  2. The client goes away, or the server stops at once: up to step 4 everything is given back at the end of
     `_deliver`; from step 5 on by the delivery itself, as above.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from otel_usage.otlp import MalformedError
from otel_usage.receiver.content import MAX_RATIO, ContentError, ContentTooLargeError

from .answers import JSON, RefusedError, build_refusal, build_success, format_retry_after, media_type_of
from .bearer import is_one_of, read_bearer
from .body import Body, NoRoomError
from .body_reader import BodyReader, explain_no_room
from .decode import Decoder
from .fan_out import EVERYWHERE, Deliverer, FanOut, Rejected
from .operator_log import DestinationLog, HandshakeFailure, HandshakeLog, RefusalLog
from .options import Options
from .outcome import RelayOutcome, count_rejected
from .prometheus import RelayMetrics
from .received import Received, TooManyError
from .workers import DestinationWorkers

log = logging.getLogger("otel_usage.relay")

HEALTH = "/healthz"  # the one path that asks for no token
QUICK_BYTES = 16 * 1024  # decoded in less time than it takes to wake a thread, or a little more
INFLATE_BYTES = 4  # a byte of a compressed body is counted as so many
Result = TypeVar("Result")


class Relay:
    """What the requests share, and the answers to them. Used from the event loop only.

    decoder, metrics: those of a relay if None.
    """

    def __init__(
        self,
        destinations: Sequence[Deliverer],
        options: Options,
        *,
        decoder: Decoder | None = None,
        metrics: RelayMetrics | None = None,
    ) -> None:
        self.destinations = {destination.name: destination for destination in destinations}
        self.options = options
        self.metrics = metrics or RelayMetrics()
        self.reader = BodyReader(options)
        self.decoder = decoder or Decoder(options.schemas, items=options.items)
        # One: decoding is all Python, and what a hostile body expands to is in memory once, not once for each.
        self._decoding = ThreadPoolExecutor(1, thread_name_prefix="relay-decode")
        self._refusal_log = RefusalLog()
        self._handshake_log = HandshakeLog()
        self._destination_logs: dict[str, DestinationLog] = {}
        self._closing = False

    # OTLP.

    def admit(self, request: HTTPConnection) -> None:
        """Raise RefusedError unless *request* bears a token that lets it in."""
        token = read_bearer(request)
        if self.options.tokens and not is_one_of(token, self.options.tokens):
            why = "its bearer token is none of this relay's" if token else "no bearer token came with it"
            raise RefusedError(401, why, www_authenticate="Bearer")
        request.state.admitted = True  # the connection may stay when others have to make room

    def refuse(
        self, request: HTTPConnection, refusal: RefusedError, *, destination: str = "", signal: str = ""
    ) -> Response:
        """Answer *request* with *refusal*, counted and logged. destination, signal: as labels, "" if there are none."""
        if request.scope["method"] == "POST":  # no other method brings records that could be lost
            self._refusal_log.warn(refusal.status, refusal.why)
        self.metrics.add("requests_total", destination=destination, signal=signal, code=str(refusal.status))
        headers = {**refusal.headers, "connection": "close"} if "expect" in request.headers else refusal.headers
        return build_refusal(refusal.status, refusal.why, media_type_of(request) == JSON, headers)

    def find_otlp(self, path: str) -> tuple[str | None, str] | None:
        """Return which destination, None for all, and which signal is meant by *path*; None if it is none of OTLP's."""
        words = path.split("/")
        if len(words) == 3 and words[1] == "v1":
            return None, words[2]
        return (words[1], words[3]) if len(words) == 4 and words[2] == "v1" else None

    async def answer_otlp(self, request: Request, name: str | None, signal: str) -> Response:
        """Answer one OTLP request to the destination *name*, or to all: see `find_otlp`."""
        began = time.monotonic()
        if request.method != "POST":
            return self.refuse(request, RefusedError(405, "Method Not Allowed", allow="POST"))
        named = [one for one in self.destinations.values() if name in (None, one.name)]
        destinations = [one for one in named if signal in one.exporters]
        if not destinations:
            return self.refuse(request, RefusedError(404, self._explain_paths()))
        label = name or EVERYWHERE
        # Each error is answered where it is caught. Held in a variable it would hold its own frames, and with them all that
        # was received, until the garbage is collected.
        refuse = partial(self.refuse, request, destination=label, signal=signal)
        as_json = media_type_of(request) == JSON
        try:
            fan_out = FanOut(destinations, waiting=self.options.waiting, to_all=name is None)
            decode = partial(self.decoding_of(request), signal, as_json=as_json)
            rejected = await self._deliver(request, fan_out, decode, began + self.options.deadline_s)
            self.metrics.add("requests_total", destination=label, signal=signal, code="200")
            answer = build_success(signal, rejected.n, rejected.why, as_json)
        except RefusedError as exc:
            answer = refuse(exc)
        except ClientDisconnect:
            answer = refuse(RefusedError(408, "the client went away"))
        except asyncio.CancelledError:  # the relay is to stop at once, or the body came slowly and room is needed
            answer = refuse(RefusedError(503, "interrupted", retry_after=format_retry_after(), connection="close"))
        except Exception as exc:  # a fault of ours; its text may hold what was sent, so only its class is logged
            log.error("%s: a request failed with %s", label, type(exc).__name__)
            if self._closing or isinstance(exc, MemoryError):
                answer = refuse(RefusedError(503, "the relay failed", retry_after=format_retry_after()))
            else:  # it would come back with the request, and block the client's queue for good
                answer = refuse(RefusedError(500, "the relay failed"))
        self.metrics.observe(time.monotonic() - began, destination=label)
        return answer

    async def _deliver(
        self, request: Request, fan_out: FanOut, decode: Callable[[bytes], Received], deadline: float
    ) -> Rejected:
        """Deliver *request*, and return what was rejected of it. Raises RefusedError."""
        body = self.reader.open(request)
        fan_out.check_places()  # now, to save reading the body, and again when it is read
        submitted = False
        try:
            await self.reader.read(body, request, deadline)
            fan_out.take_places()
            received = await self._decode(decode, body, deadline)
            submitted = True
            fan_out.submit(received, deadline, partial(self._count, received), body.close)
            return await fan_out.wait(received, deadline - time.monotonic())
        finally:
            if not submitted:
                fan_out.release()
                body.close()

    def decoding_of(self, request: Request) -> Callable[..., Received]:  # noqa: ARG002
        """Return what decodes *request*, as `Decoder.decode` does: here, all of it."""
        return self.decoder.decode

    async def _decode(self, decode: Callable[[bytes], Received], body: Body, deadline: float) -> Received:
        """Return what *body* holds. A large one is decoded in the thread for it, so that others are answered.

        Raises RefusedError.
        """
        size_bytes = len(body) * INFLATE_BYTES if body.encoding else 0
        content = await self._work(size_bytes, deadline, body.decode)
        if body.encoding and not content:
            raise RefusedError(400, "the body is empty once decompressed")
        work = partial(decode, content)
        size_bytes = len(content)
        del content
        return await self._work(size_bytes, deadline, work)

    async def _work(self, size_bytes: int, deadline: float, work: Callable[[], Result]) -> Result:
        """Return what *work* does: here, if it is about few bytes, else in the thread. Raises RefusedError."""
        if size_bytes <= QUICK_BYTES:
            result = _catch(work)
        else:
            loop = asyncio.get_running_loop()
            try:
                working = loop.run_in_executor(self._decoding, _catch, work)
                result = await asyncio.wait_for(working, deadline - time.monotonic())
            except (TimeoutError, asyncio.TimeoutError):
                why = "too much is waiting to be decoded"
                raise RefusedError(503, why, retry_after=format_retry_after()) from None
        if isinstance(result, RefusedError):
            # Another one: raised, it would hold this frame, which holds it, and what was to be decoded.
            raise RefusedError(result.status, result.why, **result.headers)
        return result

    def _count(self, received: Received, destination: Deliverer, outcome: RelayOutcome) -> None:
        labels = {"destination": destination.name, "signal": received.signal}
        self.metrics.add("received_total", received.count, **labels)
        self.metrics.add("sent_total", outcome.sent, **labels)
        self.metrics.add("known_total", outcome.known, **labels)
        self.metrics.add("again_total", outcome.again, **labels)
        self.metrics.add("skipped_total", outcome.skipped + received.skipped, **labels)
        for reason, n in count_rejected(received, outcome).items():
            self.metrics.add("rejected_total", n, **labels, reason=reason)
        if outcome.again > outcome.busy or outcome.failed:
            self.metrics.add("failures_total", 1, **labels, reason=outcome.reason or "unknown")
        self._log_of(destination.name).update(outcome)

    def count_handshake(self, failure: HandshakeFailure) -> None:
        """Count and log a TLS handshake that failed."""
        self.metrics.add("handshake_failures_total", reason=failure.value)
        self._handshake_log.warn(failure)

    def _log_of(self, name: str) -> DestinationLog:
        return self._destination_logs.setdefault(name, DestinationLog(name))

    # Everything else.

    async def answer_health(self, _: Request) -> Response:
        """Answer 200 while requests are taken; whether destinations are well is for /metrics to say."""
        return PlainTextResponse("closing\n", 503) if self._closing else PlainTextResponse("ok\n")

    async def answer_metrics(self, _: Request) -> Response:
        """Answer with the relay's own metrics."""
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
        headers = {name.replace("-", "_"): value for name, value in (exc.headers or {}).items()}
        return self.refuse(request, RefusedError(exc.status_code, why, **headers))

    def _explain_paths(self) -> str:
        """Return which paths there are, for a client that has chosen another; its own path is not repeated."""
        signals = dict.fromkeys(signal for one in self.destinations.values() for signal in one.exporters)
        paths = [f"/v1/{signal}" for signal in signals]
        paths += [f"/{name}/v1/{signal}" for name, one in self.destinations.items() for signal in one.exporters]
        return "no such path; there are " + ", ".join(paths)

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Close the destinations when the server has answered what it took."""
        yield
        self._closing = True
        await asyncio.gather(*(asyncio.to_thread(one.close) for one in self.destinations.values()))
        self._decoding.shutdown(cancel_futures=True)


def _catch(work: Callable[[], Result]) -> Result | RefusedError:
    """Return what *work* does, or why the client is refused."""
    # Errors are returned: an exception that passes through a future keeps the frames it came from, and with them all
    # that was parsed, until the garbage is collected: 30 MiB each.
    try:
        return work()
    except (ContentError, MalformedError) as exc:
        return RefusedError(400, str(exc))
    except TooManyError as exc:
        return RefusedError(413, str(exc))
    except ContentTooLargeError as exc:
        if not exc.limit_bytes:
            return RefusedError(413, f"a body that decompresses to more than {MAX_RATIO} times its size")
        limit = f"{exc.limit_bytes} bytes once decompressed"
        return RefusedError(413, f"a body of more than {limit}: send less, or raise --decoded-mib")
    except NoRoomError:
        return explain_no_room()


class Door(Starlette):
    """What every request meets first: the token, before anything tells a stranger what there is behind it. Then OTLP's are
    answered; all others go on to the routes.

    Takes ``//ga4/v1/traces`` and ``/ga4/v1/traces/`` as well: what comes of an address that ends with a slash.
    """

    relay: Relay

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            path = scope["path"]
            if "//" in path or path.endswith("/"):
                path = scope["path"] = "/" + "/".join(filter(None, path.split("/")))
            if path != HEALTH:
                request = Request(scope, receive, send)
                try:
                    self.relay.admit(request)
                except RefusedError as exc:
                    await self.relay.refuse(request, exc)(scope, receive, send)
                    return
                # Most requests by far, which Starlette's layers and routes would make a tenth dearer.
                if otlp := self.relay.find_otlp(path):
                    answer = await self.relay.answer_otlp(request, *otlp)
                    await answer(scope, receive, send)
                    return
        await super().__call__(scope, receive, send)


def make_app(destinations: Sequence[DestinationWorkers], options: Options | None = None) -> Starlette:
    """Return the ASGI application for *destinations*; it closes them when it is shut down.

    In a module that an ASGI server imports::

        app = make_app([load_destination("ga4", window=500_000, workers=4)], Options(waiting=64))
    """
    return build_door(Relay(destinations, options or Options()), [])


def build_door(relay: Relay, more_routes: Sequence[BaseRoute]) -> Door:
    """Return the application of *relay*, with *more_routes* behind those that every server of ours has."""
    app = Door(
        routes=[
            Route(HEALTH, relay.answer_health),
            Route("/metrics", relay.answer_metrics),
            *more_routes,
        ],
        exception_handlers={HTTPException: relay.answer_http_error},
        lifespan=relay.lifespan,
    )
    app.router.redirect_slashes = False  # it would redirect to whatever the client's Host header says
    app.relay = app.state.relay = relay
    return app
