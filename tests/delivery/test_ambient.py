"""What is ambient on a user's machine, certificates and proxies, against what the host says in code."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest
import trustme

from otel_usage.delivery.ledger import Ledger

from ..spools import Spool
from .backends import Backend, takes


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", ""])
@pytest.mark.parametrize("by", ["keyword", "variable"])
def test_the_hosts_certificate_file_beats_ambient_bundles(
    tmp_path: Path, plain_environ: None, monkeypatch: pytest.MonkeyPatch, variable: str, by: str
) -> None:
    """A private authority named by the host, on a machine where a company's bundle is set for everything."""
    authority, company = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    company.cert_pem.write_to_path(str(tmp_path / "company.pem"))
    backend = Backend(takes)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    backend.server.socket = context.wrap_socket(backend.server.socket, server_side=True)
    address = backend.url.replace("http://127.0.0.1", "https://localhost")
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "company.pem"))
    spool = Spool(tmp_path / "state", {"otlp": {"endpoint": address, "certificate_file": str(tmp_path / "ca.pem")}})
    if by == "variable":
        spool.settings["destinations"] = None
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "ca.pem"))
    spool.run(command="c0")

    spool.drain()

    backend.close()
    assert {"c0": 1} == backend.acknowledged


def test_without_a_certificate_file_the_ambient_bundle_counts(
    tmp_path: Path, plain_environ: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A company's authority, set for everything on its machines, is trusted as by any other program."""
    company = trustme.CA()
    company.cert_pem.write_to_path(str(tmp_path / "company.pem"))
    backend = Backend(takes)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    company.issue_cert("localhost").configure_cert(context)
    backend.server.socket = context.wrap_socket(backend.server.socket, server_side=True)
    address = backend.url.replace("http://127.0.0.1", "https://localhost")
    spool = Spool(tmp_path / "state", {"otlp": address})
    spool.run(command="c0")
    spool.drain()
    assert {"tls"} == {entry["reason"] for entry in Ledger(str(spool.home)).entries()}

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "company.pem"))
    (spool.folder / "queue" / "otlp" / "pause").unlink()
    spool.drain()

    backend.close()
    assert {"c0": 1} == backend.acknowledged


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_what_is_for_this_machine_goes_through_no_proxy(
    tmp_path: Path, plain_environ: None, monkeypatch: pytest.MonkeyPatch, otlp: Backend, host: str
) -> None:
    """Plain HTTP is allowed here because it stays here, whatever HTTP_PROXY says."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        spool = Spool(tmp_path / "state", {"otlp": otlp.url.replace("127.0.0.1", host)})
        spool.run(command="c0")

        spool.drain()

        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()
    assert {"c0": 1} == otlp.acknowledged


def test_grpc_for_this_machine_goes_through_no_proxy(
    tmp_path: Path, plain_environ: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gRPC has variables of its own for that."""
    connected = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as proxy, socket.create_server(("127.0.0.1", 0)) as backend:

        def accept(listener: socket.socket) -> None:
            try:
                listener.accept()[0].close()
                connected.set()
            except OSError:
                pass

        thread = threading.Thread(target=accept, args=(proxy,), daemon=True)
        thread.start()
        for name in ("http_proxy", "grpc_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        address = f"http://127.0.0.1:{backend.getsockname()[1]}"
        keywords = {"endpoint": address, "protocol": "grpc", "timeout_s": 0.5}
        spool = Spool(tmp_path / "state", {"otlp": keywords})
        spool.run()

        spool.drain_apart()

        assert not connected.is_set()
        proxy.shutdown(socket.SHUT_RDWR)
    thread.join(5)
