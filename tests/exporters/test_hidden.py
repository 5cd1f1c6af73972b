"""Keys stay out of other people's tools: no library between us and the socket ever sees one."""

from __future__ import annotations

import gc
import socket
import ssl
import warnings
from urllib.parse import quote

import pytest
import trustme
from otel_usage_exporters.ga4 import GA4MetricExporter, GA4SpanExporter
from otel_usage_exporters.segment import SegmentMetricExporter, SegmentSpanExporter

from otel_usage import SettingError
from otel_usage.delivery.destination import build_destination
from otel_usage.delivery.otlp_session import OtlpSession

from . import servers
from .named_vendors import NAMED, VISITS
from .proxies import socks5, tunnels
from .servers import counter, metrics, point, run
from .watcher import Watcher

KEY = "T0P+s3cr3t/gaga~9"
PASSWORD = "pr0xy-p4ssw0rd-7"
SPANS = [run(1), run(2)]
HOST = "vendor.example.invalid"
GA4 = {"measurement_id": "G-AB12CD", "api_secret": KEY, "folder": ""}
EXPORTERS = {
    "ga4": lambda url, limit_s=5.0: GA4SpanExporter(endpoint=url, timeout_s=limit_s, **GA4),
    "validate": lambda url, limit_s=5.0: GA4SpanExporter(endpoint=url, timeout_s=limit_s, validate=True, **GA4),
    "segment": lambda url, limit_s=5.0: SegmentSpanExporter(endpoint=url, timeout_s=limit_s, write_key=KEY, folder=""),
    "posthog": lambda url, limit_s=5.0: NAMED["posthog"].exporter(url, timeout_s=limit_s, api_key=KEY),
    "mixpanel": lambda url, limit_s=5.0: NAMED["mixpanel"].exporter(url, timeout_s=limit_s, token=KEY),
    "import": lambda url, limit_s=5.0: NAMED["mixpanel"].exporter(url, timeout_s=limit_s, token=None, api_secret=KEY),
    "amplitude": lambda url, limit_s=5.0: NAMED["amplitude"].exporter(url, timeout_s=limit_s, api_key=KEY),
    "matomo": lambda url, limit_s=5.0: VISITS["matomo"].exporter(url, timeout_s=limit_s, token_auth=KEY),
}


@pytest.fixture
def watcher(monkeypatch):
    """Sees what any tool can see."""
    watcher = Watcher()
    watcher.install(monkeypatch)
    yield watcher
    with (
        warnings.catch_warnings()
    ):  # to look into a frame keeps its variables alive in Python 3.10, a socket among them
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.parametrize("vendor", EXPORTERS)
@pytest.mark.parametrize("case", ["served", "refused", "hang_up", "half_an_answer", "silent"])
def test_no_library_sees_a_key(case, vendor, watcher, serve, rude, monkeypatch):
    """Every public function from requests to http.client, in success and failure: the key is in what the socket wrote alone."""
    wire = Watcher()
    monkeypatch.setattr(socket.socket, "sendall", wire.watch("sendall", socket.socket.sendall), raising=False)
    if case == "refused":
        url = "http://127.0.0.1:9"
    else:
        url = serve((200, {}, b"{}")).url if case == "served" else rude(getattr(servers, case)).url
    exporter = EXPORTERS[vendor](url, 0.3 if case == "silent" else 5.0)

    verdict = exporter.deliver(SPANS)

    assert {
        "requests.adapters.HTTPAdapter.send",
        "urllib3.connectionpool.HTTPConnectionPool.urlopen",
        "http.client.HTTPConnection.putrequest",
        "http.client.HTTPConnection.putheader",
    } <= watcher.calls or case == "refused"
    assert [] == watcher.holding(KEY)
    watcher.see((verdict, exporter, vars(exporter), vars(exporter._post)), 2)
    assert [] == [text for text in watcher.holding(KEY) if text != KEY]  # the exporter itself has to have it
    assert bool(wire.holding(KEY)) == (case != "refused")


