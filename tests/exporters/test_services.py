"""Real Flask and FastAPI services under ``opentelemetry-instrument``, with ``OTEL_TRACES_EXPORTER=ga4,segment`` and nothing else.

Each request carries planted secrets wherever a user, a proxy or a program puts such things; all bytes that leave are searched.
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from importlib.metadata import version

import pytest

from ..hosts import ROOT
from .service_vendors import Vendors

SECRETS = {
    name: f"Zq{name.replace('_', '')}7Xw41"
    for name in ("query", "path", "agent", "cookie", "proxy", "sql", "user", "mail", "error", "called", "attribute")
}
BODY = """
    # A shop as people write it: secrets are in its SQL, its errors, its attributes, and in what it calls.
    database = sqlite3.connect(":memory:")
    database.cursor().execute("select '{sql}' as x")
    with tracer.start_as_current_span("order.place") as span:
        span.set_attributes({{"order.channel": "web", "customer.email": "{mail}@example.org", "note": "{attribute}"}})
        span.set_attribute("enduser.id", "{user}")
        try:
            requests.get("http://{called}:pw@127.0.0.1:9/{called}?q={called}", timeout=1)
        except requests.RequestException:
            pass
    with tracer.start_as_current_span("order.rate") as span:
        mark_action(span, "order.rate", stars=5, page="https://shop.example/rate?who={mail}")
        span.set_attribute("enduser.id", "{user}")
        span.record_exception(ValueError("{error}"))
    return {{"ok": True}}
