"""The HTTP session that the official OTLP exporter posts with: one attempt, nothing ambient, and the answer stays readable.

The official exporter tries again by itself, sleeps in between, and returns no more than success or failure. The sender tries
again over days, and needs the status, the Retry-After header and the body. Both are arranged here, without any private name
of the exporter's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import requests

from .verdict import parse_retry_after

MAX_ANSWER = 65_536  # bytes of a response's body that are looked at
NOT_RETRIED = 421  # a status that the official exporter takes for a failure, and does not try again after


class Unreachable(Exception):  # noqa: N818  a state, not a fault
    """No answer came. Not one of requests' own classes: after those the exporter tries again, and sleeps in between."""


class CapturedRequest(NamedTuple):
    """A request that was not sent. body: as it would have been posted, compressed or not."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


class OtlpSession(requests.Session):
    """A session that makes one attempt per request, follows no redirect and reads no ``.netrc``.

    A redirect is answered as a failure.
    answer: the last response's status, Retry-After in seconds and body; None if there was none.
    captured: None to send requests; a list to have them put there in place of being sent, and answered with 200.
    """

    def __init__(self) -> None:
        super().__init__()
        self.auth = lambda request: request  # without an auth of its own, requests would look into ~/.netrc
        self.answer: tuple[int, float | None, bytes] | None = None
        self.captured: list[CapturedRequest] | None = None

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Send one request. Raises Unreachable. Any: what requests' own method takes."""
        self.answer = None
        kwargs["allow_redirects"] = False
        if self.captured is not None:
            return self._capture(self.captured, str(method), str(url), *args, **kwargs)
        try:
            response = super().request(method, url, *args, **kwargs)
        except requests.RequestException as exc:
            raise Unreachable(type(exc).__name__) from exc
        wait_s = parse_retry_after(response.headers.get("Retry-After"))
        self.answer = (response.status_code, wait_s, response.content[:MAX_ANSWER])
        if not 200 <= response.status_code < 300:
            # The exporter would repeat a 503 at once, and takes a 3xx for a success. The sender reads `answer` instead.
            response.status_code = NOT_RETRIED
        return response

    def _capture(
        self,
        captured: list[CapturedRequest],
        method: str,
        url: str,
        params: Any = None,
        data: Any = None,
        headers: Any = None,
        **_: Any,
    ) -> requests.Response:
        """Put the request into *captured*, and answer it. Any, and the parameters' names: as requests' own method."""
        prepared = self.prepare_request(requests.Request(method, url, headers=headers, data=data, params=params))
        body = prepared.body or b""
        content = body if isinstance(body, bytes) else body.encode()
        captured.append(CapturedRequest(method, prepared.url or url, prepared.headers, content))
        response = requests.Response()
        response.status_code, self.answer = 200, (200, None, b"")
        return response
