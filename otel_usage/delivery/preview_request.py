"""A request that a destination would get, for people and for machines to look at before it is sent."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..otlp import json_from_protobuf
from ..settings.remembered import SECRET
from .json_layout import lay_out_json, lay_out_parts

WIDTH = 100  # of a terminal that is not known
GRPC = "gRPC"  # in place of an HTTP method
NO_METHOD = ""  # for an exporter of somebody else's: how it sends the records is not known


@dataclass(frozen=True)
class PreviewedRequest:
    """One request, as a destination would get it but for keys.

    destination: "" if none is set: then the body is what an OTLP backend would get.
    method: ``POST``, `GRPC` or `NO_METHOD`; for the latter the body is what the exporter gets, as OTLP JSON.
    body: before compression. records: how many spans, data points or events it is about.
    """

    destination: str
    signal: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    records: int

    @property
    def protobuf(self) -> bool:
        """True if the body is OTLP in binary form."""
        return self.method == GRPC or "application/x-protobuf" in self.headers.values()

    def content(self) -> Any:
        """Return what the body says. Any: JSON."""
        return json_from_protobuf(self.signal, self.body) if self.protobuf else json.loads(self.body)

    def json(self) -> dict[str, Any]:
        """Return all of it for machines. body: as JSON; base64: the very bytes, before compression. Any: JSON."""
        return {
            "destination": self.destination,
            "signal": self.signal,
            "method": self.method,
            "url": self.url,
            "headers": dict(self.headers),
            "records": self.records,
            "body": self.content(),
            "base64": base64.b64encode(self.body).decode(),
        }

    def text(self, width: int = WIDTH) -> tuple[str, str, str]:
        """Return what people read: a line that says what it is, its headers, its body."""
        n = f"{self.records:,} record{'' if self.records == 1 else 's'}"
        body = lay_out_json(self.content(), width)
        if not self.destination:
            return f"{n}, for nobody (OTLP, as JSON)", "", body
        if self.method == NO_METHOD:
            return f"{self.destination}, {n}: given to its exporter", "", body
        form = " (OTLP, here as JSON)" if self.protobuf else ""
        headers = lay_out_parts((f"{name}: {value}" for name, value in self.headers.items()), width)
        return f"{self.destination}, {n}{form}: {self.method} {self.url}", headers, body


@dataclass
class Preview:
    """All that the next sending would send. problems: ``{destination: why it gets nothing}``.

    example: the requests are made of records that will stay here: they are what others would look like.
    """

    requests: list[PreviewedRequest] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    example: bool = False

    @property
    def for_nobody(self) -> bool:
        """True if no destination is set: the requests are what one would get."""
        return any(not request.destination for request in self.requests)

    @property
    def incomplete(self) -> bool:
        """True if the rest of some address is not known here."""
        return any(SECRET in request.url for request in self.requests)

    def json(self) -> dict[str, Any]:
        """Return it for machines. Any: JSON."""
        return {
            "example": self.example,
            "incomplete": self.incomplete,
            "problems": self.problems,
            "requests": [request.json() for request in self.requests],
        }