""".format(**SECRETS)
HEAD = """
import sqlite3
import requests
from opentelemetry import trace
from otel_usage_exporters import mark_action
tracer = trace.get_tracer("shop")
"""
FLASK = f"{HEAD}\nimport flask\napp = flask.Flask('shop')\n@app.get('/orders/<int:number>')\ndef order(number):{BODY}"
FASTAPI = (
    f"{HEAD}\nimport fastapi\napp = fastapi.FastAPI()\n@app.get('/orders/{{number}}')\ndef order(number: int):{BODY}"
)
COMMANDS = {
    "flask": (FLASK, ["flask", "--app", "shop", "run"]),
    "fastapi": (FASTAPI, ["uvicorn", "shop:app"]),
}
KEY = "a-key-of-some-length"
OLD, NEW = "", "http,database"
slow = pytest.mark.skipif(not os.environ.get("OTEL_USAGE_SLOW"), reason="slow: OTEL_USAGE_SLOW=1")
pytestmark = pytest.mark.skipif(
    version("opentelemetry-instrumentation") < "0.6", reason="instrumentations of today's frameworks are newer"
)


@pytest.fixture
def vendors(serve):
    both = Vendors(serve)
    yield both
    both.check(SECRETS.values())


def ask(address, path):
    """Ask for *path* as a browser behind a proxy does, with secrets everywhere."""
    headers = {"User-Agent": SECRETS["agent"], "Cookie": f"session={SECRETS['cookie']}"}
    headers["X-Forwarded-For"] = f"203.0.113.9, {SECRETS['proxy']}"
    try:
        urllib.request.urlopen(urllib.request.Request(address + path, headers=headers), timeout=30).read()
    except urllib.error.HTTPError as exc:
        return exc.code
    return 200


def serve_requests(vendors, tmp_path, framework, semconv, *, source="", paths=(), **variables):
    """Run the service, send it requests, end it as Ctrl-C does; return what it wrote to stderr."""
    program, command = COMMANDS[framework]
    (tmp_path / "shop.py").write_text(source or program)
    environ = vendors.environ(tmp_path, semconv)
    for name, value in variables.items():
        environ[f"OTEL_EXPORTER_GA4_{name}"] = environ[f"OTEL_EXPORTER_SEGMENT_{name}"] = value
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # Where a service listens it need not say: OpenTelemetry's instrumentation of logging takes Flask's own line away.
    command = ["opentelemetry-instrument", *command, "--port", str(port)]
    with open(tmp_path / "stderr", "w+") as stderr:
        service = subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=stderr, stderr=stderr)
        try:
            wait_for(service, port)
            for path in paths or (f"/orders/7?email={SECRETS['query']}@example.org", f"/nowhere/{SECRETS['path']}"):
                ask(f"http://127.0.0.1:{port}", path)
            service.send_signal(signal.SIGINT)
            service.wait(60)
        finally:
            service.kill()
            service.wait()
        stderr.seek(0)
        return stderr.read()


def wait_for(service, port):
    """Return once something listens on *port*."""
    end = time.monotonic() + 60
    while time.monotonic() < end and service.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
            select.select([], [], [], 0.05)
    raise AssertionError("the service does not listen")


@pytest.mark.parametrize(("framework", "semconv"), [("flask", OLD), ("fastapi", NEW)])
@slow
def test_out_of_the_box(framework, semconv, vendors, tmp_path):
    """What is marked arrives, and nothing else: no span of the instrumentation, no command run of flask or uvicorn."""
    stderr = serve_requests(vendors, tmp_path, framework, semconv)

    assert (["order_rate"], ["Order Rate"]) == vendors.names
    assert [{"stars": 5, "page": "https://shop.example/rate"}] == vendors.params("order_rate")
    assert "none is exported" not in stderr


@pytest.mark.parametrize(("framework", "semconv"), [("flask", OLD), ("fastapi", NEW)])
@slow
def test_nothing_of_it_is_about_use(framework, semconv, vendors, tmp_path):
    """A service that marks nothing: it is said once for each vendor, with what it could choose."""
    source = COMMANDS[framework][0].replace("mark_action(", "str(").replace("stars=5, page=", "'utf-8', ")
    source = re.sub(r"str\(span, .*", "pass", source)

    stderr = serve_requests(vendors, tmp_path, framework, semconv, source=source)

    assert ([], []) == vendors.names
    for vendor, prefix in (("GA4", "GA4"), ("Segment", "SEGMENT")):
        pattern = rf"otel-usage, {vendor}: \d+ spans seen \(.*order\.place.*\), none is exported; set OTEL_EXPORTER_{prefix}_SPANS=all"
        assert 1 == len(re.findall(pattern, stderr)), stderr


ROUTES = {"flask": "/orders/<int:number>", "fastapi": "/orders/{number}"}


@pytest.mark.parametrize(
    ("framework", "semconv"),
    [
        ("fastapi", NEW),
        *[pytest.param(*pair, marks=slow) for pair in (("fastapi", OLD), ("flask", OLD), ("flask", NEW))],
    ],
)
def test_all_spans(framework, semconv, vendors, tmp_path):
    """``SPANS=all``, ``ATTRIBUTES=standard,order.channel``: a name per kind, route and status; no address, query or statement."""
    serve_requests(vendors, tmp_path, framework, semconv, SPANS="all", ATTRIBUTES="standard,order.channel")

    names, titles = vendors.names
    asgi = ["asgi"] * (framework == "fastapi")
    assert [*asgi, "db", "http_client", "http_server", "order_place", "order_rate"] == names
    assert [*map(str.title, asgi), "Db", "Http Client", "Http Server", "Order Place", "Order Rate"] == titles
    method, status = (
        ("http_request_method", "http_response_status_code") if semconv else ("http_method", "http_status_code")
    )
    route = ROUTES[framework]
    answered = sorted(vendors.params("http_server"), key=lambda params: params[status])
    assert [
        {"span": f"GET {route}", method: "GET", "http_route": route, status: 200},
        {"span": "GET", method: "GET", status: 404},
    ] == answered
    assert {"span": "order.place", "order_channel": "web"} in vendors.params("order_place")
    assert {"SELECT"} == {params["span"] for params in vendors.params("db")}


@slow
@pytest.mark.parametrize("semconv", [OLD, NEW])
@pytest.mark.parametrize("framework", COMMANDS)
def test_all_attributes(framework, semconv, vendors, tmp_path):
    """``ATTRIBUTES=all`` leaves out what is held back by name; of what has an innocent name no form of it is personal."""
    source = COMMANDS[framework][0].replace(f'"note": "{SECRETS["attribute"]}"', '"note": "n"')
    paths = [f"/orders/7?email={SECRETS['query']}@example.org"]

    serve_requests(
        vendors,
        tmp_path,
        framework,
        semconv,
        source=source.replace(f"9/{SECRETS['called']}", "9/x"),
        paths=paths,
        SPANS="all",
        ATTRIBUTES="all",
    )

    assert "http_server" in vendors.names[0]


@pytest.mark.parametrize(("framework", "semconv"), [("flask", NEW), ("fastapi", OLD)])
@slow
def test_hashed_users(framework, semconv, vendors, tmp_path):
    """``USER=enduser.id`` with a key: each user is a client of the vendors', and nobody can tell who."""
    source = COMMANDS[framework][0].replace(
        f'"{SECRETS["user"]}"', f'"{SECRETS["user"]}" if number < 8 else "somebody else"'
    )

    serve_requests(
        vendors,
        tmp_path,
        framework,
        semconv,
        source=source,
        paths=["/orders/7", "/orders/7", "/orders/8"],
        SPANS="order.*",
        USER="enduser.id",
        USER_KEY=KEY,
    )

    assert (["order_place", "order_rate"], ["Order Place", "Order Rate"]) == vendors.names
    for clients in ([e["client"] for e in vendors.events], [m["anonymousId"] for m in vendors.messages]):
        assert [2, 4] == sorted(clients.count(client) for client in set(clients))
    assert not any(b"somebody else" in text for _, text in vendors.texts)


def test_the_example_of_the_documentation(vendors, tmp_path):
    """docs/exporters.md, the service: as it stands, with the variables that stand there."""
    section = (ROOT / "docs" / "exporters.md").read_text().partition("## Services")[2]
    source = section.partition("```python\n")[2].partition("```")[0]
    variables = re.findall(
        r"^export OTEL_EXPORTER_GA4_(\w+)=(\S+)", section.partition("```sh\n")[2].partition("```")[0], re.M
    )
    chosen = {name: value for name, value in variables if name not in ("MEASUREMENT_ID", "API_SECRET")}

    serve_requests(vendors, tmp_path, "flask", NEW, source=source, paths=["/orders/7"], **chosen)

    assert {"SPANS", "ATTRIBUTES", "USER", "USER_KEY"} == set(chosen)
    assert (["http_server", "order_place"], ["Http Server", "Order Place"]) == vendors.names
    assert [{"channel": "web", "articles": 3}] == vendors.params("order_place")
