"""gateway.yaml in a real Collector: what passes, what does not, and who may send."""

from __future__ import annotations

import gzip
import json
import re
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import NumberDataPoint

from otel_usage.schema import patterns
from otel_usage.schema.attributes import ATTRIBUTES, DERIVED, OUTCOMES
from otel_usage.server.options import Options
from tests.collector.harness import CONFIG, RUN, Backend, Gateway, get, metrics, pairs, plain, post, resource, traces

Running = tuple[Gateway, Backend]


def sent_and_arrived(running: Running, request: Any) -> tuple[dict[str, Any], Any]:
    """Send one span or data point; return (resource attributes, what arrived)."""
    gateway, backend = running
    signal, kept = ("traces", backend.spans) if "Trace" in type(request).__name__ else ("metrics", backend.points)
    before = len(kept)
    status, _, _ = post(gateway.http, f"/v1/{signal}", request.SerializeToString())
    assert 200 == status
    backend.wait(lambda: len(kept) > before)
    return kept[before][0], kept[before][-1]


def validated(otelcol: str, *files: str, **environ: str) -> tuple[int, str]:
    """Return what ``validate`` says of *files*."""
    command = [otelcol, "validate", *(f"--config={CONFIG / file}" for file in files)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    return done.returncode, done.stderr


def test_every_variable_is_documented_with_its_default() -> None:
    """README.md tells of each variable of the files, and of no other."""
    used: dict[str, str] = {}
    for file in CONFIG.glob("*.yaml"):
        used.update(re.findall(r"\$\{env:(\w+)(?::-([^}]*))?\}", file.read_text()))
    told = (CONFIG / "README.md").read_text().partition("## Variables")[2].partition("\n## ")[0]
    rows = [row for row in told.splitlines() if row.startswith("| `")]

    named = [name for row in rows for name in re.findall(r"`([A-Z_]+)`", row.split("|")[1])]
    assert set(used) == set(named)
    for name in ("GATEWAY_HTTP", "GATEWAY_GRPC", "GATEWAY_HEALTH", "GATEWAY_FSYNC", "GATEWAY_FLUSH", "RELAY_CONSUMERS"):
        [row] = [row for row in rows if f"`{name}`" in row.split("|")[1]]
        assert used[name] in row


BACKEND = {"BACKEND_OTLP_ENDPOINT": "http://127.0.0.1:9"}


def expanded(pattern: str) -> set[str]:
    """Return all that *pattern* matches: words, groups and alternatives only, but for the name of a field."""
    pattern = pattern.replace("[a-z][a-z0-9_]{0,63}", "format").replace("[a-z][a-z0-9_]*(\\.[a-z0-9_]+)*", "a\\.b")
    at = 0

    def alternatives() -> set[str]:
        nonlocal at
        found, words = set(), {""}
        while at < len(pattern) and pattern[at] != ")":
            char, at = pattern[at], at + 1
            if char == "|":
                found, words = found | words, {""}
            elif char == "(":
                inner = alternatives()
                at += 1
                words = {word + more for word in words for more in inner}
            elif char not in "^$":
                if char == "\\":
                    char, at = pattern[at], at + 1
                assert char not in "[]*+?", pattern
                words = {word + char for word in words}
        return found | words

    return alternatives()


def test_the_allow_list_is_the_table() -> None:
    """What the gateway lets through is what otel_usage/schema/attributes.py's table says: no key, word or name more, and none less."""
    rules = (CONFIG / "gateway.yaml").read_text().replace("\\\\", "\\")
    lists = {
        where: [
            set(re.findall(r'"(.*?)"', one))
            for one in re.findall(rf"keep_keys\({where}\.attributes, \[(.*?)\]", rules, re.S)
        ]
        for where in ("resource", "span")
    }
    patterns = {
        where: [expanded(one) for one in re.findall(rf'keep_matching_keys\({where}\.attributes,\s+"(.*?)"\)', rules)]
        for where in ("span", "datapoint")
    }
    on = {kind: {row.key for row in ATTRIBUTES if kind in row.on.split()} for kind in ("run", "resource")}
    events = {row.key for row in ATTRIBUTES if row.on not in ("run", "resource")}
    derived = {key for keys in DERIVED.values() for key in keys}

    assert {"resource": [on["resource"]], "span": [on["run"]]} == lists
    events, points = events | {"usage.field.format"}, derived | {"usage.field.format", "reason"}
    assert {"span": [events], "datapoint": [points]} == patterns
    assert [set(OUTCOMES)] == [expanded(one) for one in re.findall(r'usage\.outcome"\],\s+"(\^.*?)"', rules)]
    assert [{*DERIVED, "usage.dropped", "usage.count.a.b"}] == [
        expanded(one) for one in re.findall(r'metric\.name,\s+"(.*?)"', rules)
    ]


def test_commands_and_names_are_the_tables() -> None:
    """The patterns of what is checked most are the table's own."""
    rules = (CONFIG / "gateway.yaml").read_text().replace("\\\\", "\\")
    here = {of: set(re.findall(rf'usage\.{of}"\],\s+"\^(.*?)\$"', rules)) for of in ("command", "action", "error")}

    command = patterns.COMMAND.pattern.replace("(?:", "(").replace("\\w", "\\pL\\pN_")
    assert {
        "command": {f"({command})"},
        "action": {patterns.DECLARED_NAME.pattern},
        "error": {patterns.DECLARED_NAME.pattern},
    } == here


def test_no_batch_is_more_than_the_relay_takes() -> None:
    """However small or large the items of a batch are, as far as they pass, the relay does not refuse it for its size."""
    limits, text = Options(), (CONFIG / "fan-out.yaml").read_text()
    most = [int(n) for n in re.findall(r"max_size: (\d+)", text)]
    word, key = "x" * 64, "usage.field." + "x" * 64
    smallest = NumberDataPoint(start_time_unix_nano=1, time_unix_nano=1)
    fields = {f"{key[:-2]}{n:02}": word for n in range(31)}
    about = {row.key: word for row in ATTRIBUTES if row.on == "resource"}
    large = [
        traces([1], of=about, attributes={"usage.kind": "action", "usage.action": word, **fields}, name=word),
        traces([1], of=about, attributes={**RUN, "usage.options": ["--" + word] * 64, "error.type": "x" * 800}),
        metrics(1, of=about, attributes=fields),
    ]

    assert ["items", "bytes"] == re.findall(r"batch:\n +sizer: (\w+)", text)
    items, size = most
    assert size // (smallest.ByteSize() + 2) < limits.items  # each has a tag and a length
    assert items * (max(one.ByteSize() for one in large) + 2_000) < limits.decoded_bytes
    assert size < limits.body_bytes


@pytest.mark.parametrize(
    "files",
    [
        ("gateway.yaml",),
        ("gateway.yaml", "fan-out.yaml"),
        ("gateway.yaml", "fan-out.yaml", "tls.yaml", "token.yaml"),
        ("gateway.yaml", "token.yaml", "tls.yaml", "fan-out.yaml"),
    ],
)
def test_the_files_are_valid(otelcol: str, files: tuple[str, ...]) -> None:
    """All files, in any order, are valid with nothing set but what has no default, and use no deprecated name."""
    status, said = validated(otelcol, *files, **BACKEND, GATEWAY_TOKEN="t", GATEWAY_TLS_CERT="/c", GATEWAY_TLS_KEY="/k")

    assert (0, "") == (status, said)


@pytest.mark.parametrize(
    ("files", "environ", "expected"),
    [
        (("gateway.yaml",), {}, "endpoint must be specified"),
        (("gateway.yaml", "token.yaml"), BACKEND, "no bearer token provided"),
        (("gateway.yaml", "tls.yaml"), BACKEND, "must include both certificate and key"),
    ],
)
def test_what_is_missing_stops_it(
    otelcol: str, files: tuple[str, ...], environ: Mapping[str, str], expected: str
) -> None:
    """Without a backend, or a token or certificate that was asked for, the Collector does not start."""
    status, said = validated(otelcol, *files, **environ)

    assert status != 0
    assert expected in said


def test_a_run_arrives_whole(running: Running) -> None:
    """Everything that we record of a run arrives, and unchanged."""
    about, span = sent_and_arrived(running, traces([1]))

    assert resource() == about
    assert RUN == plain(span.attributes)
    assert ("mycli report upload", 1) == (span.name, span.kind)


def test_a_count_arrives_as_a_counter(running: Running) -> None:
    """A host's count arrives as a monotonic delta sum."""
    backend = running[1]

    about, point = sent_and_arrived(running, metrics(7))

    metric = backend.points[-1][1]
    assert ("usage.count.events.handled", True) == (metric.name, metric.sum.is_monotonic)
    assert 1 == metric.sum.aggregation_temporality
    assert (7, {"usage.field.channel": "slack"}) == (point.as_int, plain(point.attributes))
    assert resource() == about


@pytest.mark.parametrize(
    ("name", "unit", "attributes"),
    [
        ("usage.runs", "{run}", {"usage.command": "report upload", "usage.outcome": "usage_error"}),
        ("usage.actions", "{action}", {"usage.action": "report.upload"}),
        ("usage.errors", "{error}", {"usage.error": "config.invalid"}),
        ("usage.dropped", "{record}", {"reason": "undeclared_field"}),
        ("usage.count.a", "1", {}),
    ],
)
def test_our_own_counters_arrive_whole(
    running: Running, name: str, unit: str, attributes: Mapping[str, object]
) -> None:
    """What the sender counts arrives with its unit and attributes."""
    request = metrics(3, name=name, attributes=attributes)
    request.resource_metrics[0].scope_metrics[0].metrics[0].unit = unit

    _, point = sent_and_arrived(running, request)

    assert (name, unit) == (running[1].points[-1][1].name, running[1].points[-1][1].unit)
    assert attributes == plain(point.attributes)


UNDECLARED = {
    "host.name": "laptop-of-ada",
    "host.id": "5f2b7c",
    "process.pid": 4711,
    "process.command_args": ["--token", "s3cret"],
    "process.executable.path": "/home/ada/bin/mycli",
    "client.address": "203.0.113.7",
    "user.name": "ada",
    "usage": "x",
    "xusage.kind": "x",
    "usage.kind\nx": "x",
    "error.message": "/home/ada: no such file",
}


def test_undeclared_attributes_do_not_pass(running: Running) -> None:
    """The allow-list fails closed, for resources, scopes, spans and data points alike."""
    request = traces([2], of={**resource(), **UNDECLARED}, attributes={**RUN, **UNDECLARED})
    request.resource_spans[0].scope_spans[0].scope.attributes.extend(pairs(UNDECLARED))
    counted = metrics(1, of={**resource(), **UNDECLARED}, attributes={"usage.field.channel": "slack", **UNDECLARED})
    counted.resource_metrics[0].scope_metrics[0].scope.attributes.extend(pairs(UNDECLARED))

    about, span = sent_and_arrived(running, request)
    about_count, point = sent_and_arrived(running, counted)

    assert resource() == about == about_count
    assert RUN == plain(span.attributes)
    assert {"usage.field.channel": "slack"} == plain(point.attributes)
    taken = running[1]
    assert all(b"ada" not in one.SerializeToString() for _, one in taken.spans)


def test_no_other_text_passes(running: Running) -> None:
    """Events, trace state, status messages, descriptions and metadata can hold anything, and are removed."""
    request = traces([3])
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.status.code, span.status.message, span.trace_state = 2, "FileNotFoundError: /home/ada", "user=ada"
    event = span.events.add(name="exception")
    event.attributes.extend(pairs({"exception.stacktrace": "/home/ada"}))
    span.events.add(name="")
    counted = metrics(1)
    metric = counted.resource_metrics[0].scope_metrics[0].metrics[0]
    metric.description = "of ada"
    metric.metadata.extend(pairs({"user": "ada"}))

    _, arrived = sent_and_arrived(running, request)
    sent_and_arrived(running, counted)

    assert (0, "", "", 2) == (len(arrived.events), arrived.trace_state, arrived.status.message, arrived.status.code)
    metric = running[1].points[-1][1]
    assert ("", 0) == (metric.description, len(metric.metadata))


def test_what_is_not_usage_data_does_not_pass(running: Running) -> None:
    """Spans and metrics of a program's own telemetry are dropped whole: their names may hold anything."""
    gateway, backend = running
    others = [
        traces([4], attributes={"http.request.method": "GET"}, name="GET /users/ada"),
        traces([5], attributes={**RUN, "usage.kind": "other"}),
        traces([8]),
    ]
    others[-1].resource_spans[0].scope_spans[0].spans[0].links.add(trace_id=bytes(15) + b"\1", span_id=bytes(7) + b"\1")
    counts = [metrics(1, name="http.server.duration"), metrics(1), metrics(1, name="usage.count.of ada")]
    point = counts[1].resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points[0]
    point.exemplars.add(as_int=1).filtered_attributes.extend(pairs({"user": "ada"}))
    spans, points = len(backend.spans), len(backend.points)

    for request in others:
        assert 200 == post(gateway.http, "/v1/traces", request.SerializeToString())[0]
    for count in counts:
        assert 200 == post(gateway.http, "/v1/metrics", count.SerializeToString())[0]
    sent_and_arrived(running, traces([9]))
    sent_and_arrived(running, metrics(2))

    assert (1, 1) == (len(backend.spans) - spans, len(backend.points) - points)


def test_no_client_address_is_kept(running: Running) -> None:
    """Nothing of the connection that data came by reaches the backend: no address, no header."""
    gateway, backend = running
    headers = {"user-agent": "secret-agent/1", "x-forwarded-for": "203.0.113.7", "cookie": "user=ada"}
    before = len(backend.spans)

    post(gateway.http, "/v1/traces", traces([11]).SerializeToString(), headers)
    backend.wait(lambda: len(backend.spans) > before)

    passed = json.dumps(backend.headers[-1]).lower() + str(backend.spans[-1])
    assert [] == [word for word in ("secret-agent", "203.0.113.7", "user=ada") if word in passed]


def test_otlp_json_and_gzip_are_taken(running: Running) -> None:
    """A line of our spool, compressed, is a request like any other."""
    gateway, backend = running
    line = {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "mycli"}}]},
                "scopeSpans": [
                    {
                        "scope": {"name": "otel_usage"},
                        "spans": [
                            {
                                "traceId": "5b8efff798038103d269b633813fc60c",
                                "spanId": "eee19b7ec3c1b174",
                                "name": "mycli",
                                "kind": 1,
                                "startTimeUnixNano": "1763800000000000000",
                                "endTimeUnixNano": "1763800000100000000",
                                "attributes": [
                                    {"key": f"usage.{key}", "value": {"stringValue": word}}
                                    for key, word in (("kind", "run"), ("command", "(root)"), ("outcome", "help"))
                                ],
                                "status": {},
                            }
                        ],
                    }
                ],
            }
        ]
    }
    before = len(backend.spans)
    headers = {"content-type": "application/json", "content-encoding": "gzip"}

    status, _, _ = post(gateway.http, "/v1/traces", gzip.compress(json.dumps(line).encode()), headers)

    assert 200 == status
    backend.wait(lambda: len(backend.spans) > before)
    assert ("mycli", "eee19b7ec3c1b174") == (backend.spans[-1][1].name, backend.spans[-1][1].span_id.hex())


def test_a_bomb_is_refused_in_bounded_memory(running: Running) -> None:
    """A body that is small only while compressed is refused, and does not grow the Collector by its full size."""
    gateway, _ = running
    bomb = gzip.compress(bytes(256 << 20), 1)
    before = gateway.memory_mib()

    status, _, _ = post(gateway.http, "/v1/traces", bomb, {"content-encoding": "gzip"})

    assert 400 <= status < 500
    assert gateway.memory_mib() - before < 100


def test_it_listens_on_this_machine_only(otelcol: str) -> None:
    """Without a word from the operator nobody else can reach a port of the gateway."""
    text = (CONFIG / "gateway.yaml").read_text()

    defaults = [line.split(":-")[1].split("}")[0] for line in text.splitlines() if "endpoint:" in line and ":-" in line]

    assert 3 == len(defaults)
    assert all(one.startswith("127.0.0.1:") for one in defaults)


def test_health_is_told(running: Running) -> None:
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
