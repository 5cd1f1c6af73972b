"""What a sender does with a spool and a destination, whatever the destination does."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import pytest

from otel_usage.delivery.ledger import Ledger, Result
from otel_usage.delivery.queue import Queue
from otel_usage.delivery.verdict import parse_retry_after

from ..spools import Sink, Spool, run_line


def results(spool: Spool) -> list[tuple[str, str, int | None]]:
    """Return (signal, result, status) of the ledger's entries."""
    return [(e["signal"], e["result"], e["status"]) for e in Ledger(str(spool.home)).entries()]


def test_a_run_arrives_with_what_the_sender_knows(spool: Spool, sink: Sink) -> None:
    """The span keeps its ids and attributes, and its resource gains identity and system, nothing of the machine's own."""
    own = spool.run()

    spool.drain()

    (span,) = sink.spans()
    assert own == span["spanId"]
    assert "prog report upload" == span["name"]
    assert {
        "service.name", "service.version", "app.installation.id", "os.type", "os.version", "host.arch",
        "telemetry.sdk.name", "telemetry.sdk.language", "telemetry.sdk.version",
    } == set(span["resource"])  # fmt: skip
    assert [] == spool.files()


def test_run_counters_come_from_the_spans(spool: Spool, sink: Sink) -> None:
    """Counters say what the spans say."""
    for command in ("a", "a", "b"):
        spool.run(command=command)

    spool.drain()

    assert {("usage.runs", "a success"): 2, ("usage.runs", "b success"): 1} == sink.points()


def test_the_installation_id_stays_and_is_renewed(spool: Spool, sink: Sink) -> None:
    """One id per installation, a new one after a year or when the file is gone."""
    ids = []
    for change in (None, None, "old", "gone"):
        file = spool.home / "id"
        if change == "old":
            file.write_text(f"{ids[-1]} {int(time.time()) - 366 * 86400}\n")
        if change == "gone":
            file.unlink()
        spool.run()
        spool.drain()
        ids.append(sink.spans()[-1]["resource"]["app.installation.id"])

    assert ids[0] == ids[1]
    assert 3 == len(set(ids))


def test_ci_runs_share_one_identity(spool: Spool, sink: Sink) -> None:
    """Every CI job is a new machine: they count as their vendor, and no id is made."""
    spool.settings["ci"] = "github"
    spool.run()

    spool.drain()

    assert "ci.github" == sink.spans()[0]["resource"]["app.installation.id"]
    assert not (spool.home / "id").exists()


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_be_retried_is_sent_again_with_the_same_ids(spool: Spool, sink: Sink, status: int) -> None:
    """The official exporter gives up; the segment stays, the destination is left alone, and gets it later."""
    sink.answer = lambda _n: (status, {"Retry-After": "77"}, b"")
    own = spool.run()
    before = time.time()

    spool.drain()

    queue = Queue(str(spool.folder), "otlp")
    assert 2 == len(queue.list_waiting())
    assert before + 76 <= queue.paused_until_s(before) <= time.time() + 78
    asked = len(sink.told)
    spool.drain()
    assert asked == len(sink.told)  # paused
    sink.answer = lambda _n: (200, {}, b"")
    queue.resume()
    spool.drain()
    assert [own] == sink.ids()[-1:]
    assert [] == spool.files()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 500, 501])
def test_what_may_not_be_retried_is_dropped_and_counted(spool: Spool, sink: Sink, status: int) -> None:
    """OTLP forbids to repeat after any other status; the loss is reported with the next batch."""
    sink.answer = lambda _n: (status, {}, b"")
    spool.run()
    spool.drain()
    assert [] == spool.files()

    sink.answer = lambda _n: (200, {}, b"")
    spool.run(command="b")
    spool.drain()

    assert 3 == sink.points()[("usage.dropped", "rejected")]  # the span, the counter and the histogram
    assert ("traces", "dropped", status) in results(spool)


