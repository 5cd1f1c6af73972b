"""Django, Celery and gRPC under ``opentelemetry-instrument``, with ``OTEL_TRACES_EXPORTER=ga4,segment``: what leaves of them.

Each program is server and client at once, and carries planted secrets wherever a user or a caller puts such things.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from .service_vendors import Vendors

SECRETS = {
    name: f"Zq{name}7Xw41"
    for name in ("query", "path", "agent", "sql", "argument", "result", "error", "metadata", "message", "details")
}
HEAD = """
import atexit, os, signal, sys, threading, time
from opentelemetry import trace
from otel_usage_exporters import mark_action
def act(**fields):
    with trace.get_tracer("shop").start_as_current_span("order.place") as span:
        mark_action(span, "order.place", **fields)
"""
DJANGO = """
import django, urllib.error, urllib.request
from django.http import HttpResponse
from django.urls import path
def order(request, word):
    from django.db import connection
    with connection.cursor() as cursor:
        cursor.execute("select '{sql}', %s", [word])
    act(channel="web")
    if "fail" in request.GET:
        raise ValueError("{error}")
    return HttpResponse("done")
urlpatterns = [path("orders/<str:word>", order)]
django.setup()
from django.core.wsgi import get_wsgi_application
from wsgiref.simple_server import WSGIRequestHandler, make_server
WSGIRequestHandler.log_message = lambda *args: None
server = make_server("127.0.0.1", 0, get_wsgi_application())
threading.Thread(target=server.serve_forever, daemon=True).start()
for query in ("?email={query}", "?fail={query}"):
    address = f"http://127.0.0.1:{{server.server_port}}/orders/{path}{{query}}"
    try:
        urllib.request.urlopen(urllib.request.Request(address, headers={{"User-Agent": "{agent}"}})).read()
    except urllib.error.HTTPError:
        pass
server.shutdown()
"""
CELERY = """
from celery import Celery
from celery.contrib.testing.worker import start_worker
from opentelemetry.instrumentation.celery import CeleryInstrumentor
app = Celery("shop", broker="memory://", backend="cache+memory://")
@app.task(name="shop.place", bind=True, max_retries=1)
def place(self, word, **more):
    act(channel="queue")
    if more.get("fail"):
        raise self.retry(exc=ValueError("{error}"), countdown=0)
    return "{result}"
with start_worker(app, pool="solo", perform_ping_check=False, loglevel="CRITICAL"):
    place.delay("{argument}", mail="{argument}@example.org").get(timeout=30)
    try:
        place.delay("{argument}", fail=True).get(timeout=30)
    except Exception:
        pass
"""
GRPC = """
import grpc
from concurrent.futures import ThreadPoolExecutor
def place(request, context):
    act(channel="rpc")
    if request.startswith(b"fail"):
        context.abort(grpc.StatusCode.NOT_FOUND, "{details}")
    return request
handlers = {{"Place": grpc.unary_unary_rpc_method_handler(place)}}
server = grpc.server(ThreadPoolExecutor(2))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Orders", handlers),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
with grpc.insecure_channel(f"127.0.0.1:{{port}}") as channel:
    call = channel.unary_unary("/shop.Orders/Place")
    for message in (b"{message}", b"fail {message}"):
        try:
            call(message, metadata=(("authorization", "{metadata}"), ("x-user", "{metadata}")), timeout=20)
        except grpc.RpcError:
            pass
server.stop(5).wait()
"""
PROGRAMS = {
    name: HEAD + text.format(**SECRETS) for name, text in (("django", DJANGO), ("celery", CELERY), ("grpc", GRPC))
}
DJANGO_SETTINGS = """
SECRET_KEY, ROOT_URLCONF, ALLOWED_HOSTS, USE_TZ = "x", "__main__", ["*"], True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
"""
# What is exported with SPANS=all, besides the marked action: event of GA4's → the names of its spans.
SPANS: dict[str, dict[str, set[str]]] = {
    "django": {"db": {"SELECT"}, "http_server": {"GET orders/<str:word>"}},
    "celery": {"messaging": {"apply_async/shop.place", "run/shop.place"}},
    "grpc": {"rpc_client": {"shop.Orders/Place"}, "rpc_server": {"shop.Orders/Place"}},
}
pytestmark = pytest.mark.skipif(
    version("opentelemetry-instrumentation") < "0.6", reason="instrumentations of today's frameworks are newer"
)


@pytest.fixture
def vendors(serve: Any) -> Iterator[Vendors]:
    both = Vendors(serve)
    yield both
    both.check(SECRETS.values())


def serve_itself(vendors: Vendors, folder: Path, kind: str, **variables: str) -> str:
    """Run the program of that kind to its end, with ``OTEL_EXPORTER_<vendor>_<name>`` set; return its stderr."""
    (folder / "shop.py").write_text(PROGRAMS[kind])
    (folder / "shop_settings.py").write_text(DJANGO_SETTINGS)
    environ = vendors.environ(folder, "http,database")
    environ["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] = "usage"  # which would record the run of shop.py
    if kind == "django":
        environ["DJANGO_SETTINGS_MODULE"] = "shop_settings"  # by which its instrumentation knows that there is one
    for name, value in variables.items():
        environ[f"OTEL_EXPORTER_GA4_{name}"] = environ[f"OTEL_EXPORTER_SEGMENT_{name}"] = value
    command = ["opentelemetry-instrument", "python", "shop.py"]
    ended = subprocess.run(command, cwd=folder, env=environ, capture_output=True, timeout=100, check=False)
    assert 0 == ended.returncode, ended.stderr.decode()
    return ended.stderr.decode()


@pytest.mark.parametrize("kind", PROGRAMS)
def test_out_of_the_box_what_is_marked_leaves(vendors: Vendors, tmp_path: Path, kind: str) -> None:
    """And nothing else: no request, task or call, no argument, no statement."""
    serve_itself(vendors, tmp_path, kind)

    assert (["order_place"], ["Order Place"]) == vendors.names


@pytest.mark.parametrize("attributes", ["standard", "all"])
@pytest.mark.parametrize("kind", PROGRAMS)
def test_all_spans(vendors: Vendors, tmp_path: Path, kind: str, attributes: str) -> None:
    """``SPANS=all``: an event per kind of span, named by route, task or method, and nothing that a caller has put in."""
    serve_itself(vendors, tmp_path, kind, SPANS="all", ATTRIBUTES=attributes)

    spans: dict[str, set[str]] = {}
    for event in vendors.events:
        spans.setdefault(event["name"], set()).add(event["params"].get("span", ""))
    assert SPANS[kind] == {name: names for name, names in spans.items() if name != "order_place"}
