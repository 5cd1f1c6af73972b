"""What became of a delivery by OTLP over gRPC: the official exporter returns no more than a failure, but logs its code."""

from __future__ import annotations

import logging

LOGGER = "opentelemetry.exporter.otlp.proto.grpc"
# gRPC's own mapping to HTTP, so that a reason means the same whatever the protocol; google/rpc/code.proto, read 2026-11-26.
REASONS = {
    "UNAVAILABLE": "connection",
    "DEADLINE_EXCEEDED": "timeout",
    "UNAUTHENTICATED": "http_401",
    "PERMISSION_DENIED": "http_403",
    "NOT_FOUND": "http_404",
    "UNIMPLEMENTED": "http_404",
    "RESOURCE_EXHAUSTED": "http_429",
    "INVALID_ARGUMENT": "http_400",
}


class GrpcStatus(logging.Handler):
    """Listens to the exporter's log. reason: a word for the last failure, as `Verdict.reason`; "" if there was none."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)  # what it tries again after, it only warns of
        self.reason = ""

    @classmethod
    def listen(cls) -> GrpcStatus:
        """Return a new one that hears what the exporters log, and lets nobody else hear it."""
        handler, logger = cls(), logging.getLogger(LOGGER)
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(logging.WARNING)
        return handler

    def emit(self, record: logging.LogRecord) -> None:
        """Note the code among the arguments of one line. Its text, which may hold an address, is passed over."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        for argument in arguments:
            name = getattr(argument, "name", "")
            if isinstance(name, str) and type(argument).__name__ == "StatusCode":
                self.reason = REASONS.get(name, "lost")