def test_a_redirect_is_a_failure(spool: Spool, sink: Sink) -> None:
    """Data goes where the host said, and nowhere else; a redirect is not success either."""
    other = Sink()
    sink.answer = lambda _n: (302, {"Location": other.address + "/v1/traces"}, b"")
    spool.run()

    spool.drain()

    other.close()
    assert [] == other.told
    assert ("traces", "dropped", 302) in results(spool)


def test_partial_success_counts_what_was_rejected(spool: Spool, sink: Sink) -> None:
    """200 with rejected spans: not sent again, and counted."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    told = ExportTraceServiceResponse()
    told.partial_success.rejected_spans = 1
    text = told.SerializeToString()
    sink.answer = lambda n: (200, {}, text if sink.told[n][0] == "/v1/traces" else b"")
    spool.run()

    spool.drain()

    assert {"rejected": 1} == json.loads((spool.folder / "dropped").read_text())
    assert [] == spool.files()


def test_nobody_listens(spool: Spool, sink: Sink) -> None:
    """A refused connection: everything waits, the breaker opens for hosts too, and a healthy day brings it all."""
    address = sink.address
    sink.close()
    own = spool.run()
    spool.drain()
    assert 2 == len(spool.files())
    assert os.stat(spool.folder / "wake").st_mtime > time.time() + 20

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
    revived = Sink()
    spool.settings["destinations"] = {"otlp": revived.address}
    assert address != revived.address
    Queue(str(spool.folder), "otlp").resume()
    spool.drain()

    revived.close()
    assert [own] == revived.ids()


def test_pauses_grow_and_end(spool: Spool) -> None:
    """Each failure doubles the pause, up to six hours; a success forgets them; a far future is a clock jump."""
    queue = Queue(str(spool.folder), "otlp")
    queue.make_folders()
    pauses = []
    for _ in range(12):
        queue.pause(1000.0, None, 1.0)
        pauses.append(queue.paused_until_s(1000.0) - 1000.0)

    assert [60.0, 120.0, 240.0, 480.0] == pauses[:4]
    assert 6 * 3600.0 == pauses[-1]
    assert 0.0 == queue.paused_until_s(1000.0 - 90_000)
    queue.resume()
    assert 0 == queue.failures()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5", 5.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("9" * 40, 86_400.0),
        ("-5", None),
        ("1.5", None),
        ("1e99", None),
        ("nan", None),
        ("٣", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    """Whole seconds within reason; what makes no sense asks for nothing."""
    assert seconds == parse_retry_after(header)


def test_retry_after_takes_dates() -> None:
    """The other form of the header."""
    assert 86_400.0 == parse_retry_after("Fri, 31 Dec 2100 23:59:59 GMT")
    assert 0.0 == parse_retry_after("Fri, 31 Dec 1999 23:59:59 GMT")
    assert 30.0 == parse_retry_after("Thu, 01 Jan 1970 00:01:00 GMT", now_s=30.0)
    assert 30.0 == parse_retry_after("Thu, 01 Jan 1970 00:01:00 -0000", now_s=30.0)  # UTC wherever we are


def test_ambient_headers_and_netrc_stay_out(spool: Spool, sink: Sink, tmp_path: Path) -> None:
    """A destination the host baked in never sees the user's own OTLP headers or credentials."""
    os.environ["OTEL_EXPORTER_OTLP_HEADERS"] = "authorization=Bearer ambient-secret,x-tenant=ambient-secret"
    os.environ["OTEL_EXPORTER_OTLP_TRACES_HEADERS"] = "x-more=ambient-secret"
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password ambient-secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    spool.run()

    spool.drain()

    assert 2 == len(sink.told)
    for _path, headers, _body in sink.told:
        assert "authorization" not in headers
        assert "ambient-secret" not in repr(headers)


