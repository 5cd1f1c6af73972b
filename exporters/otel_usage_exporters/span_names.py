"""Names for spans of any instrumentation: few for events, and a label that tells them apart without saying whose they are. Pure.

A span's own name is for people who look at one trace: ``GET /users/4711``, a whole query, ``orders.find``. An event's name is
counted. So what the semantic conventions know (HTTP, databases, messaging, RPC, generative AI, GraphQL, ASGI) has a name for
its kind, in the old and the new conventions, and a label made of attributes with few values. Other spans have their own name,
without what differs from one span to the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from opentelemetry.trace import SpanKind

from .floor import without_personal

# {event: (when, label)}, for docs/exporters.md.
EVENTS = {
    "http_server": (
        "an HTTP request that was answered",
        "method and route: `GET /orders/{id}`; without a route the method",
    ),
    "http_client": ("an HTTP request that was made", "method, and `url.template` if there is one"),
    "http": ("an HTTP span that is neither", "method"),
    "db": ("a call of a database", "operation and table: `SELECT orders`"),
    "messaging": (
        "a message that was sent, received or processed",
        "operation and destination: `publish orders`; without system and operation the span's own name: `run/orders.place`",
    ),
    "rpc_server": ("a remote procedure call that was answered", "service and method"),
    "rpc_client": ("a remote procedure call that was made", "service and method"),
    "gen_ai": ("a call of a model, an agent or a tool", "operation and model, agent or tool: `chat gpt-4o`"),
    "mcp": ("a request of the Model Context Protocol", "its method, and the tool"),
    "graphql": ("an operation of GraphQL", "`query`, `mutation` or `subscription`"),
    "asgi": ("what ASGI frameworks note besides the request", "`http.response.start` and the like"),
}
OTHER = "other_span"  # the event of spans whose names are too many

METHODS = frozenset("CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT QUERY TRACE".split())  # noqa: SIM905
_A_METHOD = re.compile(rf"({'|'.join(sorted(METHODS))})(\s|$)")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://\S*")
_ID = re.compile(
    r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"  # a UUID
    r"|\(email\)|\(address\)"
    r"|(?<![A-Za-z0-9])(?=[A-Za-z]*\d)[0-9A-Fa-f]{8,}(?![A-Za-z0-9])"  # a digest
    r"|(?<![A-Za-z0-9])\d+(?![A-Za-z0-9])"  # a number
    r"|(?<![A-Za-z0-9])(?=[A-Za-z]*\d)[A-Za-z0-9]{20,}(?![A-Za-z0-9])"  # a token
)
_VERB = re.compile(r"[A-Za-z]{2,20}(?=[\s;(]|$)")
_IDS_OUT = re.compile(r"[\s./_:\-]*\{id\}")
MAX_LABEL = 100


def name_of(name: str, kind: Any, attributes: Mapping[str, Any]) -> tuple[str, str]:
    """Return the event's name and the label of a span. Any: OTel attribute values; a SpanKind, or what a program took for one.

    >>> name_of("GET /orders/7", SpanKind.SERVER, {"http.method": "GET", "http.route": "/orders/{id}"})
    ('http_server', 'GET /orders/{id}')
    """
    get = _Texts(attributes)
    if "asgi.event.type" in attributes:
        return "asgi", get("asgi.event.type")
    if get("mcp.method.name"):
        return "mcp", _label(get("mcp.method.name"), get("gen_ai.tool.name"))
    if get("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.system"):
        what = get("gen_ai.tool.name", "gen_ai.agent.name", "gen_ai.request.model")
        return "gen_ai", _label(get("gen_ai.operation.name"), what)
    if get("db.system.name", "db.system"):
        verb = _VERB.match(name)
        operation = get("db.operation.name", "db.operation") or (verb[0].upper() if verb else "")
        table = get("db.collection.name", "db.sql.table", "db.mongodb.collection")
        return "db", low_cardinality(f"{operation} {table}")
    destination = get("messaging.destination.template", "messaging.destination.name", "messaging.destination")
    system = get("messaging.system")
    if system or destination or kind in (SpanKind.PRODUCER, SpanKind.CONSUMER):
        operation = get("messaging.operation.name", "messaging.operation.type", "messaging.operation")
        if (
            not operation and not system
        ):  # of Celery's instrumentation: ``run/orders.place``, whose destination is the queue
            return "messaging", low_cardinality(name)
        temporary = attributes.get("messaging.destination.temporary") or attributes.get(
            "messaging.destination.anonymous"
        )
        return "messaging", low_cardinality(f"{operation} {'' if temporary else destination}")
    if get("rpc.system.name", "rpc.system"):
        service, method = get("rpc.service"), get("rpc.method")
        label = f"{service}/{method}" if service and method and "/" not in method else method or service
        return ("rpc_server" if kind is SpanKind.SERVER else "rpc_client"), _label(label)
    if get("graphql.operation.type"):
        return "graphql", get("graphql.operation.type")[:MAX_LABEL]
    method = get("http.request.method", "http.method")
    if method:
        event = {SpanKind.SERVER: "http_server", SpanKind.CLIENT: "http_client"}.get(kind, "http")
        return event, _label(known_method(method), get("http.route", "url.template"))
    a_method = _A_METHOD.match(name)
    if a_method:  # of an instrumentation that has no attributes to say more
        return "http", a_method[1]
    label = low_cardinality(name)
    return _IDS_OUT.sub("", label).strip(" ./_:-") or "span", label


def known_method(method: str) -> str:
    """Return *method* if it is one of HTTP's, else ``_OTHER``: anybody can send any word as a method."""
    upper = method.upper()
    return upper if upper in METHODS else "_OTHER"


def low_cardinality(text: str) -> str:
    """Return *text*, a name, with ``{id}`` for each number, UUID, digest, token and address, and ``{path}`` for a path."""
    text = _URL.sub("{id}", text[:1_000])
    if text.startswith("/"):
        return "{path}"
    return " ".join(_ID.sub("{id}", without_personal(text)).split())[:MAX_LABEL]


def _label(*parts: str) -> str:
    return without_personal(" ".join([part for part in parts if part]))[:MAX_LABEL]


class _Texts:
    """Returns the first of some attributes that is text, and not empty; "" for none. Any: OTel attribute values."""

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        self._get = attributes.get

    def __call__(self, *names: str) -> str:
        for name in names:
            value = self._get(name)
            if value and isinstance(value, str):
                return value
        return ""


def names_of(spans: Iterable[Any]) -> Iterator[str]:
    """Yield the names of events that *spans* would be: what to choose from. Any: spans, or what a program took for one."""
    for span in spans:
        try:
            yield name_of(span.name, span.kind, dict(span.attributes or {}))[0]
        except Exception:  # as in usage_event.py: a program may have given it anything
            yield "?"