@pytest.mark.parametrize("signal", ["traces", "metrics"])
@pytest.mark.parametrize("case", ["served", "refused", "hang_up", "half_an_answer", "silent"])
@pytest.mark.parametrize("by", ["keyword", "variable"])
def test_no_library_sees_an_otlp_header(by, case, signal, watcher, serve, rude, monkeypatch):
    """The headers of an OTLP destination of the sender, or the relay: its session has them, and beyond only the socket."""
    wire = Watcher()
    watcher.blind = (OtlpSession,)
    monkeypatch.setattr(socket.socket, "sendall", wire.watch("sendall", socket.socket.sendall), raising=False)
    if case == "refused":
        url = "http://127.0.0.1:9"
    else:
        url = serve((200, {}, b"")).url if case == "served" else rude(getattr(servers, case)).url
    limit_s = 0.3 if case == "silent" else 5.0
    headers = {"authorization": f"Bearer {KEY}", "x-api-key": KEY}
    if by == "keyword":
        destination = build_destination("otlp", {"endpoint": url, "headers": headers, "timeout_s": limit_s})
    else:
        lines = ",".join(f"{name}={quote(value, safe='')}" for name, value in headers.items())
        for name, value in {"ENDPOINT": url, "HEADERS": lines, "TIMEOUT": str(limit_s)}.items():
            monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
        destination = build_destination("otlp", None)

    items = SPANS if signal == "traces" else metrics(counter("usage.runs", [point(2)]))
    verdict = destination.deliver(signal, items, 2)
    destination.close()

    reasons = {"served": "", "refused": "refused", "hang_up": "lost", "half_an_answer": "", "silent": "timeout"}
    assert reasons[case] == verdict.reason
    assert {"requests.adapters.HTTPAdapter.send", "http.client.HTTPConnection.putheader"} <= watcher.calls or (
        case == "refused"
    )
    assert [] == watcher.holding(KEY)
    assert bool(wire.holding(KEY)) == (case != "refused")


@pytest.mark.parametrize("vendor", ["ga4", "segment"])
@pytest.mark.parametrize("scheme", ["http", "socks5h"])
@pytest.mark.parametrize("answer", ["served", "refused"])
def test_no_library_sees_a_proxys_password(answer, scheme, vendor, watcher, serve, rude, tmp_path, monkeypatch):
    """A password in HTTPS_PROXY reaches the proxy, and nobody else; neither does the key, through the tunnel."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    port = serve((200, {}, b"{}"), tls=context).port
    if scheme == "http":
        proxy = rude(tunnels(port, refuse=answer == "refused"))
    else:
        proxy = rude(socks5(port, f"me:{PASSWORD}".encode(), reply=5 if answer == "refused" else 0))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://me:{PASSWORD}@127.0.0.1:{proxy.port}")

    verdict = EXPORTERS[vendor](f"https://{HOST}").deliver(SPANS)

    assert (answer == "served", "" if answer == "served" else "proxy") == (verdict.unsent == (), verdict.reason)
    assert [] == watcher.holding(KEY, PASSWORD)


@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (GA4SpanExporter, {"api_secret": KEY, "measurement_id": "oops"}),
        (GA4MetricExporter, {"api_secret": KEY, "measurement_id": "G-AB12CD", "timeout_s": -1.0}),
        (SegmentSpanExporter, {"write_key": KEY, "endpoint": "http://elsewhere.example"}),
        (SegmentMetricExporter, {"write_key": KEY + " " + KEY}),
        (NAMED["posthog"].span_exporter, {"api_key": KEY, "groups": "perhaps"}),
        (NAMED["mixpanel"].span_exporter, {"token": KEY, "api_secret": KEY, "timeout_s": -1.0}),
        (NAMED["mixpanel"].metric_exporter, {"service_account": "s", "service_secret": KEY}),
        (NAMED["amplitude"].span_exporter, {"api_key": KEY, "user": "enduser.id", "user_key": KEY, "device_id": "all"}),
        (VISITS["matomo"].span_exporter, {"endpoint": "https://example.org", "token_auth": KEY, "site_id": "one"}),
    ],
)
def test_a_settings_error_brings_no_key_along(cls, settings):
    """Tools that report an uncaught error show the variables of its frames: ours hold no key by then."""
    watcher = Watcher()

    with pytest.raises(SettingError) as raised:
        cls(**settings)

    at = raised.value.__traceback__.tb_next  # without this test's own frame, which has the key
    watcher.see_error(raised.value.with_traceback(at))
    assert [] == watcher.holding(KEY)