def test_headers_the_host_gave_are_sent(spool: Spool, sink: Sink) -> None:
    """``destinations={"otlp": {"endpoint": …, "headers": {…}}}``; they are in no file of ours."""
    spool.settings["destinations"] = {"otlp": {"endpoint": sink.address, "headers": {"authorization": "Bearer k3y"}}}
    spool.run()

    spool.drain()

    assert {"Bearer k3y"} == {headers["authorization"] for _p, headers, _b in sink.told}
    assert not any(b"k3y" in p.read_bytes() for p in spool.home.rglob("*") if p.is_file())


def test_without_destinations_the_standard_variables_decide(spool: Spool, sink: Sink) -> None:
    """OTEL_EXPORTER_OTLP_ENDPOINT and headers, as in any OTel program."""
    spool.settings["destinations"] = None
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = sink.address
    os.environ["OTEL_EXPORTER_OTLP_HEADERS"] = "x-tenant=mine"
    own = spool.run()

    spool.drain()

    assert [own] == sink.ids()
    assert {"mine"} == {headers["x-tenant"] for _p, headers, _b in sink.told}


def test_without_any_destination_records_wait(spool: Spool) -> None:
    """Nowhere to send to: nothing is lost, and hosts with these settings start no sender for an hour."""
    spool.settings["destinations"] = None
    spool.run()

    spool.drain()

    assert 1 == len(list((spool.folder / "new").iterdir()))
    assert os.stat(spool.folder / "wake").st_mtime > time.time() + 3_500


def test_any_exporter_found_by_entry_point(spool: Spool) -> None:
    """``console`` is the SDK's own: it knows nothing of us, and gets spans and metrics."""
    spool.settings["destinations"] = {"console": {}}
    spool.run()

    out = spool.drain_apart()

    assert '"usage.command": "report upload"' in out
    assert "usage.run.duration" in out
    assert [] == spool.files()


def test_a_destination_that_can_not_be_built_waits(spool: Spool) -> None:
    """A wrong keyword at a user's: nothing breaks, nothing is lost, and the ledger says so."""
    spool.settings["destinations"] = {"console": {"colour": "red"}}
    spool.run()

    spool.drain()

    assert [("", "refused", None)] == results(spool)
    assert 2 == len(spool.files())


def test_plain_http_is_only_for_this_machine(spool: Spool) -> None:
    """An address without TLS is refused before anything is sent."""
    spool.settings["destinations"] = {"otlp": "http://usage.example.org"}
    spool.run()

    spool.drain()

    assert [("", "refused", None)] == results(spool)


def test_grpc_when_asked_for(spool: Spool) -> None:
    """The official gRPC exporter, for ``protocol="grpc"``."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc
    from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

    names: list[str] = []

    class Traces(trace_service_pb2_grpc.TraceServiceServicer):  # type: ignore[misc]
        def Export(self, request: object, context: object) -> object:
            names.extend(s.name for g in request.resource_spans for c in g.scope_spans for s in c.spans)  # type: ignore[attr-defined]
            return trace_service_pb2.ExportTraceServiceResponse()

    class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):  # type: ignore[misc]
        def Export(self, request: object, context: object) -> object:
            names.extend(m.name for g in request.resource_metrics for c in g.scope_metrics for m in c.metrics)  # type: ignore[attr-defined]
            return metrics_service_pb2.ExportMetricsServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(), server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    spool.settings["destinations"] = {"otlp": {"endpoint": f"http://127.0.0.1:{port}", "protocol": "grpc"}}
    spool.run()

    spool.drain()

    server.stop(0).wait()
    assert {"prog report upload", "usage.runs", "usage.run.duration"} == set(names)


def test_one_failing_destination_does_not_hold_up_another(spool: Spool, sink: Sink) -> None:
    """The console gets its records while the OTLP receiver is down; the receiver's wait for it alone."""
    sink.answer = lambda _n: (503, {"Retry-After": "60"}, b"")
    spool.settings["destinations"] = {"otlp": sink.address, "console": {}}
    spool.run()

    out = spool.drain_apart()

    assert "report upload" in out
    assert {"queue/otlp"} == {os.path.dirname(os.path.dirname(name)) for name in spool.files()}


