"""Turn the body of an OTLP/HTTP request into what is to be delivered, by the half for its encoding.

What may pass is said by the tables in `otel_usage.schema`; both halves ask them about every record, again, whatever
the client has asked them already.
"""

from __future__ import annotations

from .decode_json import JsonDecoder
from .decode_protobuf import ProtobufDecoder
from .received import ItemLimit, Received, Schemas


class Decoder:
    """Decodes requests. Concurrency: safe in threads.

    schemas: ``{app: schema}``; an app without is checked by the structural rules alone.
    items: the most spans or data points of one request.
    """

    def __init__(self, schemas: Schemas, *, items: int) -> None:
        limit = ItemLimit(items)
        self.protobuf = ProtobufDecoder(schemas, limit)
        self.json = JsonDecoder(schemas, limit)

    def decode(self, signal: str, body: bytes, *, as_json: bool) -> Received:
        """Return what *body* holds. signal: ``traces`` or ``metrics``. Raises MalformedError or TooManyError."""
        half = self.json if as_json else self.protobuf
        return half.decode_spans(body) if signal == "traces" else half.decode_metrics(body)
