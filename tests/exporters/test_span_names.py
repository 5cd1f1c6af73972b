"""Names of events for spans of any instrumentation: few, and without what tells whose a span is."""

from __future__ import annotations

import pytest
from opentelemetry.trace import SpanKind
from otel_usage_exporters.span_names import EVENTS, name_of

SERVER, CLIENT, INTERNAL, PRODUCER = SpanKind.SERVER, SpanKind.CLIENT, SpanKind.INTERNAL, SpanKind.PRODUCER
CONSUMER = SpanKind.CONSUMER
UUID = "4f8b12f2-92a8-4d67-8a8a-000000000001"


@pytest.mark.parametrize(
    ("name", "kind", "attributes", "expected"),
    [
        # what Flask, FastAPI, requests, sqlite3 of opentelemetry-python-contrib 0.66b1 write, and others by the conventions
        ("GET /orders/<int:n>", SERVER, {"http.method": "GET", "http.route": "/orders/<int:n>"}, ("http_server", "GET /orders/<int:n>")),
        ("GET /o/{n}", SERVER, {"http.request.method": "GET", "http.route": "/o/{n}"}, ("http_server", "GET /o/{n}")),
        ("GET /nowhere/ann", SERVER, {"http.method": "GET", "http.target": "/nowhere/ann"}, ("http_server", "GET")),
        ("ANN /", SERVER, {"http.method": "ANN"}, ("http_server", "_OTHER")),
        ("GET", CLIENT, {"http.request.method": "GET", "url.full": "https://a/b?c"}, ("http_client", "GET")),
        ("GET /o/{n} http send", INTERNAL, {"asgi.event.type": "http.response.start", "http.status_code": 200}, ("asgi", "http.response.start")),
        ("GET /nowhere/ann", INTERNAL, {}, ("http", "GET")),
        ("select", CLIENT, {"db.system": "sqlite", "db.statement": "select 'ann'"}, ("db", "SELECT")),
        ("SELECT shop.orders", CLIENT, {"db.system.name": "postgresql", "db.operation.name": "SELECT", "db.collection.name": "orders"}, ("db", "SELECT orders")),
        ("select * from t where a='ann'", CLIENT, {"db.system": "x"}, ("db", "SELECT")),
        ("orders.find", CLIENT, {"db.system": "mongodb", "db.operation": "find", "db.mongodb.collection": "orders"}, ("db", "find orders")),
        ("publish orders", PRODUCER, {"messaging.system": "kafka", "messaging.operation.name": "publish", "messaging.destination.name": "orders"}, ("messaging", "publish orders")),
        ("q", PRODUCER, {"messaging.system": "rabbitmq", "messaging.operation": "publish", "messaging.destination.name": f"reply-{UUID}"}, ("messaging", "publish reply-{id}")),
        ("q", PRODUCER, {"messaging.system": "rabbitmq", "messaging.destination.temporary": True, "messaging.destination.name": "ann"}, ("messaging", "")),
        ("run/shop.place", CONSUMER, {"celery.action": "run", "messaging.destination": "celery"}, ("messaging", "run/shop.place")),
        (f"run/shop.place {UUID}", PRODUCER, {}, ("messaging", "run/shop.place {id}")),
        ("shop.Cart/Add", SERVER, {"rpc.system": "grpc", "rpc.service": "shop.Cart", "rpc.method": "Add"}, ("rpc_server", "shop.Cart/Add")),
        ("shop.Cart/Add", CLIENT, {"rpc.system.name": "grpc", "rpc.method": "shop.Cart/Add"}, ("rpc_client", "shop.Cart/Add")),
        ("chat gpt-4o-2024-08-06", CLIENT, {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o-2024-08-06", "gen_ai.prompt": "ann"}, ("gen_ai", "chat gpt-4o-2024-08-06")),
        ("tools/call x", CLIENT, {"mcp.method.name": "tools/call", "gen_ai.tool.name": "search"}, ("mcp", "tools/call search")),
        ("query Ann", SERVER, {"graphql.operation.type": "query", "graphql.operation.name": "Ann"}, ("graphql", "query")),
        ("order.place", INTERNAL, {}, ("order.place", "order.place")),
        (f"order {UUID} of 4711", INTERNAL, {}, ("order of", "order {id} of {id}")),
        ("job-9f86d081884c7d65", INTERNAL, {}, ("job", "job-{id}")),
        ("v2.upload oauth2", INTERNAL, {}, ("v2.upload oauth2", "v2.upload oauth2")),
        ("mail ann@example.org", INTERNAL, {}, ("mail", "mail {id}")),
        ("fetch https://example.org/ann?x=y", INTERNAL, {}, ("fetch", "fetch {id}")),
        ("/users/ann", INTERNAL, {}, ("{path}", "{path}")),
        ("4711", INTERNAL, {}, ("span", "{id}")),
        ("", INTERNAL, {}, ("span", "")),
    ],
)  # fmt: skip
def test_names(name, kind, attributes, expected):
    """Each kind that the conventions know has one name, and a label of few values; others their own, without ids."""
    assert expected == name_of(name, kind, attributes)


def test_kinds_are_few():
    """So few events that the conventions' spans never meet a vendor's bound on names."""
    assert len(EVENTS) < 20
