"""What OTLP/HTTP clients hear: success, partial success or refusal, in the encoding of their request.

FORMAT  OTLP specification 1.11, "OTLP/HTTP". 429, 502, 503 and 504 have the client try again, all other 4xx and 5xx
        have it give the request up. The body of a failure is a google.rpc.Status. A request of which some records are
        rejected is a success whose body counts them: a partial success.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # generated, without types
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.requests import HTTPConnection
from starlette.responses import Response

JSON = "application/json"
PROTOBUF = "application/x-protobuf"
RETRY_AFTER_S = 1.0  # where the destination has not said how long to wait
MIN_RETRY_AFTER_S = 1.0
MAX_RETRY_AFTER_S = 3_600.0

# {HTTP status: google.rpc.Code} of what we answer. Source: google/rpc/code.proto.
RPC_CODES = {400: 3, 401: 16, 404: 5, 405: 12, 408: 4, 413: 3, 415: 3, 429: 8, 500: 13, 501: 12, 503: 14}
RPC_UNKNOWN = 2


class RefusedError(Exception):
    """A request is answered with *status*; *why* is for the operator of the client, and repeats nothing it has sent.

    headers: of the answer, with ``_`` for ``-``.
    """

    def __init__(self, status: int, why: str, **headers: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def media_type_of(request: HTTPConnection) -> str:
    """Return the Content-Type of *request* without its parameters, in lower case."""
    return str(request.headers.get("content-type", "")).partition(";")[0].strip().lower()


def format_retry_after(wait_s: float | None = None) -> str:
    """Return the value of Retry-After. wait_s: what the destination asked for, None if it did not."""
    wait_s = RETRY_AFTER_S if wait_s is None else wait_s
    return str(math.ceil(min(max(wait_s, MIN_RETRY_AFTER_S), MAX_RETRY_AFTER_S)))


def build_refusal(status: int, why: str, as_json: bool, headers: Mapping[str, str]) -> Response:
    """Return a failure as OTLP wants it."""
    code = RPC_CODES.get(status, RPC_UNKNOWN)
    if as_json:
        return Response(json.dumps({"code": code, "message": why}), status, headers, JSON)
    return Response(Status(code=code, message=why).SerializeToString(), status, headers, PROTOBUF)


def build_success(signal: str, n_rejected: int, why: str, as_json: bool) -> Response:
    """Return a 200, which says how many records were rejected, and why, if any were."""
    if as_json:
        key = "rejectedSpans" if signal == "traces" else "rejectedDataPoints"
        body = {"partialSuccess": {key: str(n_rejected), "errorMessage": why}} if n_rejected else {}
        return Response(json.dumps(body), 200, media_type=JSON)
    if not n_rejected:
        return Response(b"", 200, media_type=PROTOBUF)
    message: Any  # Any: generated
    if signal == "traces":
        message = ExportTraceServiceResponse()
        message.partial_success.rejected_spans = n_rejected
    else:
        message = ExportMetricsServiceResponse()
        message.partial_success.rejected_data_points = n_rejected
    message.partial_success.error_message = why
    return Response(message.SerializeToString(), 200, media_type=PROTOBUF)
