"""The HTTP session that the official OTLP exporter posts with: one attempt, nothing ambient, and the answer stays readable.

The official exporter tries again by itself, sleeps in between, reads an answer of any length for any time, and returns no more
than success or failure. The sender tries again over days, and needs the status, the Retry-After header and a bounded body.
Both are arranged here, without any private name of the exporter's. What is on the connection is the affair of
``otel_usage_exporters.post``, which posts for all of this project's exporters: one deadline, 64 KiB, one word for a failure.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping
from typing import Any, NamedTuple

import requests
from otel_usage_exporters.post import Answer, Post
from requests.structures import CaseInsensitiveDict

NOT_RETRIED = 421  # a status that the official exporter takes for a failure, and does not try again after
NOT_COMPRESSED = 415  # the answer of a receiver that takes no gzip; RFC 9110, 15.5.16
GZIP_LEVEL = 1  # 5 on such text is a tenth smaller and takes three times as long


class UnreachableError(Exception):
    """No answer came. Not one of requests' own classes: after those the exporter tries again, and sleeps in between."""


class CapturedRequest(NamedTuple):
    """A request that was not sent. body: as it would have been posted, compressed or not."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


class OtlpSession(requests.Session):
    """A session that makes one attempt per request, follows no redirect and reads no ``.netrc``.

    A redirect is answered as a failure. compress: post gzip, and plain text from the first answer on that refuses it.
    answer: what became of the last request; None if there was none.
    captured: None to send requests; a list to have them put there in place of being sent, and answered with 200.
    """

    def __init__(self, *, compress: bool = True) -> None:
        super().__init__()
        self.auth = lambda request: request  # without an auth of its own, requests would look into ~/.netrc
        self.headers.clear()  # requests names itself, and offers to take compressed answers
        self.compress = compress
        self.answer: Answer | None = None
        self.captured: list[CapturedRequest] | None = None
        self._post = Post()

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Send one request. Raises UnreachableError. Any: what requests' own method takes."""
        self.answer = None
        self.answer = self._exchange(str(method), str(url), *args, **kwargs)
        args, kwargs = (), {}  # an error brings the variables of its frames along, and tools show them
        if self.answer.status is None:
            raise UnreachableError(self.answer.fault)
        response = requests.Response()
        response.raw = io.BytesIO(self.answer.body)
        # The exporter would repeat a 503 at once, and takes a 3xx for a success. The sender reads `answer` instead.
        response.status_code = self.answer.status if 200 <= self.answer.status < 300 else NOT_RETRIED
        return response

    def _exchange(
        self,
        method: str,
        url: str,
        params: Any = None,
        data: Any = None,
        headers: Any = None,
        timeout: float = 10.0,
        verify: bool | str | None = None,
        cert: Any = None,
        **_: Any,
    ) -> Answer:
        """Post, or capture, one request; return what became of it. Any, and the parameters' names: as requests' own method.

        Headers may be keys: requests, which tools wrap, prepares the address alone.
        """
        plain = data.encode() if isinstance(data, str) else bytes(data or b"")
        address = requests.Request(method, url, params=params).prepare().url or url
        merged = CaseInsensitiveDict({**self.headers, "Accept-Encoding": "identity"})
        merged.update(headers or {})
        lines = {name: value if isinstance(value, str) else value.decode("latin-1") for name, value in merged.items()}
        compressed = self.compress and "Content-Encoding" not in merged
        for content in [gzip.compress(plain, GZIP_LEVEL, mtime=0), plain] if compressed else [plain]:
            more = {"Content-Encoding": "gzip"} if content is not plain else {}
            if self.captured is not None:
                self.captured.append(CapturedRequest(method, address, {**lines, **more}, content))
                answer = Answer(200, sent=True)
            else:
                # What the host says in code, or by a variable of the exporter's, beats what is ambient.
                trusted = verify if isinstance(verify, str) else self.verify if isinstance(self.verify, str) else ""
                answer = self._post(
                    address,
                    {**lines, **more},
                    content,
                    timeout_s=timeout,
                    trusted=trusted,
                    certificate=cert or self.cert,
                )
            if not (more and answer.status == NOT_COMPRESSED):
                break
            self.compress = False
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._post.close()
        super().close()
