"""Connections to vendors: reuse, forks, TLS, proxies, and which endpoints are accepted."""

from __future__ import annotations

import os
import socket
import ssl
import threading

import pytest
import trustme
from otel_usage_exporters import connection
from otel_usage_exporters.ga4 import GA4SpanExporter
from otel_usage_exporters.settings import parse_endpoint

from . import servers
from .servers import GA4, OK, SECRET, events, ga4, messages, run, segment


def test_deliveries_share_a_connection(serve):
    """The requests of one delivery, and those of the next, go over one connection."""
    server = serve((204, {}, b""))
    exporter = ga4(server)

    exporter.deliver([run(n) for n in range(1, 61)])
    exporter.deliver([run(1)])

    assert (4, 1) == (len(server.requests), server.connections)


def test_a_connection_that_was_idle_is_not_used_again(serve, monkeypatch):
    """A server may have closed it, and of a request that went into it nobody could tell whether it arrived."""
    server = serve((204, {}, b""))
    exporter = ga4(server)

    exporter.deliver([run(1)])
    monkeypatch.setattr(connection, "IDLE_S", -1.0)
    exporter.deliver([run(2)])

    assert (2, 2) == (len(server.requests), server.connections)


def test_a_forked_process_opens_connections_of_its_own(serve):
    """Two processes that wrote into one connection would garble both their requests."""
    server = serve((204, {}, b""))
    exporter = ga4(server)

    exporter.deliver([run(1)])
    child = os.fork()
    if not child:
        code = 1
        try:
            code = int(bool(exporter.deliver([run(2)]).unsent))
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    exporter.deliver([run(3)])

    assert 0 == status
    assert (3, 2) == (len(server.requests), server.connections)


def test_shutdown_closes_connections(serve):
    """Nothing stays open after it."""
    server = serve((204, {}, b""))
    exporter = ga4(server)
    before = len(os.listdir("/proc/self/fd"))

    exporter.deliver([run(1)])
    exporter.shutdown()

    assert 1 == server.connections
    servers.wait_until(lambda: before == len(os.listdir("/proc/self/fd")))


def test_over_tls(serve, tmp_path, monkeypatch):
    """A certificate that is trusted is; one that is not sends nothing, and is tried again."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = serve(OK, tls=context)

    distrusted = segment(server).deliver([run()])
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    trusted = segment(server).deliver([run()])

    assert (0,) == distrusted.unsent
    assert (200, ()) == (trusted.status, trusted.unsent)
    assert 2 == len(messages(server))


def test_through_a_proxys_tunnel(serve, rude, tmp_path, monkeypatch):
    """Behind a company's proxy requests go through its tunnel, and the proxy never sees the key."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("ga4.example.invalid").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    server = serve((204, {}, b""), tls=context)

    def tunnel(connection, proxy):
        proxy.received.append(connection.recv(65_536))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", server.port)) as onward:
            pump = threading.Thread(target=forward, args=(onward, connection), daemon=True)
            pump.start()
            forward(connection, onward, proxy.received)
            pump.join()

    def forward(source, sink, seen=None):
        try:
            while block := source.recv(65_536):
                sink.sendall(block)
                if seen is not None:
                    seen.append(block)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    proxy = rude(tunnel)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)

    verdict = GA4SpanExporter(**GA4, endpoint="https://ga4.example.invalid", folder="").deliver([run()])

    assert (204, ()) == (verdict.status, verdict.unsent)
    assert 1 == len(events(server))
    assert proxy.received[0].startswith(b"CONNECT ga4.example.invalid:443 ")
    assert SECRET.encode() not in b"".join(proxy.received)


def test_a_server_that_closes_after_each_answer(serve):
    """Without a connection to reuse each request opens its own, and answers are read all the same."""
    close = {"Connection": "close"}
    server = serve((200, close, b"{}"), (200, close, b'{"ok":false}'), (200, close, b"{}"))

    verdict = segment(server).deliver([run(n) for n in range(1, 251)])

    assert ({"refused": 100}, 3) == (verdict.dropped, server.connections)


def test_a_netrc_is_not_for_us(serve, tmp_path, monkeypatch):
    """Passwords that the user keeps for a host go nowhere."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server = serve((204, {}, b""))

    ga4(server).deliver([run()])

    assert "Authorization" not in server.requests[0][1]


def test_a_proxy_is_not_for_this_machine(serve, monkeypatch):
    """A server on this machine is asked directly, whatever proxy is set."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    assert 204 == ga4(serve((204, {}, b""))).deliver([run()]).status


def test_endpoints_are_https_but_on_this_machine():
    """Plain HTTP is for this machine only; what could hold a password or a key is refused, unseen."""
    for good in (
        "https://region1.google-analytics.com",
        "http://127.0.0.1:8000/x",
        "http://localhost:1",
        "http://[::1]:9",
    ):
        assert good == parse_endpoint(good + "/")
    for bad in (
        "http://example.org",
        "ftp://x",
        "example.org",
        "https://u:p@x",
        "https://x?y",
        "https://",
        "http://127.evil.org",
        "https://a b",
    ):
        with pytest.raises(ValueError, match="an https:// address") as raised:
            parse_endpoint(bad)
        assert "evil" not in str(raised.value)
