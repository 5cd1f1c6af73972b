"""The routes of the pages, for the server to mount at ``/``. Every answer forbids what the pages do not need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

import duckdb
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from otel_usage.server.answers import RefusedError
from otel_usage.setting_error import SettingError

from ..access import COOKIE, Access, is_from_here
from ..publish.months import PATH as PUBLISHED
from ..publish.months import StoreMonths
from ..questions import FilterError
from ..store.writer import explain_fault
from .app_page import app_page
from .asset_files import asset
from .erasure import ADDRESS as ERASE
from .erasure import count_words, erasure_page
from .live import latest, live_page, stream, welcome_page
from .overview import ask_safely, overview
from .question_page import question_page
from .reading import Readable, Reading
from .session import own_path, sign_in, sign_out
from .sign_in import message_page, sign_in_page
from .view import View, read_view, with_theme

SIGN_IN = "/sign-in"
THEME_COOKIE = "otel_usage_theme"
FORM_BYTES = 16 * 1024
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
Answerer = Callable[[Request], Awaitable[Response]]


def routes(
    store: Readable,
    schemas: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    access: Access | None = None,
    notice: str = "",
    closing: Callable[[], bool] = lambda: False,
) -> list[BaseRoute]:
    """Return the routes of the pages.

    schemas: {app: what it declares}. Any: a schema's rows. access: who may look; without it everybody on this machine.
    notice: what every page says. closing: true once the server is to end, so that live pages let go of it.
    """
    return Pages(store, schemas or {}, access or Access(), notice, closing).routes()


class Pages:
    """Answers requests for pages. Used from the event loop; the store is read in threads."""

    def __init__(
        self,
        store: Readable,
        schemas: Mapping[str, Mapping[str, Any]],
        access: Access,
        notice: str,
        closing: Callable[[], bool],
    ) -> None:
        self.reading = Reading(store)
        self.schemas = schemas
        self.access = access
        self.notice = notice
        self.closing = closing

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        open_to_all: list[tuple[str, Answerer, str]] = [
            ("/assets/{digest}/{name}", self.answer_asset, "GET"),
            (SIGN_IN, self.answer_sign_in, "POST"),
            ("/theme", self.answer_theme, "POST"),
        ]
        pages: list[tuple[str, Answerer, str]] = [
            ("/", self.answer_overview, "GET"),
            ("/questions/{id}.json", self.answer_json, "GET"),
            ("/questions/{id}.csv", self.answer_csv, "GET"),
            ("/questions/{id}", self.answer_question, "GET"),
            (PUBLISHED, self.answer_published, "GET"),
            ("/app", self.answer_app, "GET"),
            ("/live", self.answer_live, "GET"),
            ("/live/events", self.answer_stream, "GET"),
            ("/sign-out", self.answer_sign_out, "POST"),
            (ERASE, self.answer_erase, "POST"),
        ]
        return [
            *(
                Route(path, self._protect(answerer, admit=False), methods=[method])
                for path, answerer, method in open_to_all
            ),
            *(Route(path, self._protect(answerer, admit=True), methods=[method]) for path, answerer, method in pages),
        ]

    def _protect(self, answerer: Answerer, *, admit: bool) -> Answerer:
        """Return *answerer* behind the gate, with the headers that every answer has."""

        async def protected(request: Request) -> Response:
            if request.method == "POST" and not is_from_here(request):
                response: Response = PlainTextResponse("this form was sent from another page\n", 403)
            else:
                try:
                    if admit:
                        self.access.admit_viewer(request)
                    response = await answerer(request)
                except RefusedError as exc:
                    response = self._refuse(request, exc)
                except FilterError as exc:
                    if _wants_page(request):
                        response = _html(message_page(self._bare(request), "That can't be shown", f"{exc}."), 400)
                    else:
                        response = PlainTextResponse(f"{exc}\n", 400)
            for name, text in HEADERS.items():
                response.headers.setdefault(name, text)
            return response

        return protected

    def _refuse(self, request: Request, refusal: RefusedError) -> Response:
        """Return the answer to a request that may not look: to a person, the page that asks for the token."""
        if refusal.status != 401:
            response: Response = PlainTextResponse(f"{refusal.why}\n", refusal.status, refusal.headers)
        elif request.url.path == SIGN_IN or _wants_page(request):
            wrong = request.url.path == SIGN_IN
            page = sign_in_page(self._bare(request), request.state.next if wrong else _address(request), wrong=wrong)
            response = _html(page, 401)
        else:  # not "Basic", by which a browser would ask for a name too, where `fetch` is answered
            response = PlainTextResponse(f"{refusal.why}\n", 401, {"www-authenticate": "Bearer"})
        # Of a token that is none any more: sent on, it would be counted as a wrong one each time.
        return sign_out(response) if COOKIE in request.cookies else response

    # Pages.

    def _bare(self, request: Request) -> View:
        """Return a view of nothing, for a page that has no filters."""
        return with_theme(read_view("/", {}, ()), request.cookies.get(THEME_COOKIE, ""))

    def _look(self, request: Request) -> View:
        """Return what *request* looks at. Reads the store: called in a thread. Raises FilterError."""
        apps = self.reading.apps()
        view = read_view(request.url.path, request.query_params, apps)
        view = with_theme(view, request.cookies.get(THEME_COOKIE, ""))
        app = view.filters.app
        releases = self.reading.releases(app) if app else []
        schema = self.schemas.get(app, {})
        view = replace(view, releases=releases, schema=schema, notice=self.notice)
        return replace(view, locked=bool(self.access.viewers), asks_clients=bool(self.access.clients))

    async def _view(self, request: Request) -> View:
        return await run_in_threadpool(self._look, request)

    async def answer_overview(self, request: Request) -> Response:
        """Answer with the overview, or with what to do first."""
        view = await self._view(request)
        if not view.apps:
            return _html(welcome_page(view, str(request.base_url).rstrip("/")))
        return StreamingResponse(_encoded(overview(self.reading, view)), media_type="text/html")

    async def answer_question(self, request: Request) -> Response:
        """Answer with the page of one question."""
        view = await self._view(request)
        question = view.question(request.path_params["id"])
        if question is None:
            return _html(message_page(self._bare(request), "No such question", "Its address may be mistyped."), 404)
        answer = await run_in_threadpool(ask_safely, self.reading, view, question, compares=view.compares)
        return _html(question_page(question, answer, view), 200 if answer else 500)

    async def answer_json(self, request: Request) -> Response:
        """Answer with one question's answer as JSON."""
        return await self._file(request, "application/json", "json")

    async def answer_csv(self, request: Request) -> Response:
        """Answer with one question's answer as CSV, to be saved."""
        return await self._file(request, "text/csv", "csv")

    async def _file(self, request: Request, media_type: str, kind: str) -> Response:
        view = await self._view(request)
        question = view.question(request.path_params["id"])
        if question is None:
            return PlainTextResponse("there is no such question\n", 404)
        answer = await run_in_threadpool(ask_safely, self.reading, view, question)
        if answer is None:
            return PlainTextResponse("this question could not be answered; the server's log says why\n", 500)
        if kind == "json":
            return Response(answer.as_json(), media_type=media_type)
        name = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in question.id)
        name += f"-{view.filters.start}-{view.filters.end}.csv"
        return Response(
            answer.as_csv(), media_type=media_type, headers={"content-disposition": f'attachment; filename="{name}"'}
        )

    async def answer_published(self, request: Request) -> Response:
        """Answer with what may be published: see `publish.months`. Its numbers can't identify anybody."""
        name, month = request.query_params.get("app"), request.query_params.get("month", "")

        def count() -> dict[str, object]:
            today = datetime.now(timezone.utc).date()
            return StoreMonths(self.reading.execute, self.reading.apps(), name, today).as_object(month)

        try:
            return JSONResponse(await run_in_threadpool(count))
        except SettingError as exc:
            return PlainTextResponse(f"{exc}\n", 400)

    async def answer_app(self, request: Request) -> Response:
        """Answer with the page of one program."""
        view = await self._view(request)
        return _html(await run_in_threadpool(app_page, self.reading, view))

    async def answer_live(self, request: Request) -> Response:
        """Answer with the latest events."""
        view = await self._view(request)
        return _html(live_page(view, await run_in_threadpool(latest, self.reading)))

    async def answer_stream(self, request: Request) -> Response:
        """Answer with events as they arrive, until either side ends it. A lost connection goes on where it ended."""
        after = request.headers.get("last-event-id") or request.query_params.get("after", "")
        after_us = int(after[:20]) if after.isascii() and after.isdigit() else 0
        return StreamingResponse(stream(self.reading, after_us, self.closing), media_type="text/event-stream")

    # What is not a page.

    async def answer_asset(self, request: Request) -> Response:
        """Answer with a file that pages refer to; its address changes with its content."""
        file = asset(request.path_params["name"])
        if file is None or file.address != request.url.path:
            return PlainTextResponse("there is no such file\n", 404)
        headers = {"cache-control": "public, max-age=31536000, immutable", "vary": "accept-encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(file.compressed, 200, {**headers, "content-encoding": "gzip"}, file.media_type)
        return Response(file.content, 200, headers, file.media_type)

    async def answer_sign_in(self, request: Request) -> Response:
        """Let in whoever knows a token."""
        form = await _read_form(request)
        request.state.next = own_path(form.get("next", "/"))
        self.access.admit_token(request, form.get("token", ""))
        return sign_in(request, form.get("token", ""), request.state.next)

    async def answer_sign_out(self, _: Request) -> Response:
        """Forget the browser's session."""
        return sign_out(RedirectResponse("/", 303))

    async def answer_theme(self, request: Request) -> Response:
        """Remember a theme, in the browser."""
        form = await _read_form(request)
        response = RedirectResponse(own_path(form.get("next", "/")), 303)
        theme = form.get("theme", "")
        response.set_cookie(
            THEME_COOKIE, theme if theme in ("light", "dark") else "auto", 31_536_000, samesite="strict"
        )
        return response

    async def answer_erase(self, request: Request) -> Response:
        """Ask once more before an installation is erased; then erase it, and say what was removed."""
        form = await _read_form(request)
        request.scope["query_string"] = urlencode({"app": form.get("app", "")}).encode()
        view = replace(await self._view(request), path="/app")
        store: Any = self.reading.store  # Any: what erasure returns is the store's own
        app, confirmed = form.get("app", ""), form.get("confirmed") == "yes"
        status = 200
        try:
            installation = str(UUID(form.get("installation", "").strip()))
            rows = await run_in_threadpool(store.erase if confirmed else store.count_rows, app, installation)
        except ValueError:
            sentence, status = "That is no id of an installation.", 400
        except duckdb.Error as exc:
            sentence, status = f"Nothing was erased: the store can't write ({explain_fault(exc)}).", 503
        else:
            if rows and not confirmed:
                return _html(erasure_page(view, installation, rows))
            sentence = f"Nothing of installation {installation} is stored for {app}."
            if rows:
                sentence = f"Everything of installation {installation} was erased: {count_words(rows)}."
                self.reading.forget()
                view = replace(await self._view(request), path="/app")
        return _html(await run_in_threadpool(app_page, self.reading, view, sentence), status)


def _wants_page(request: Request) -> bool:
    """True if a person looks at the answer to *request*, and no program."""
    return request.method == "GET" and not request.url.path.endswith((".json", ".csv", "/events"))


def _address(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


async def _read_form(request: Request) -> dict[str, str]:
    """Return the fields of a small form; of one that is too large, none."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES:
            return {}
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _html(page: str, status: int = 200) -> Response:
    return Response(page.encode("utf-8", "replace"), status, media_type="text/html")


def _encoded(pieces: Iterable[str]) -> Iterable[bytes]:
    for piece in pieces:
        yield piece.encode("utf-8", "replace")
