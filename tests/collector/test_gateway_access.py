"""Who may send to the gateway, what is kept of who sent, and to whom it sends: tokens, TLS, addresses."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest

from otel_usage.receiver.vendors import VENDORS
from tests.collector.gateway import CONFIG, Gateway, Running
from tests.collector.harness import Backend, get, metrics, post, traces


def test_no_client_address_is_kept(running: Running) -> None:
    """Nothing of the connection that data came by reaches the backend: no address, no header."""
    gateway, backend = running
    headers = {"user-agent": "secret-agent/1", "x-forwarded-for": "203.0.113.7", "cookie": "user=ada"}
    before = len(backend.spans)

    post(gateway.http, "/v1/traces", traces([11]).SerializeToString(), headers)
    backend.wait(lambda: len(backend.spans) > before)

    passed = json.dumps(backend.headers[-1]).lower() + str(backend.spans[-1])
    assert [] == [word for word in ("secret-agent", "203.0.113.7", "user=ada") if word in passed]


def test_it_listens_on_this_machine_only(otelcol: str) -> None:
    """Without a word from the operator nobody else can reach a port of the gateway."""
    text = (CONFIG / "gateway.yaml").read_text()

    defaults = [line.split(":-")[1].split("}")[0] for line in text.splitlines() if "endpoint:" in line and ":-" in line]

    assert 3 == len(defaults)
    assert all(one.startswith("127.0.0.1:") for one in defaults)


def test_health_endpoint_answers(running: Running) -> None:
    """A load balancer can ask whether the gateway is up."""
    status, _ = get(running[0].health, "/")

    assert 200 == status


def test_a_token_is_asked_for(otelcol: str, tmp_path: Path) -> None:
    """With token.yaml nothing is taken without the token, over either protocol."""
    import grpc
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

    with Backend() as backend:
        environ = {"BACKEND_OTLP_ENDPOINT": f"http://127.0.0.1:{backend.port}", "GATEWAY_TOKEN": "t0ken"}
        with Gateway(otelcol, tmp_path, ("gateway.yaml", "token.yaml"), **environ) as gateway:
            body = traces([1]).SerializeToString()

            tried = [
                post(gateway.http, "/v1/traces", body, {} if word is None else {"authorization": word})[0]
                for word in (None, "Bearer wrong", "Bearer", "Bearer t0ken")
            ]
            with grpc.insecure_channel(f"127.0.0.1:{gateway.grpc}") as channel:
                with pytest.raises(grpc.RpcError) as refused:
                    TraceServiceStub(channel).Export(traces([2]), timeout=10)
                TraceServiceStub(channel).Export(traces([3]), timeout=10, metadata=[("authorization", "Bearer t0ken")])

            assert [401, 401, 401, 200] == tried
            assert "UNAUTHENTICATED" == refused.value.code().name
            backend.wait(lambda: {1, 3} <= set(backend.numbers))


def test_tls_is_spoken(otelcol: str, tmp_path: Path) -> None:
    """With tls.yaml the receivers speak TLS, and nothing else."""
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    subprocess.run([*made, "-keyout", key, "-out", cert, *subject], check=True, capture_output=True)
    import requests

    with Backend() as backend:
        environ = {"BACKEND_OTLP_ENDPOINT": f"http://127.0.0.1:{backend.port}"}
        environ |= {"GATEWAY_TLS_CERT": str(cert), "GATEWAY_TLS_KEY": str(key)}
        with Gateway(otelcol, tmp_path, ("gateway.yaml", "tls.yaml"), **environ) as gateway:
            headers = {"content-type": "application/x-protobuf"}
            answer = requests.post(
                f"https://127.0.0.1:{gateway.http}/v1/traces",
                traces([1]).SerializeToString(),
                headers=headers,
                verify=str(cert),
                timeout=10,
            )

            assert 200 == answer.status_code
            assert 400 == get(gateway.http, "/v1/traces")[0]
            backend.wait(lambda: 1 in backend.numbers)


def test_only_some_destinations_are_sent_to(otelcol: str, tmp_path: Path) -> None:
    """With FAN_OUT_TO the fan-out leaves destinations out, the backend among them."""
    with Backend() as relay:
        environ = {
            "BACKEND_OTLP_ENDPOINT": "http://unused",
            "RELAY_ENDPOINT": f"http://127.0.0.1:{relay.port}",
            "FAN_OUT_TO": "[otlp_http/segment]",
        }
        with Gateway(otelcol, tmp_path, ("gateway.yaml", "fan-out.yaml"), **environ) as gateway:
            relay.decode = False
            assert 200 == post(gateway.http, "/v1/traces", traces([1]).SerializeToString())[0]
            assert 200 == post(gateway.http, "/v1/metrics", metrics(1).SerializeToString())[0]

            relay.wait(lambda: len(relay.taken) == 2)
            queues = {name for name in gateway.counters() if name.startswith("otelcol_exporter_queue_capacity")}

    assert {"/segment/v1/traces", "/segment/v1/metrics"} == {path for path, _ in relay.taken}
    assert all("otlp_http/segment" in name for name in queues)


def test_each_vendor_has_a_path_of_its_own(otelcol: str, tmp_path: Path) -> None:
    """Named in FAN_OUT_TO, every vendor with an exporter of ours is sent to, under its own name at the relay."""
    with Backend() as relay:
        environ = {
            "BACKEND_OTLP_ENDPOINT": "http://unused",
            "RELAY_ENDPOINT": f"http://127.0.0.1:{relay.port}",
            "FAN_OUT_TO": f"[{', '.join(f'otlp_http/{name}' for name in VENDORS)}]",
        }
        with Gateway(otelcol, tmp_path, ("gateway.yaml", "fan-out.yaml"), **environ) as gateway:
            relay.decode = False
            assert 200 == post(gateway.http, "/v1/traces", traces([1]).SerializeToString())[0]

            relay.wait(lambda: len(relay.taken) == len(VENDORS))

    assert sorted(f"/{name}/v1/traces" for name in VENDORS) == sorted(path for path, _ in relay.taken)


def test_a_full_port_is_an_error_that_says_so(otelcol: str, tmp_path: Path) -> None:
    """A gateway that can't listen ends, and its log names the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        gateway = Gateway(otelcol, tmp_path, BACKEND_OTLP_ENDPOINT="http://127.0.0.1:9", GATEWAY_HTTP=address)
        with pytest.raises(AssertionError, match="address already in use"):
            gateway.start()
        gateway.kill()
