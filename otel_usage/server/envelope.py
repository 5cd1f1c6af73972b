"""Take an OTLP protobuf request apart into its records, each still as bytes, before anything is built of them.

A Collector puts the records of many programs into one request, and passes on text that is not UTF-8. Protobuf refuses
the whole of a message for it, so each record is parsed by itself: one that can't be takes no other with it.

It also bounds what a request becomes. Two bytes make a message of any kind, and in memory a message takes a hundred
times as much. So records are counted while they are bytes, and a record that is larger than any of ours is not parsed.

FORMAT  The envelope of a request, alike for both signals on the wire down to records: groups of one resource each, in them
        groups of one scope each, in them records. The messages here have the same field numbers as OTLP's own, but what
        is inside a record, and all text, is bytes, which nothing is wrong with.
        Source: opentelemetry-proto, trace/v1/trace.proto and metrics/v1/metrics.proto.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from otel_usage.otlp import MalformedError

from .received import ItemLimit

MAX_RECORD_BYTES = 64 * 1024  # of a span, a data point or a resource: the largest of ours have a sixth of it
METRIC_KINDS = ("gauge", "sum", "histogram", "exponential_histogram", "summary")

# {message: [(field, number, type; "*" for a repeated one)]}
_MESSAGES = {
    "Request": [("groups", 1, "bytes*")],
    "Group": [("resource", 1, "bytes"), ("scopes", 2, "bytes*")],
    "Scope": [("records", 2, "bytes*")],
    "Metric": [
        ("name", 1, "bytes"),
        ("unit", 3, "bytes"),
        *((kind, number, "bytes") for kind, number in zip(METRIC_KINDS, (5, 7, 9, 10, 11), strict=True)),
    ],
    "Points": [("points", 1, "bytes*"), ("aggregation_temporality", 2, "int32"), ("is_monotonic", 3, "bool")],
}


class Group(NamedTuple):
    """The records of one resource and one scope: spans, or metrics. resource: as bytes, too."""

    resource: bytes
    records: Sequence[bytes]


def open_envelope(body: bytes, limit: ItemLimit, what: str) -> list[Group]:
    """Return the records of a request, by resource and scope. what: the plural noun for them, for messages.

    Raises MalformedError; TooManyError if there are more records, or groups of them, than *limit* allows.
    """
    groups = []
    n_scopes = n_records = 0
    try:
        parts = message_class("Request").FromString(body).groups
        limit.check(len(parts), "resources")
        for part in parts:
            group = message_class("Group").FromString(part)
            n_scopes += len(group.scopes)
            limit.check(n_scopes, "scopes")
            for scope in group.scopes:
                records = message_class("Scope").FromString(scope).records
                n_records += len(records)
                groups.append(Group(group.resource, records))
        limit.check(n_records, what)
    except DecodeError as exc:
        raise MalformedError("not OTLP protobuf") from exc
    return groups


@lru_cache(maxsize=8)
def message_class(name: str) -> Any:
    """Return the class of one of the messages here. Any: protobuf makes it at run time.

    Each is made in a descriptor pool of its own: in protobuf's default pool they would be visible to the whole process.
    """
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="envelope.proto", package="otel_usage", syntax="proto2")
    message = file.message_type.add(name=name)
    for field_name, number, kind in _MESSAGES[name]:
        field = message.field.add(name=field_name, number=number, label=3 if kind.endswith("*") else 1)
        field.type = {"bytes": field.TYPE_BYTES, "int32": field.TYPE_INT32, "bool": field.TYPE_BOOL}[kind.rstrip("*")]
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"otel_usage.{name}"))
