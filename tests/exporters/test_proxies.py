"""Behind proxies: SOCKS and HTTP, with and without a password, with and without PySocks."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys

import pytest
import trustme
from otel_usage_exporters.ga4 import GA4SpanExporter
from otel_usage_exporters.segment import SegmentSpanExporter

from otel_usage.delivery.verdict import NOT_SENT

from .proxies import socks5, tunnels
from .servers import run

HOST = "vendor.example.invalid"  # no resolver knows it: the proxy gets the name
SPANS = [run(1), run(2)]
VENDORS = {
    "ga4": lambda: GA4SpanExporter(
        measurement_id="G-AB12CD", api_secret="s3cr3t", endpoint=f"https://{HOST}", folder="", timeout_s=5.0
    ),
    "segment": lambda: SegmentSpanExporter(write_key="s3cr3t", endpoint=f"https://{HOST}", folder="", timeout_s=5.0),
}


@pytest.fixture
def vendor_server(serve, tmp_path, monkeypatch):
    """A server that is `HOST` to whoever trusts its certificate."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    return serve((200, {}, b"{}"), tls=context)


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("login", ["", "me:pass%20word@"], ids=["open", "password"])
@pytest.mark.parametrize("scheme", ["socks5h", "http"])
def test_everything_arrives_through_a_proxy(scheme, login, vendor, vendor_server, rude, monkeypatch):
    """Both vendors get everything, and the proxy gets its password and the host's name."""
    if scheme == "http":
        proxy = rude(tunnels(vendor_server.port))
    else:
        proxy = rude(socks5(vendor_server.port, b"me:pass word" if login else b""))
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://{login}127.0.0.1:{proxy.port}")

    verdict = VENDORS[vendor]().deliver(SPANS)

    assert ((), {}, 200, "") == (verdict.unsent, verdict.dropped, verdict.status, verdict.reason)
    assert HOST.encode() in proxy.received[0]
    if scheme == "http":
        basic = b"Proxy-Authorization: Basic bWU6cGFzcyB3b3Jk\r\n"
        assert bool(login) == (basic in proxy.received[0])


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    "proxy_of",
    [
        lambda rude: f"socks5h://127.0.0.1:{rude(socks5(0, reply=5)).port}",
        lambda rude: f"socks5h://me:wrong@127.0.0.1:{rude(socks5(0, b'me:right')).port}",
        lambda rude: f"socks5h://127.0.0.1:{rude(lambda connection, server: connection.recv(1)).port}",
        lambda rude: f"http://127.0.0.1:{rude(tunnels(0, refuse=True)).port}",
        lambda rude: "socks5h://127.0.0.1:9",
        lambda rude: "http://127.0.0.1:9",
        lambda rude: "socks9://127.0.0.1:9",
        lambda rude: "http://[::",
        lambda rude: "http://",
        lambda rude: "caf\udce9",
    ],
    ids=[
        "refuses",
        "password",
        "not_socks",
        "tunnel",
        "closed",
        "closed_http",
        "scheme",
        "address",
        "no_host",
        "not_utf8",
    ],
)
def test_a_proxy_that_does_not_serve(proxy_of, vendor, rude, monkeypatch):
    """Whatever is wrong with the proxy: nothing was sent, everything is tried again, and the reason is the proxy."""
    monkeypatch.setenv("HTTPS_PROXY", proxy_of(rude))

    verdict = VENDORS[vendor]().deliver(SPANS)

    assert ((0, 1), {}, "proxy") == (verdict.unsent, verdict.dropped, verdict.reason)
    assert "proxy" in NOT_SENT


WITHOUT_PYSOCKS = """
import json, sys
sys.modules["socks"] = None  # as if it were not installed
from tests.exporters.test_proxies import SPANS, VENDORS
verdicts = [vendor().deliver(SPANS) for vendor in VENDORS.values()]
print(json.dumps([(verdict.unsent, verdict.reason, verdict.dropped) for verdict in verdicts]))
"""


def test_without_pysocks_the_reason_is_the_proxy(tmp_path):
    """A SOCKS proxy without PySocks: nothing is lost, nothing is printed, and the reason is the proxy."""
    environ = {**os.environ, "ALL_PROXY": "socks5h://127.0.0.1:9", "OTEL_USAGE_HOME": str(tmp_path)}

    done = subprocess.run([sys.executable, "-c", WITHOUT_PYSOCKS], env=environ, capture_output=True, text=True)

    assert ("", 0) == (done.stderr, done.returncode)
    assert [[[0, 1], "proxy", {}]] * 2 == json.loads(done.stdout)
