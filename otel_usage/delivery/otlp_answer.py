"""What an answer of an OTLP/HTTP server means for the records that were sent. Pure.

TABLE  The first row that fits decides. "Its own" body is one of the protocol's: protobuf, or the JSON of a ``Status``.

    | answer                                   | the records   | why                                                         |
    | ---------------------------------------- | ------------- | ----------------------------------------------------------- |
    | 2xx, no HTML                             | sent          | but for those that a partial success says were rejected     |
    | 408, 425, 429, 502, 503, 504             | wait          | the protocol's list, and what RFC 9110 says of 408 and 425  |
    | 400, 500, 501, with a body of its own    | dropped       | the protocol forbids to repeat; the receiver has read them  |
    | 409, 413, 414, 415, 422, 431             | dropped       | the same request fails for ever, whatever else is mended    |
    | 400, 500, that say why samples are not   | dropped       | Prometheus and its kin have read them (`REFUSED_SAMPLES`)   |
    | taken; to metrics, no HTML               |               |                                                             |
    | all else: 3xx, 401, 403, 404, 405, 407,  | wait, paused: | a proxy, a portal, a wrong port, path or token: not the     |
    | 400 of a TLS port, 200 with HTML         | settings      | records are refused, and somebody will mend it              |

    Before all of these but the first: a failure in which the receiver says that it takes no delta counters (`DELTA_REFUSED`) is
    about settings, whatever its status and form. The receiver's operator can have it take them, and the program's maintainers can
    send it none: what waits then arrives, or is removed.

What waits is bounded: `MAX_AGE_S` and `MAX_QUEUE_BYTES` of queue.py.
Source: OTLP specification 1.9, "OTLP/HTTP Response", "Failures", "Retryable Response Codes"; read 2026-11-26.
"""

from __future__ import annotations

import json
import re

from .verdict import Verdict

RETRYABLE = frozenset({408, 425, 429, 502, 503, 504})
DROPPED_IF_ITS_OWN = frozenset({400, 500, 501})
# 409: what Thanos Receive answers to samples that are out of order, too old, or there already; no proxy or portal answers it.
DROPPED = frozenset({409, 413, 414, 415, 422, 431})
NO_DELTAS = "delta"  # the reason for: it takes no delta counters
# What Prometheus, and with it Mimir and Grafana Cloud, says of a metric that is no cumulative one: in a 500 since Prometheus
# 3.16 at the latest, in a 400 of Mimir's. storage/remote/otlptranslator/prometheusremotewrite/metrics_to_prw.go of Prometheus
# 3.16.0, read 2026-11-26; grafana/mimir#6696.
DELTA_REFUSED = b"invalid temporality and type combination"
# Why Prometheus and its kin do not take a sample that they have understood, in plain text or in a body of octets. It is
# refused with all that came with it, and for ever: its time does not change. Prometheus answers 400, and 500 to one that is
# too old; Cortex and Mimir 400. VictoriaMetrics answers 200, and drops what is older than it keeps.
# The texts of ErrOutOfOrderSample, ErrTooOldSample, ErrDuplicateSampleForTimestamp and ErrOutOfBounds in Prometheus'
# storage/interface.go, and `otlpWriteHandler` in storage/remote/write_handler.go; Cortex' pkg/util/push/otlp.go; Thanos'
# pkg/receive/handler_otlp.go; Mimir's list of error ids, and grafana/mimir#8185, #12516; VictoriaMetrics#159, #4038. All
# read 2026-11-26.
# "Out of bounds" is theirs only where it begins the text, or follows Cortex' "err: ": whatever crashes says it of an index.
REFUSED_SAMPLES = re.compile(
    rb"out of order sample|too old sample|duplicate sample for timestamp|err-mimir-|(?:^|err: )out of bounds"
)


def judge(signal: str, n: int, status: int, content_type: str, body: bytes, retry_after_s: float | None) -> Verdict:
    """Return what the answer to a request with *n* records of *signal* means. See TABLE."""
    reason = f"http_{status}"
    if 200 <= status < 300 and "html" not in content_type.lower():
        rejected = min(_count_rejected(signal, body), n)
        if not rejected:
            return Verdict(status=status)
        return Verdict(dropped={"rejected": rejected}, status=status, reason=NO_DELTAS if DELTA_REFUSED in body else "")
    if signal == "metrics" and DELTA_REFUSED in body and status not in RETRYABLE:
        return Verdict(unsent=tuple(range(n)), status=status, reason=NO_DELTAS, wrong_settings=True)
    if status in DROPPED_IF_ITS_OWN and signal == "metrics" and _refuses_samples(content_type, body):
        return Verdict(dropped={"rejected": n}, status=status, reason=reason, is_well=True)
    if status in DROPPED or (status in DROPPED_IF_ITS_OWN and _is_its_own(content_type, body)):
        return Verdict(dropped={"rejected": n}, status=status, reason=reason)
    return Verdict(
        unsent=tuple(range(n)),
        retry_after_s=retry_after_s,
        status=status,
        reason=reason,
        wrong_settings=status not in RETRYABLE,
    )


def _is_its_own(content_type: str, body: bytes) -> bool:
    """True if a failure is told in the protocol's own words: then a server of OTLP has read the request."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/x-protobuf":
        return True
    if kind != "application/json":
        return False
    try:
        status = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(status, dict) and isinstance(status.get("code"), int) and status.keys() <= STATUS_KEYS


def _refuses_samples(content_type: str, body: bytes) -> bool:
    """True if *body* says why samples are not taken. HTML is no receiver's word, whatever is out of order there."""
    return "html" not in content_type.lower() and REFUSED_SAMPLES.search(body) is not None


STATUS_KEYS = {"code", "message", "details"}  # google.rpc.Status


def _count_rejected(signal: str, body: bytes) -> int:
    """Return how many items an OTLP success response says were rejected: never to be sent again."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        if signal == "traces":
            return int(ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans)
        return int(ExportMetricsServiceResponse.FromString(body).partial_success.rejected_data_points)
    except DecodeError:
        return 0