def test_at_most_one_segment_of_spans_is_in_memory(spool: Spool, sink: Sink) -> None:
    """5,000 runs leave in requests of at most 2,048 spans."""
    for n in range(50):
        spool.put(b"".join(run_line()[2] for _ in range(100)), f"{n:016x}-{'0' * 16}.traces.jsonl")

    spool.drain()

    assert 5_000 == len(set(sink.ids()))
    assert max(body.count(b"usage.command") for path, _h, body in sink.told if path == "/v1/traces") <= 2_148


def test_a_request_is_bounded_in_bytes_too(spool: Spool, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Receivers limit a request, and refuse for good what is larger: many large records are several requests."""
    import otel_usage.delivery.intake

    monkeypatch.setattr(otel_usage.delivery.intake, "MAX_TEXT", 3_000)
    made = {spool.run() for _ in range(9)}

    spool.drain()

    bodies = [body for path, _, body in sink.told if path == "/v1/traces"]
    assert made == set(sink.ids())
    assert 3 <= len(bodies) <= 5
    assert all(len(body) < 3_000 for body in bodies)


def test_consent_given_later_sends_nothing_older(spool: Spool, sink: Sink) -> None:
    """``since``: what was begun before the user agreed is dropped, and counted."""
    del os.environ["PROG_TELEMETRY"]
    spool.run(command="before", start_ns=time.time_ns() - 3600 * 10**9)
    (spool.home / "consent").write_text(f"on {int(time.time()) - 1800} 1\n")
    spool.run(command="after")

    spool.drain()

    assert ["prog after"] == [span["name"] for span in sink.spans()]
    assert 1 == sink.points()[("usage.dropped", "consent")]


def test_a_user_who_says_off_meanwhile_is_heard(spool: Spool, sink: Sink) -> None:
    """The sender asks again before it sends."""
    del os.environ["PROG_TELEMETRY"]
    spool.run()
    (spool.home / "consent").write_text(f"off {int(time.time())} 1\n")

    spool.drain()

    assert [] == sink.told


def test_a_dead_process_is_reported_once(spool: Spool, sink: Sink) -> None:
    """A stub whose lock is free becomes a span; one whose process lives stays."""
    _trace, dead, text = run_line()
    path = spool.put(text, f"{1:016x}-{dead}.traces.jsonl", "open")
    os.utime(path, (1, 1))
    _trace, alive, text = run_line()
    path = spool.put(text, f"{2:016x}-{alive}.traces.jsonl", "open")
    os.utime(path, (1, 1))
    descriptor = os.open(path, os.O_RDWR)
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:  # the lock of another process
        os.lockf(descriptor, os.F_TLOCK, 0)
        os.write(ready[1], b"x")
        os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)

    spool.drain()
    spool.drain()

    os.write(done[1], b"x")
    os.waitpid(child, 0)
    assert [dead] == sink.ids()
    assert [f"open/{2:016x}-{alive}.traces.jsonl"] == spool.files()
    for number in (descriptor, *ready, *done):
        os.close(number)


def test_files_that_are_not_ours_are_set_aside_and_counted(spool: Spool, sink: Sink, tmp_path: Path) -> None:
    """Corrupt, truncated, foreign, linked, huge, binary: none stops the others, none leaves."""
    good = spool.run()
    whole = run_line()[2]
    spool.put(whole[:-20], "0001.traces.jsonl")
    spool.put(b"", "0002.traces.jsonl")
    spool.put(b"\x00\xff" * 100 + b"\n", "0003.traces.jsonl")
    spool.put(b"[" * 100_000 + b"\n", "0004.traces.jsonl")
    spool.put(b'{"resourceSpans": 3}\n', "0005.traces.jsonl")
    spool.put(b'{"resourceSpans":[{"resource":{"attributes":[]}}]}\n', "0006.traces.jsonl")
    spool.put(whole, "0007.something")
    spool.put(b"x" * 5_000_000, "0008.traces.jsonl")
    spool.put(b'{"resourceMetrics":[{}]}\n', "0009.metrics.jsonl")
    (spool.folder / "new" / "0010.traces.jsonl").mkdir()
    secret = tmp_path / "secret"
    secret.write_bytes(whole)
    (spool.folder / "new" / "0011.traces.jsonl").symlink_to(secret)
    os.mkfifo(spool.folder / "new" / "0012.traces.jsonl")
    os.chown(spool.put(whole, "0013.traces.jsonl"), 12345, -1) if os.geteuid() == 0 else None

    spool.drain()

    assert [good] == sink.ids()
    assert sink.points()[("usage.dropped", "corrupt")] >= 10
    assert not [name for name in spool.files() if not name.startswith("bad/")]
    assert secret.read_bytes() == whole


BAD = [
    ("attribute", {"more": [("host.name", "alice-laptop")]}),
    ("attribute", {"more": [("process.command_args", "--token s3cret")]}),
    ("attribute", {"name": "prog /home/alice"}),
    ("value", {"more": [("error.type", "Error: /home/alice")]}),
    ("attribute", {"resource": [("host.id", "4711")]}),
    ("attribute", {"app": "other"}),
    ("age", {"start_ns": time.time_ns() - 31 * 86400 * 10**9}),
]


@pytest.mark.parametrize(("reason", "changes"), BAD)
def test_the_allow_list_is_checked_again(spool: Spool, sink: Sink, reason: str, changes: dict[str, object]) -> None:
    """Whatever got into the spool, only what the table allows leaves, and the rest is counted by reason."""
    good = spool.run()
    spool.run(**changes)  # type: ignore[arg-type]

    spool.drain()

    assert [good] == sink.ids()
    assert 1 == sink.points()[("usage.dropped", reason)]


def test_a_run_is_kept_without_names_that_the_table_does_not_take(spool: Spool, sink: Sink) -> None:
    """Programs name commands ``list|ls``, and whatever got into the spool: the run counts, the name stays here."""
    odd = spool.run(command="cache list|ls")
    path = spool.run(command="../s3cret", more=[("usage.options", ["--to=s3cret", "--fine"])])

    spool.drain()

    assert {odd, path} == set(sink.ids())
    assert {"prog (unknown)"} == {span["name"] for span in sink.spans()}
    assert {"(unknown)"} == {span["attributes"]["usage.command"] for span in sink.spans()}
    assert ["--fine"] == sink.spans()[1]["attributes"]["usage.options"]
    assert not any(b"s3cret" in body or b"list|ls" in body for _, _, body in sink.told)
    assert not any(name == "usage.dropped" for name, _ in sink.points())


def test_a_queue_has_bounds(spool: Spool, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its size the oldest segments go, and are counted."""
    import otel_usage.delivery.queue

    sink.answer = lambda _n: (503, {"Retry-After": "3600"}, b"")
    for _ in range(3):
        spool.run()
        spool.drain()
    before = len([name for name in spool.files() if "traces" in name])
    monkeypatch.setattr(otel_usage.delivery.queue, "MAX_QUEUE_BYTES", 1500)

    spool.run()
    spool.drain()

    assert 3 == before
    assert len([name for name in spool.files() if "traces" in name]) < 3
    assert json.loads((spool.folder / "dropped").read_text())["limit"] > 0


def test_the_ledger_is_bounded_and_readable(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps the newest deliveries, and passes over what can't be read."""
    import otel_usage.delivery.ledger

    monkeypatch.setattr(otel_usage.delivery.ledger, "MAX_LEDGER_BYTES", 300)
    ledger = Ledger(str(spool.home))
    for n in range(10):
        ledger.append("otlp", "traces", n, Result.SENT, 200, {})
    with open(ledger.path, "a", encoding="utf-8") as file:
        file.write("torn")

    records = [entry["records"] for entry in ledger.entries()]

    assert 9 == records[-1]
    assert len(records) < 10
    assert sum(p.stat().st_size for p in spool.home.glob("ledger*")) < 1000
