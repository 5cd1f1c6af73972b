"""The ASGI application of ``otel-usage serve``: the relay's, with the store as its destination, and pages beside it.

Every request meets the door first (`server.app.Door`). What stands at ``/v1/…`` is for clients and their tokens, all else for
viewers and theirs: see access.py. The pages ask for theirs themselves, as people sign in there.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NoReturn

import duckdb
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from otel_usage.server.answers import RefusedError
from otel_usage.server.app import Door, Relay, build_door
from otel_usage.server.options import Options
from otel_usage.server.prometheus import RelayMetrics
from otel_usage.server.received import Received

from .access import Access
from .conversion import RowDecoder, RowMaker
from .counters import UsageCounters
from .destination import StoreDestination
from .forwarding import Forwarding
from .store.store import Store
from .store.writer import explain_fault
from .upkeep import Upkeep

log = logging.getLogger("otel_usage.serve")

INGEST = "/v1/"
METRICS = "/metrics"
API = "/api/"
HELP = {
    "queued_rows": "rows that wait to be committed",
    "store_failing": "1 if the last commit failed: nothing is taken until that is mended",
    "store_bytes": "size of the store's file",
    "outbox_records": "records that wait to be passed on to a vendor",
}
MAX_COMMAND_BYTES = 4_096  # of the body of a request to erase
PREFIX = "otel_usage_serve_"


class Serve(Relay):
    """What the requests share, and the answers to them. Used from the event loop only.

    forwarding: passes on to vendors; None if there are none. upkeep: closed with the server.
    """

    def __init__(
        self,
        store: Store,
        options: Options,
        access: Access,
        *,
        forwarding: Forwarding | None = None,
        upkeep: Upkeep | None = None,
    ) -> None:
        maker = RowMaker(passing_on=forwarding is not None)
        self._rows = RowDecoder(options.schemas, items=options.items, maker=maker)
        super().__init__([StoreDestination(store)], options, decoder=self._rows, metrics=RelayMetrics(PREFIX, HELP))
        self.store = store
        self.counters = UsageCounters()
        self._access = access
        self._forwarding = forwarding
        self._upkeep = upkeep
        store.listeners.append(self.counters.count)

    def admit(self, request: HTTPConnection) -> None:
        """Raise RefusedError unless *request* may come in: see access.py."""
        path = request.scope["path"]
        if path.startswith(INGEST):
            request.state.apps = self._access.admit_client(request)
        elif path == METRICS or path.startswith(API):
            self._access.admit_command(request)
        else:
            self._access.admit_stranger(request)
        request.state.admitted = True  # the connection may stay when others have to make room

    def refuse(
        self, request: HTTPConnection, refusal: RefusedError, *, destination: str = "", signal: str = ""
    ) -> Response:
        """Answer *request* with *refusal*: as OTLP wants it, or as text for people.

        Counted and logged is what may have brought records: a wrong path too, but no page that is not there.
        """
        path = request.scope["path"]
        if path.startswith(INGEST) or (request.scope["method"] == "POST" and not path.startswith(API)):
            answer = super().refuse(request, refusal, destination=destination, signal=signal)
            if path.startswith(INGEST):
                return answer
        headers = {**refusal.headers, "cache-control": "no-store"}
        return PlainTextResponse(f"{refusal.why}\n", refusal.status, headers)

    def decoding_of(self, request: Request) -> Callable[..., Received]:
        """Return what decodes *request*: what its token is for is stored."""
        return partial(self._rows.decode, apps=request.state.apps)

    def find_otlp(self, path: str) -> tuple[str | None, str] | None:
        """Return which signal is meant by *path*: no path names the store."""
        otlp = super().find_otlp(path)
        return otlp if path.startswith(INGEST) else None

    def _explain_paths(self) -> str:
        return "no such path; OTLP comes to /v1/traces and /v1/metrics"

    async def answer_metrics(self, request: Request) -> Response:
        """Answer with the server's own metrics, and with usage as cumulative counters."""
        writer = self.store.writer
        self.metrics.put("queued_rows", writer.queued)
        self.metrics.put("store_failing", int(bool(writer.failing)))
        self.metrics.put("store_bytes", self.store.size_bytes())
        states = await asyncio.to_thread(self._forwarding.states) if self._forwarding else {}
        for name, state in states.items():
            self.metrics.put("outbox_records", state.waiting, destination=name)
            self.metrics.put("failing", int(state.paused), destination=name)
        answer = await super().answer_metrics(request)
        return PlainTextResponse(bytes(answer.body).decode() + self.counters.format(), media_type=answer.media_type)

    async def answer_erase(self, request: Request) -> Response:
        """Erase an installation: ``{"app": …, "installation": …}``, answered with how many rows of which tables went."""
        command = await _read_command(request)
        app, installation = command.get("app"), command.get("installation")
        if not (isinstance(app, str) and app and isinstance(installation, str)):
            raise_bad('the body is not {"app": "…", "installation": "…"}')
        try:
            removed = await asyncio.to_thread(self.store.erase, app, installation)
        except ValueError:
            raise_bad("the installation is no UUID")
        except duckdb.Error as exc:
            return JSONResponse({"error": f"the store can't write: {explain_fault(exc)}"}, 503)
        return JSONResponse({"removed": removed})

    async def answer_backup(self, request: Request) -> Response:
        """Write a copy of the store beside it: ``<store>.backup``; answered with its path."""
        await _read_command(request)
        try:
            path = await asyncio.to_thread(self.store.back_up)
        except (OSError, duckdb.Error) as exc:
            return JSONResponse({"error": f"no backup: {explain_fault(exc)}"}, 503)
        return JSONResponse({"path": path})

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Close everything when the server has answered what it took."""
        async with super().lifespan(app):
            yield
        await asyncio.to_thread(self.close_parts)

    def close_parts(self) -> None:
        """Close what works beside the server. The store is its opener's to close."""
        for part in (self._upkeep, self._forwarding):
            if part is not None:
                part.close()


def raise_bad(why: str) -> NoReturn:
    """Refuse a request whose body is none of ours."""
    raise HTTPException(400, why)


async def _read_command(request: Request) -> Mapping[str, Any]:
    """Return the JSON object in the body of *request*. Any: JSON. Raises HTTPException."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_COMMAND_BYTES:
            raise HTTPException(413, f"a body of more than {MAX_COMMAND_BYTES} bytes")
    try:
        command = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise_bad("the body is no JSON")
    if not isinstance(command, dict):
        raise_bad("the body is no JSON object")
    return command


def build_app(serve: Serve, pages: Sequence[BaseRoute] = ()) -> Door:
    """Return the application of *serve*, with *pages* at ``/``; it closes the store when it is shut down."""
    routes = [
        Route(API + "erase", serve.answer_erase, methods=["POST"]),
        Route(API + "backup", serve.answer_backup, methods=["POST"]),
        *pages,
    ]
    return build_door(serve, routes)
